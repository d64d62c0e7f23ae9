"""`data.in_memory`: where the counts of a prepared cohort lie, and what is no answer."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from recart.config.compose import compose
from recart.problems import InputError
from recart.training.cohort_setup import preparation, prepare_cohort, reopen_cohort

SMALL = [
    "data.reader.patients=24",
    "data.limits.min_cells=5",
    "data.reader.cells_per_sample=20",
    "data/receptors=none",
]


@pytest.mark.parametrize(("value", "expected"), [("auto", None), ("true", True), ("false", False)])
def test_values(value: str, expected: bool | None, tmp_path: Path) -> None:
    config = compose([*SMALL, f"data.in_memory={value}"], "train")
    made = preparation(config.data, tmp_path, receptors=config.data.receptors)
    assert made.in_memory is expected


def test_another_value_is_refused(tmp_path: Path) -> None:
    config = compose([*SMALL, "data.in_memory=maybe"], "train")
    with pytest.raises(InputError, match=r"E-CONFIG-014.*data\.in_memory.*'maybe'.*auto"):
        prepare_cohort(config.data, tmp_path, lambda _: None)
    assert not list(tmp_path.iterdir())  # refused before the cohort was read


@pytest.mark.slow  # simulates and prepares a cohort: about 6 s
def test_a_prepared_cohort_is_left_on_disk(tmp_path: Path) -> None:
    config = compose([*SMALL, "data.in_memory=false"], "train")
    disk = prepare_cohort(config.data, tmp_path, lambda _: None)
    assert disk.store.path == tmp_path / f"{disk.key}.zarr"
    again = reopen_cohort(config.data, tmp_path, disk.key)
    assert again.store.path == disk.store.path
    small = reopen_cohort(compose(SMALL, "train").data, tmp_path, disk.key)
    assert small.store.path is None  # it fits: auto reads it
    a, b = disk.store.rna[3:30], small.store.rna[3:30]
    np.testing.assert_array_equal(a.toarray(), b.toarray())
    assert disk.extras.equals(small.extras)
