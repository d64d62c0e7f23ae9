"""What must not matter to what an evaluated run says: company, order, chunks, doing it twice.

Sets, flags, reasons, attribution and records are held to it, which no run has before.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import mudata
import pandas as pd
import pytest

from recart.config.compose import compose
from recart.data.cohort import Cohort
from recart.data.simulate import SimulatedCohort
from recart.inference.launch import embed_new
from recart.report.patient_files import write_patient_files

pytestmark = [pytest.mark.slow, pytest.mark.filterwarnings("ignore")]

PATIENTS = 20
TABLES = ("predictions", "patients")
# of a record: when it was made, and of which file
OF_THE_CALL = ("made", "input_sha256")


@dataclass(frozen=True)
class Written:
    """Everything that `embed.py` wrote of some patients."""

    output: Path
    records: dict[str, dict[str, Any]]
    reports: Path

    @property
    def cells(self) -> pd.DataFrame:
        """Latents beside what stands in `obs` of each cell."""
        data = mudata.read_h5mu(self.output)
        obs = data["rna"].obs.filter(like="recart_")
        words = obs.select_dtypes("category").columns
        obs = obs.astype(dict.fromkeys(words, object))  # categories are those of all who come along
        latents = pd.DataFrame(data.obsm["X_recart"], index=data.obs_names)
        return pd.concat([obs, latents.add_prefix("z")], axis=1)

    def table(self, name: str) -> pd.DataFrame:
        path = self.output.with_name(f"{self.output.stem}.{name}.parquet")
        return pd.read_parquet(path).set_index("bag")


@pytest.fixture(scope="module")
def cohort() -> Cohort:
    """Twenty patients of some fifteen cells a sample, whom the run has not seen."""
    return SimulatedCohort(
        patients=PATIENTS, cells_per_sample=15, genes=170, seed=11, strength=1.0
    ).read()


@pytest.fixture(scope="module")
def write(
    trusted: Path, place: Any, lenient: list[str], tmp_path_factory: pytest.TempPathFactory
) -> Callable[..., Written]:
    """`write(cohort)`: embed a file of this cohort, with records and attribution."""

    def run(cohort: Cohort) -> Written:
        folder = tmp_path_factory.mktemp("embedded")
        data = place.write(cohort, f"{folder.name}.h5mu")
        settings = [f"run={trusted}", f"data.path={data}", f"output={folder / 'out.h5mu'}"]
        settings += ["data.limits.min_cells=5", "outputs=[latents,attribution]", *lenient]
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # small libraries
            found = embed_new(compose([*settings, "reports=[json]"], entry="embed"))
        write_patient_files(found, ["json"])
        return Written(folder / "out.h5mu", found.records, found.folder)

    return run


@pytest.fixture(scope="module")
def plain(write: Callable[..., Written], cohort: Cohort) -> Written:
    """All of them, as they are."""
    return write(cohort)


def _alike(own: Any, expected: Any, tolerance: float, where: str) -> None:
    """Numbers within a tolerance, everything else the same."""
    if isinstance(expected, dict):
        assert own.keys() == expected.keys(), where
        for key in expected.keys() - set(OF_THE_CALL):
            _alike(own[key], expected[key], tolerance, f"{where}/{key}")
    elif isinstance(expected, list):
        assert len(own) == len(expected), where
        for number, (one, other) in enumerate(zip(own, expected, strict=True)):
            _alike(one, other, tolerance, f"{where}/{number}")
    elif isinstance(expected, float):
        assert own == pytest.approx(expected, abs=tolerance, rel=0), where
    else:
        assert own == expected, where


def _agree(own: Written, plain: Written, tolerance: float) -> None:
    """Cells, tables and records of those whom both have."""
    pairs = [(own.cells, plain.cells)]
    pairs += [(own.table(name), plain.table(name)) for name in TABLES]
    for found, expected in pairs:
        assert len(found) > 0
        pd.testing.assert_frame_equal(
            found,
            expected.loc[found.index],
            check_exact=tolerance == 0,
            rtol=0,
            atol=tolerance,
        )
    assert set(own.records) == set(own.table("predictions").index)
    for name, record in own.records.items():
        _alike(record, plain.records[name], tolerance, name)


def test_it_says_all_that_an_evaluated_run_says(plain: Written) -> None:
    """Otherwise the comparisons hold nothing to anything."""
    table, cells = plain.table("predictions"), plain.cells
    assert len(table) == PATIENTS
    told = table["probability"].notna()
    assert told.sum() >= PATIENTS // 2
    assert table.loc[told, "set_80"].str.startswith("{").all()
    assert (table["flags"] != "").all()
    assert {"recart_ood", "recart_flags", "recart_reasons", "recart_attribution"} <= set(cells)
    assert cells["recart_ood_score"].nunique() > 100
    assert all(plain.records[name]["prediction"]["sets"]["80"] for name in table.index[told])


def test_the_same_file_gives_the_same_bytes(
    write: Callable[..., Written], plain: Written, cohort: Cohort
) -> None:
    again = write(cohort)
    beside = [f".{name}.{suffix}" for name in TABLES for suffix in ("parquet", "csv")]
    for suffix in (".h5mu", ".features.csv", *beside):
        one, other = (own.output.with_name(f"out{suffix}").read_bytes() for own in (plain, again))
        assert one == other, suffix
    assert sorted(p.name for p in plain.reports.iterdir()) == sorted(
        p.name for p in again.reports.iterdir()
    )
    for path in plain.reports.iterdir():
        one, other = (lines_of(own.reports / path.name) for own in (plain, again))
        assert one == other, path.name


def lines_of(path: Path) -> list[str]:
    """Lines of a record, but those of the call; two files of one cohort differ in their bytes."""
    lines = path.read_text().splitlines()
    return [line for line in lines if not any(f'"{name}":' in line for name in OF_THE_CALL)]


def test_a_patient_alone_is_the_patient_among_twenty(
    write: Callable[..., Written], plain: Written, cohort: Cohort, place: Any
) -> None:
    told = plain.table("predictions")["probability"].notna()
    for patient in (told[told].index[-1], told.index[0]):
        alone = write(place.take(cohort, [patient]))
        assert list(alone.records) == [patient]
        _agree(alone, plain, 0.0)


def test_the_order_of_cells_changes_rounding_only(
    write: Callable[..., Written], plain: Written, cohort: Cohort, place: Any
) -> None:
    _agree(write(place.shuffled(cohort)), plain, 1e-5)


def test_the_size_of_chunks_changes_rounding_only(
    write: Callable[..., Written],
    plain: Written,
    cohort: Cohort,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("recart.training.encoding._CHUNK", 7)
    _agree(write(cohort), plain, 1e-5)
