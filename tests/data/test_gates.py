"""FCS files as flowio writes them, through a gating table, to covariates of samples."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import final

import numpy as np
import pandas as pd
import pytest
from scipy import sparse

from recart.data.cohort import Cohort
from recart.data.gates import GatedReader, GateFractions
from recart.data.gates.fcs_file import Events
from recart.data.gates.gating_table import Bound, Gate, gate_shares
from recart.data.readers.reader import Reader
from recart.problems import InputError

flowio = pytest.importorskip("flowio", reason="the extra cytometry is not installed")

TABLE = """gate,parent,channel,low,high
lymphocytes,,FSC-A,1000,5000
T cells,lymphocytes,CD3,1,
CD4,T cells,CD4,1,
CD4,T cells,CD8,,1
none,lymphocytes,CD3,50,60
of none,none,CD8,0,1
"""


def write_fcs(
    path: Path, events: np.ndarray, names: Sequence[str], markers: Sequence[str], spill: str = ""
) -> None:
    metadata = {"spill": spill} if spill else {}
    with path.open("wb") as stream:
        flowio.create_fcs(
            stream,
            events.astype(np.float32).flatten().tolist(),
            list(names),
            opt_channel_names=list(markers),
            metadata_dict=metadata,
        )


NAMES = ["FSC-A", "B1-A", "V2-A", "R3-A"]
MARKERS = ["", "CD3", "CD4", "CD8"]


def events(seed: int, n: int = 400) -> np.ndarray:
    rng = np.random.default_rng(seed)
    scatter = rng.uniform(0, 6000, n)
    dyes = rng.choice([0.0, 3000.0], (n, 3)) + rng.normal(0, 20, (n, 3))
    return np.column_stack([scatter, dyes])


@pytest.fixture
def gates(tmp_path: Path) -> GateFractions:
    write_fcs(tmp_path / "one.fcs", events(1), NAMES, MARKERS)
    write_fcs(tmp_path / "two.fcs", events(2), NAMES, MARKERS)
    (tmp_path / "gates.csv").write_text(TABLE)
    (tmp_path / "fcs.csv").write_text("sample,fcs\nS1,one.fcs\nS2,two.fcs\n")
    return GateFractions(
        sheet=str(tmp_path / "fcs.csv"),
        table=str(tmp_path / "gates.csv"),
        cofactor=150,
        compensate=True,
    )


def test_fractions_are_shares_of_the_parent(gates: GateFractions) -> None:
    shares = gates.fractions()
    assert list(shares.index) == ["S1", "S2"]
    for row, seed in (("S1", 1), ("S2", 2)):
        x = events(seed).astype(np.float32).astype(float)
        cells = (x[:, 0] >= 1000) & (x[:, 0] < 5000)
        cd3, cd4, cd8 = (np.arcsinh(x[:, at] / 150) for at in (1, 2, 3))
        t = cells & (cd3 >= 1)
        own = shares.loc[row]
        assert own["gate:lymphocytes"] == pytest.approx(cells.mean())
        assert own["gate:T cells"] == pytest.approx(t.sum() / cells.sum())
        assert own["gate:CD4"] == pytest.approx((t & (cd4 >= 1) & (cd8 < 1)).sum() / t.sum())
        assert own["gate:none"] == 0
        assert np.isnan(own["gate:of none"])  # a share of no events is not known
    assert 0 < shares.loc["S1", "gate:CD4"] != shares.loc["S2", "gate:CD4"]


def test_spillover_is_undone_unless_told_otherwise(gates: GateFractions, tmp_path: Path) -> None:
    true = events(1)
    matrix = np.array([[1, 0.4, 0], [0, 1, 0.3], [0.1, 0, 1]])
    seen = true.copy()
    seen[:, 1:] = true[:, 1:] @ matrix
    spill = "3,B1-A,V2-A,R3-A," + ",".join(str(value) for value in matrix.ravel())
    compensated = gates.fractions().loc["S1"]
    write_fcs(tmp_path / "one.fcs", seen, NAMES, MARKERS, spill)
    pd.testing.assert_series_equal(gates.fractions().loc["S1"], compensated)
    raw = GateFractions(
        sheet=gates.sheet, table=gates.table, cofactor=150, compensate=False
    ).fractions()
    assert abs(raw.loc["S1", "gate:CD4"] - compensated["gate:CD4"]) > 0.05


def test_channels_go_by_marker_or_detector_in_any_case(
    gates: GateFractions, tmp_path: Path
) -> None:
    before = gates.fractions()
    by_detector = TABLE.replace("CD3,", "b1-a,").replace("CD4,1,", "V2-A,1,")
    (tmp_path / "gates.csv").write_text(by_detector)
    pd.testing.assert_frame_equal(gates.fractions(), before)


def test_gates_find_markers_behind_isotopes_and_areas_beside_heights() -> None:
    own = Events(
        values=np.zeros((1, 5)),
        detectors=("Y89Di", "Nd145Di", "B1-A", "B1-H", "V2-H"),
        markers=("89Y_CD45", "145Nd_CD4", "CD8", "CD8", "CD19"),
    )
    named = ("cd45", "145Nd_CD4", "Nd145Di", "CD8", "B1-H", "CD19", "CD3", "89Y")
    assert [own.column(name) for name in named] == [0, 1, 1, 2, 3, 4, None, None]


def test_bad_tables_say_everything(gates: GateFractions, tmp_path: Path) -> None:
    (tmp_path / "gates.csv").write_text(
        "gate,parent,channel,low,high\n"
        "a,gone,CD3,1,\nb,,CD3,2,1\nc,d,CD3,1,\nd,c,CD3,1,\ne,,CD3,,\nf,,CD3,x,\ng,,CD3,1,\n"
        "g,e2,CD4,1,\n"
    )
    with pytest.raises(InputError) as error:
        gates.fractions()
    assert {p.code for p in error.value.problems} == {"E-GATE-005"}
    assert {p.feature for p in error.value.problems} == {"a", "b", "c", "d", "e", "f", "g"}


def test_bad_files_say_everything(gates: GateFractions, tmp_path: Path) -> None:
    whole = (tmp_path / "one.fcs").read_bytes()
    (tmp_path / "one.fcs").write_bytes(whole[: len(whole) // 2])
    write_fcs(tmp_path / "two.fcs", events(2), NAMES, ["", "CD3", "CD4", "CD19"])
    (tmp_path / "fcs.csv").write_text("sample,fcs\nS1,one.fcs\nS2,two.fcs\nS3,gone.fcs\n")
    with pytest.raises(InputError) as error:
        gates.fractions()
    found = {(p.code, p.file, p.sample) for p in error.value.problems}
    assert found == {
        ("E-GATE-003", "one.fcs", "S1"),
        ("E-GATE-006", "two.fcs", "S2"),
        ("E-GATE-002", "gone.fcs", "S3"),
    }
    (tmp_path / "fcs.csv").write_text("sample,fcs\nS1,one.fcs\nS1,two.fcs\nS3,\n")
    with pytest.raises(InputError) as error:
        gates.fractions()
    assert [p.code for p in error.value.problems] == ["E-GATE-007"] * 2


def test_events_that_are_no_numbers_count_in_neither() -> None:
    values = np.array([[1.0, 2.0], [np.nan, 2.0], [3.0, np.nan], [-1.0, 1.0]])
    own = Events(values=values, detectors=("A", "B"), markers=("CD3", "CD4"))
    gate = Gate(name="T", parent="", bounds=(Bound("CD3", 0.0, np.inf),))
    assert gate_shares([gate], own, "x.fcs") == {"T": pytest.approx(2 / 3)}


@final
class _Given(Reader):
    def __init__(self, samples: Sequence[str]) -> None:
        self.samples = list(samples)

    def files(self) -> Sequence[Path]:
        return ()

    def read(self) -> Cohort:
        count = len(self.samples)
        return Cohort(
            rna=sparse.csr_matrix(np.ones((count, 1))),
            genes=pd.DataFrame(index=["G"]),
            cells=pd.DataFrame({"sample": self.samples}, index=[f"c{i}" for i in range(count)]),
            samples=pd.DataFrame({"patient": "P"}, index=self.samples),
            patients=pd.DataFrame(index=["P"]),
        )


def test_the_reader_adds_them_to_its_samples(gates: GateFractions) -> None:
    reader = GatedReader(_Given(["S9", "S2"]), gates)
    cohort = reader.read()
    assert cohort.samples.loc["S9"].drop("patient").isna().all()
    assert cohort.samples.loc["S2", "gate:CD4"] == gates.fractions().loc["S2", "gate:CD4"]
    assert cohort.dropped == {"FCS files of samples without cells": 1}
    assert {path.name for path in reader.files()} == {"fcs.csv", "gates.csv", "one.fcs", "two.fcs"}
    with pytest.raises(InputError, match="E-GATE-008"):
        GatedReader(_Given(["other"]), gates).read()
