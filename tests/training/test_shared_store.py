"""A store in another process: the same, not copied, and nothing left of it."""

from __future__ import annotations

import os
import pickle
from collections import Counter
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from pathlib import Path
from types import ModuleType
from typing import IO

import numpy as np
import pytest
from scipy import sparse

from recart.data.store import CohortStore, open_store, write_store
from recart.problems import InputError
from recart.training import shared_store
from recart.training.executors.executor import Job
from recart.training.executors.local_processes import LocalProcesses
from recart.training.shared_store import SharedStore


def equal(one: CohortStore, other: CohortStore) -> bool:
    a, b = sparse.csr_matrix(one.rna), sparse.csr_matrix(other.rna)
    same = all(
        np.array_equal(getattr(a, part), getattr(b, part)) for part in ("data", "indices", "indptr")
    )
    return (
        same
        and a.dtype == b.dtype
        and np.array_equal(one.protein, other.protein)
        and np.array_equal(one.receptor, other.receptor)
        and one.cells.equals(other.cells)
        and one.samples.equals(other.samples)
        and one.genes == other.genes
    )


def backed_by_file(array: np.ndarray) -> bool:
    """Whether the memory of an array is a mapped file."""
    address = array.__array_interface__["data"][0]
    for line in Path("/proc/self/maps").read_text().splitlines():
        span, _, _, _, inode, *_ = line.split()
        start, stop = (int(part, 16) for part in span.split("-"))
        if start <= address < stop:
            return int(inode) > 0
    return False


def nameless() -> Counter[str]:
    """Open files that have no name in any folder."""
    links = Path("/proc/self/fd").iterdir()
    files = [os.readlink(link) for link in links if link.is_symlink()]
    return Counter(file for file in files if file.endswith("(deleted)"))


@pytest.mark.parametrize("in_memory", [True, False])
def test_the_shared_store_is_the_same_and_leaves_nothing(
    in_memory: bool,
    make_store: Callable[..., CohortStore],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    if not in_memory:
        monkeypatch.setattr(shared_store, "free_memory", lambda: 0)
    store = make_store()
    before = nameless()
    shared = SharedStore(store, tmp_path)
    assert shared.store is store
    shared.share()
    shared.share()  # once is enough
    files = nameless() - before
    (file,) = files  # twice open: a map holds it too
    assert ("memfd" in file) is in_memory
    assert equal(shared.store, store)
    for array in (shared.store.rna.data, shared.store.rna.indices, shared.store.protein):
        assert backed_by_file(array)
        assert array.ctypes.data % 64 == 0
    assert backed_by_file(shared.store.cells["sample"].to_numpy())
    assert not backed_by_file(store.rna.data)
    assert list(tmp_path.iterdir()) == []
    del shared, array
    assert nameless() == before


def test_it_is_not_sent_elsewhere(make_store: Callable[..., CohortStore], tmp_path: Path) -> None:
    with pytest.raises(TypeError, match="process that is being started"):
        pickle.dumps(SharedStore(make_store(patients=2), tmp_path))


@pytest.fixture
def errands(monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    monkeypatch.syspath_prepend(str(Path(__file__).parent / "executors"))
    return __import__("errands")


@pytest.mark.slow  # a process imports torch and what reads stores: seconds
def test_processes_see_the_arrays_of_one_file(
    make_store: Callable[..., CohortStore], tmp_path: Path, errands: ModuleType
) -> None:
    """What one writes to an array is seen neither by the other nor here."""
    store = make_store()
    shared = SharedStore(store, tmp_path)
    shared.share()
    jobs = [Job(name=str(i), work=partial(errands.look, shared)) for i in range(3)]
    expected = {
        "patients": list(store.patients.index),
        "first": float(store.rna[0:5].sum()),
        "sum": float(store.rna.sum()),
        "protein": float(np.sum(store.protein)),
        "path": None,
        "owns": False,
    }
    for outcome in LocalProcesses(2).run(jobs, lambda *_: None):
        assert outcome.failure is None, outcome.failure
        assert outcome.value == expected
    assert equal(shared.store, store)


@pytest.mark.slow  # as above
def test_a_store_on_disk_is_opened_again(
    make_store: Callable[..., CohortStore], tmp_path: Path, errands: ModuleType
) -> None:
    path = tmp_path / "store.zarr"
    write_store(make_store(), path)
    shared = SharedStore(open_store(path, in_memory=False), tmp_path)
    shared.share()
    (outcome,) = LocalProcesses(1).run(
        [Job(name="a", work=partial(errands.look_on_disk, shared))], lambda *_: None
    )
    assert outcome.failure is None, outcome.failure
    assert outcome.value == (path, float(make_store().rna[3:9].sum()))


def test_what_is_not_an_array_is_shared_too(
    make_store: Callable[..., CohortStore], tmp_path: Path
) -> None:
    store = replace(make_store(patients=2), protein=None, proteins=(), receptor=None, clones=None)
    shared = SharedStore(store, tmp_path)
    shared.share()
    assert shared.store.protein is None
    assert shared.store.clones is None
    assert shared.store.patients.equals(store.patients)


def test_without_room_it_says_what_to_do(
    make_store: Callable[..., CohortStore], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: object) -> IO[bytes]:
        return Path("/dev/full").open("r+b", buffering=0)

    monkeypatch.setattr(shared_store, "_anonymous", full)
    with pytest.raises(InputError, match=r"E-JOB-002 .*No space left.*executor=in_process"):
        SharedStore(make_store(patients=2), tmp_path).share()
