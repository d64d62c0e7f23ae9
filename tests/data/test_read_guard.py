"""HDF5 files that reach outside themselves, or are not what they seem, are refused unread."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path

import anndata as ad
import h5py
import numpy as np
import pandas as pd
import pytest

from recart.data.readers import CellRangerReader, H5adReader, H5muReader, guard_hdf5
from recart.problems import InputError

SECRET = b"decoy secret"


def valid(path: Path) -> Path:
    obs = pd.DataFrame({"sample": ["S1"] * 4, "patient": ["P1"] * 4}, index=list("abcd"))
    adata = ad.AnnData(
        np.ones((4, 3), dtype=np.float32), obs=obs, var=pd.DataFrame(index=["A", "B", "C"])
    )
    adata.write_h5ad(path)
    return path


def external_link(file: h5py.File, decoy: Path) -> None:
    del file["X"]
    file["X"] = h5py.ExternalLink(str(decoy), "/X")


def nested_external_link(file: h5py.File, decoy: Path) -> None:
    file.create_group("uns/a/b")["c"] = h5py.ExternalLink(str(decoy), "/X")


def soft_link(file: h5py.File, _decoy: Path) -> None:
    file["layers/counts"] = h5py.SoftLink("/X")


def dangling_link(file: h5py.File, _decoy: Path) -> None:
    file["layers/counts"] = h5py.SoftLink("/nowhere")


def external_storage(file: h5py.File, decoy: Path) -> None:
    secret = decoy.with_suffix(".bin")
    secret.write_bytes(SECRET)
    size = len(SECRET)
    file.create_dataset("uns/s", (size,), "u1", external=[(str(secret), 0, size)])


def virtual(file: h5py.File, decoy: Path) -> None:
    layout = h5py.VirtualLayout((4, 3), "f4")
    layout[:] = h5py.VirtualSource(str(decoy), "X", (4, 3))
    file.create_virtual_dataset("layers/v", layout)


def strange_filter(file: h5py.File, _decoy: Path) -> None:
    plist = h5py.h5p.create(h5py.h5p.DATASET_CREATE)
    plist.set_chunk((10,))
    # blosc, optional: the file can be written where the filter is not installed
    plist.set_filter(32001, h5py.h5z.FLAG_OPTIONAL, ())
    space = h5py.h5s.create_simple((10,))
    h5py.h5d.create(file["uns"].id, b"f", h5py.h5t.NATIVE_FLOAT, space, plist)


def bomb(file: h5py.File, _decoy: Path) -> None:
    file.create_dataset("layers/b", (60_000, 100_000), "f4", chunks=(1000, 1000))


def many_attributes(file: h5py.File, _decoy: Path) -> None:
    group = file.create_group("uns/g", track_order=True)
    for i in range(10_001):
        group.attrs[f"a{i}"] = 0


ATTACKS = {
    external_link: ("E-HDF-001", "/X"),
    nested_external_link: ("E-HDF-001", "/uns/a/b/c"),
    soft_link: ("E-HDF-002", "/layers/counts"),
    dangling_link: ("E-HDF-002", "/layers/counts"),
    external_storage: ("E-HDF-003", "/uns/s"),
    virtual: ("E-HDF-004", "/layers/v"),
    strange_filter: ("E-HDF-005", "/uns/f"),
    bomb: ("E-HDF-006", "/layers/b"),
    many_attributes: ("E-HDF-007", "/uns/g"),
}


@pytest.mark.parametrize("attack", ATTACKS, ids=lambda attack: attack.__name__)
def test_attack_is_refused(attack: Callable[[h5py.File, Path], None], tmp_path: Path) -> None:
    decoy = valid(tmp_path / "decoy.h5ad")
    path = valid(tmp_path / "cohort.h5ad")
    with h5py.File(path, "a") as file:
        attack(file, decoy)
    start = time.perf_counter()
    with pytest.raises(InputError) as error:
        H5adReader(str(path)).read()
    assert time.perf_counter() - start < 1.0
    (problem,) = error.value.problems
    assert (problem.code, problem.feature) == ATTACKS[attack]
    assert problem.file == str(path)
    assert SECRET.decode() not in str(error.value)


def test_two_attacks_are_both_listed(tmp_path: Path) -> None:
    path = valid(tmp_path / "cohort.h5ad")
    with h5py.File(path, "a") as file:
        external_storage(file, tmp_path / "decoy.h5ad")
        soft_link(file, path)
    with pytest.raises(InputError, match="2 problem") as error:
        guard_hdf5(path)
    assert {p.code for p in error.value.problems} == {"E-HDF-002", "E-HDF-003"}


def test_cycle_of_groups_ends(tmp_path: Path) -> None:
    path = valid(tmp_path / "cohort.h5ad")
    with h5py.File(path, "a") as file:
        file["uns/loop"] = file["/"]
    guard_hdf5(path)


def test_valid_file_passes_in_milliseconds(tmp_path: Path) -> None:
    path = valid(tmp_path / "cohort.h5ad")
    times = []
    for _ in range(5):
        start = time.perf_counter()
        guard_hdf5(path)
        times.append(time.perf_counter() - start)
    assert min(times) < 0.05


def test_larger_than_memory(tmp_path: Path) -> None:
    path = valid(tmp_path / "cohort.h5ad")
    with pytest.raises(InputError, match="E-HDF-006"):
        guard_hdf5(path, max_bytes=10)


@pytest.mark.parametrize(
    ("make", "code", "says"),
    [
        pytest.param(lambda _: None, "E-FILE-001", "No such file", id="B64-missing"),
        pytest.param(lambda p: p.mkdir(), "E-FILE-001", "is a directory", id="B64-directory"),
        pytest.param(lambda p: p.symlink_to(p), "E-FILE-001", "symbolic links", id="B64-loop"),
        pytest.param(lambda p: p.touch(), "E-FILE-002", "0 bytes", id="B60-empty"),
        pytest.param(lambda p: p.write_bytes(b"PK\3\4 x"), "E-FILE-004", "zip", id="B60-zip"),
        pytest.param(lambda p: p.write_bytes(b"\x1f\x8b x"), "E-FILE-004", "gunzip", id="B60-gzip"),
        pytest.param(lambda p: p.write_text("a,b\n"), "E-FILE-004", "not an HDF5", id="B60-text"),
    ],
)
def test_what_is_no_h5ad(
    make: Callable[[Path], object], code: str, says: str, tmp_path: Path
) -> None:
    path = tmp_path / "cohort.h5ad"
    make(path)
    with pytest.raises(InputError, match=says) as error:
        H5adReader(str(path)).read()
    assert [p.code for p in error.value.problems] == [code]
    assert error.value.problems[0].file == str(path)


def test_truncated_file_says_where(tmp_path: Path) -> None:
    """B60."""
    path = valid(tmp_path / "cohort.h5ad")
    whole = path.stat().st_size
    path.write_bytes(path.read_bytes()[: whole // 2])
    with pytest.raises(InputError, match=rf"truncated at byte {whole // 2} of {whole}"):
        H5adReader(str(path)).read()


def test_the_right_reader_is_offered(tmp_path: Path) -> None:
    """B60."""
    path = valid(tmp_path / "cohort.h5mu")
    with pytest.raises(InputError, match="use data=h5ad"):
        H5muReader(str(path)).read()
    with h5py.File(tmp_path / "m.h5ad", "w") as file:
        file.create_group("mod/rna")
    with pytest.raises(InputError, match="use data=h5mu"):
        H5adReader(str(tmp_path / "m.h5ad")).read()
    with h5py.File(tmp_path / "t.h5ad", "w") as file:
        file.create_group("matrix/features")
    with pytest.raises(InputError, match="use data=cellranger"):
        H5adReader(str(tmp_path / "t.h5ad")).read()
    (tmp_path / "sheet.csv").write_text("sample,patient,gex\nS1,P1,cohort.h5mu\n")
    with pytest.raises(InputError, match="use data=h5ad"):
        CellRangerReader(str(tmp_path / "sheet.csv")).read()


@pytest.mark.parametrize("element", ["obs", "var"])
def test_missing_element_is_named(element: str, tmp_path: Path) -> None:
    """B63."""
    path = valid(tmp_path / "cohort.h5ad")
    with h5py.File(path, "a") as file:
        del file[element]
    with pytest.raises(InputError) as error:
        H5adReader(str(path)).read()
    assert error.value.problems[0].code == "E-FILE-005"
    assert error.value.problems[0].feature == f"/{element}"


def test_categorical_codes_out_of_range(tmp_path: Path) -> None:
    """B63."""
    path = valid(tmp_path / "cohort.h5ad")
    with h5py.File(path, "a") as file:
        file["obs/sample/codes"][0] = 9
    with pytest.raises(InputError) as error:
        H5adReader(str(path)).read()
    assert error.value.problems[0].code == "E-FILE-005"
    assert error.value.problems[0].feature == "/obs"
