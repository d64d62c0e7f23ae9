"""What must not matter to a new patient: who comes along, order, chunks, threads, the device."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any

import mudata
import numpy as np
import pandas as pd
import pytest
import torch

from recart.data.batches import gather
from recart.data.cohort import Cohort
from recart.data.features import bind
from recart.training.bag_latents import bag_latents
from recart.training.launch import load_members
from recart.training.run_directory import RunDirectory

pytestmark = [pytest.mark.slow, pytest.mark.filterwarnings("ignore")]

Embed = Callable[[Cohort, Path], None]


def _written(output: Path) -> tuple[pd.DataFrame, pd.DataFrame, pd.DataFrame]:
    """Latents by cell, predictions and embeddings by bag."""
    cells = mudata.read_h5mu(output)
    latents = pd.DataFrame(cells.obsm["X_recart"], index=cells["rna"].obs_names)
    tables = (
        pd.read_parquet(output.with_name(f"{output.stem}.{name}.parquet")).set_index("bag")
        for name in ("predictions", "patients")
    )
    return (latents, *tables)


def _numbers(table: pd.DataFrame) -> np.ndarray[Any, Any]:
    return table.select_dtypes("number").to_numpy(dtype=float)


def _same(one: Path, other: Path, tolerance: float) -> None:
    """Every number of cells and bags that both have."""
    for own, expected in zip(_written(other), _written(one), strict=True):
        assert len(own) > 0
        difference = np.abs(_numbers(own) - _numbers(expected.loc[own.index]))
        assert np.nanmax(difference) <= tolerance
        np.testing.assert_array_equal(
            np.isnan(_numbers(own)), np.isnan(_numbers(expected.loc[own.index]))
        )


@contextmanager
def threads(count: int) -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(count)
    try:
        yield
    finally:
        torch.set_num_threads(before)


@pytest.fixture
def plain(embed: Embed, new_patients: Cohort, tmp_path: Path) -> Path:
    output = tmp_path / "plain.h5mu"
    embed(new_patients, output)
    return output


def test_the_same_file_gives_the_same_bytes(
    embed: Embed, plain: Path, new_patients: Cohort, tmp_path: Path
) -> None:
    embed(new_patients, tmp_path / "again.h5mu")
    for name in ("predictions.parquet", "predictions.csv", "patients.parquet", "features.csv"):
        again = (tmp_path / f"again.{name}").read_bytes()
        assert again == (tmp_path / f"plain.{name}").read_bytes(), name
    _same(plain, tmp_path / "again.h5mu", 0.0)


def test_a_patient_alone_is_the_patient_among_others(
    embed: Embed, plain: Path, new_patients: Cohort, place: Any, tmp_path: Path
) -> None:
    patient = str(new_patients.patients.index[2])
    embed(place.take(new_patients, [patient]), tmp_path / "alone.h5mu")
    _same(plain, tmp_path / "alone.h5mu", 0.0)


def test_the_order_of_cells_changes_rounding_only(
    embed: Embed, plain: Path, new_patients: Cohort, place: Any, tmp_path: Path
) -> None:
    embed(place.shuffled(new_patients), tmp_path / "shuffled.h5mu")
    _same(plain, tmp_path / "shuffled.h5mu", 1e-5)


@pytest.mark.parametrize("chunk", [1, 64])
def test_the_size_of_chunks_changes_rounding_only(
    embed: Embed,
    plain: Path,
    new_patients: Cohort,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    chunk: int,
) -> None:
    monkeypatch.setattr("recart.training.encoding._CHUNK", chunk)
    embed(new_patients, tmp_path / "chunks.h5mu")
    _same(plain, tmp_path / "chunks.h5mu", 1e-5)


def test_the_number_of_threads_changes_nothing(
    embed: Embed,
    plain: Path,
    new_patients: Cohort,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Threads of our own, one a core, whatever torch was told to use."""
    encoding: set[int] = set()

    def seen(*args: Any, **kwargs: Any) -> Any:
        encoding.add(threading.get_ident())
        return gather(*args, **kwargs)

    monkeypatch.setattr("recart.training.encoding.gather", seen)
    for cores in (1, 4):
        encoding.clear()
        monkeypatch.setattr("recart.inference.in_parts.allowed_cores", partial(int, cores))
        with threads(cores):
            embed(new_patients, tmp_path / f"{cores}.h5mu")
        assert (len(encoding) > 1) == (cores > 1)
        _same(plain, tmp_path / f"{cores}.h5mu", 0.0)


@pytest.mark.skipif(not torch.cuda.is_available(), reason="no GPU")
def test_a_gpu_agrees_to_1e_4(trained: Path) -> None:
    from recart.training.cohort_setup import prepared_folder, reopen_cohort

    run = RunDirectory.open(trained)
    key = json.loads((run.path / "cohort.json").read_text())["key"]
    cohort = reopen_cohort(run.config.data, prepared_folder(run), key)
    member = load_members(run)[0]
    bound = bind(member.features, cohort.store)
    rows = range(len(cohort.bags))

    def logits() -> np.ndarray[Any, Any]:
        seen = bag_latents(member.stack, bound, cohort.store, cohort.bags, rows, cohort.extras)
        return np.concatenate([*(z.ravel() for z in seen.latents), member.head.logits(seen)])

    on_cpu = logits()
    member.stack.to("cuda")
    np.testing.assert_allclose(logits(), on_cpu, atol=1e-4)
