"""Cells of FCS files, as flowio writes them: proteins only, in counts of a unit that is said."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from recart.data.checks import Limits, check_cohort, filter_cohort
from recart.data.gates import CellGate, FcsReader
from recart.problems import InputError

flowio = pytest.importorskip("flowio", reason="the extra cytometry is not installed")

DETECTORS = ["FSC-A", "B1-A", "V2-A", "R3-A", "Time"]


@pytest.fixture
def write(tmp_path: Path) -> Callable[..., np.ndarray]:
    """`write(name, markers, spill="")`: 50 events in a file; what was written."""

    def make(name: str, markers: list[str], spill: str = "") -> np.ndarray:
        rng = np.random.default_rng(len(name))
        scatter = rng.uniform(0, 6000, 50)
        dyes = rng.choice([-40.0, 30.0, 3000.0], (50, 3)) + rng.normal(0, 3, (50, 3))
        values = np.column_stack([scatter, dyes, np.arange(50.0)]).astype(np.float32)
        with (tmp_path / name).open("wb") as stream:
            flowio.create_fcs(
                stream,
                values.flatten().tolist(),
                DETECTORS,
                opt_channel_names=["", *markers, ""],
                metadata_dict={"spill": spill} if spill else {},
            )
        return values.astype(float)

    return make


def _reader(tmp_path: Path, sheet: str, **more: object) -> FcsReader:
    (tmp_path / "sheet.csv").write_text(sheet)
    return FcsReader(str(tmp_path / "sheet.csv"), unit=20.0, **more)  # type: ignore[arg-type]


SHEET = """sample,patient,timepoint,tissue,file,response
S1,P1,D0,blood,one.fcs,R
S2,P2,D0,blood,two.fcs,NR
"""


def test_dyes_become_counts_of_markers(write: Callable[..., np.ndarray], tmp_path: Path) -> None:
    first = write("one.fcs", ["CD3", "CD4", "CD8"])
    second = write("two.fcs", ["anti-human CD8", "CD3_UCHT1", "CD279"])
    cohort = _reader(tmp_path, SHEET).read()
    assert cohort.proteins[:3] == ["CD3", "CD4", "CD8A"]
    assert len(cohort.proteins) == 4
    assert cohort.rna.shape == (100, 0)
    assert cohort.protein is not None
    counts = np.round(np.maximum(first[:, 1:4], 0) / 20)
    np.testing.assert_array_equal(cohort.protein[:50, :3], counts)
    assert (counts == 0).any()  # what lies below 0, and less than half a unit
    assert counts.max() > 100
    of_cd8 = np.round(np.maximum(second[:, 1], 0) / 20)
    np.testing.assert_array_equal(cohort.protein[50:, 2], of_cd8)
    assert cohort.protein_measured is not None
    np.testing.assert_array_equal(cohort.protein_measured, [[1, 1, 1, 0], [1, 0, 1, 1]])
    assert cohort.samples["timepoint"].tolist() == ["D0", "D0"]
    assert cohort.samples["response"].tolist() == ["R", "NR"]


def test_the_checks_judge_cells_by_proteins_where_there_are_no_genes(
    write: Callable[..., np.ndarray], tmp_path: Path
) -> None:
    write("one.fcs", ["CD3", "CD4", "CD8"])
    write("two.fcs", ["CD3", "CD4", "CD8"])
    cohort = _reader(tmp_path, SHEET).read()
    limits = Limits(min_cells=10, min_per_class=1)
    check_cohort(cohort, endpoint=None, limits=limits)
    cohort.protein[:7] = 0  # type: ignore[index]
    kept = filter_cohort(cohort, limits=limits)
    lacking = int((cohort.protein == 0).all(axis=1).sum())  # type: ignore[union-attr]
    assert lacking >= 7
    assert kept.dropped["cells without protein counts"] == lacking
    assert len(kept.cells) == 100 - lacking
    with pytest.raises(InputError, match="E-LIB-003"):
        check_cohort(cohort, endpoint=None, limits=Limits(min_cells=60))


def test_only_cells_of_the_gate_and_at_most_so_many(
    write: Callable[..., np.ndarray], tmp_path: Path
) -> None:
    values = write("one.fcs", ["CD3", "CD4", "CD8"])
    (tmp_path / "gates.csv").write_text("gate,parent,channel,low,high\nT cells,,CD3,3,\n")
    gate = CellGate(table=str(tmp_path / "gates.csv"), name="T cells", cofactor=150)
    sheet = "sample,patient,fcs\nS1,P1,one.fcs\n"
    cohort = _reader(tmp_path, sheet, gate=gate).read()
    inside = np.arcsinh(values[:, 1] / 150) >= 3
    assert len(cohort.cells) == inside.sum() > 0
    assert cohort.dropped["events outside the gate"] == (~inside).sum()
    few = _reader(tmp_path, sheet, cells=9)
    assert len(few.read().cells) == 9
    np.testing.assert_array_equal(few.read().protein, few.read().protein)
    wrong = CellGate(table=gate.table, name="B cells", cofactor=150)
    with pytest.raises(InputError, match="its gates are T cells"):
        _reader(tmp_path, sheet, gate=wrong).read()


def test_compensation_is_undone_before_counting(
    write: Callable[..., np.ndarray], tmp_path: Path
) -> None:
    spill = "2,B1-A,V2-A,1,0.5,0,1"
    values = write("one.fcs", ["CD3", "CD4", "CD8"], spill)
    sheet = "sample,patient,fcs\nS1,P1,one.fcs\n"
    found = _reader(tmp_path, sheet, proteins=["CD4"]).read()
    assert found.proteins == ["CD4"]
    wanted = np.round(np.maximum(values[:, 2] - 0.5 * values[:, 1], 0) / 20)
    np.testing.assert_allclose(found.protein[:, 0], wanted, atol=1)  # type: ignore[index]
    plain = _reader(tmp_path, sheet, proteins=["CD4"], compensate=False).read()
    measured = np.round(np.maximum(values[:, 2], 0) / 20)
    np.testing.assert_array_equal(plain.protein[:, 0], measured)  # type: ignore[index]


def test_all_faults_of_sheet_and_files_are_said_at_once(
    write: Callable[..., np.ndarray], tmp_path: Path
) -> None:
    write("one.fcs", ["CD3", "CD4", "CD8"])
    write("two.fcs", ["CD3", "anti-CD3", "CD8"])
    with pytest.raises(InputError) as caught:
        _reader(tmp_path, SHEET, proteins=["CD3", "CD19"]).read()
    said = str(caught.value)
    assert "no protein CD19" in said
    assert "several channels are CD3" in said
    with pytest.raises(InputError, match="columns sample, patient and fcs"):
        _reader(tmp_path, "sample,patient\nS1,P1\n").read()
    with pytest.raises(InputError, match=r"E-FCS-002 .*count=1 .* rows name no file"):
        _reader(tmp_path, "sample,patient,fcs\nS1,P1,one.fcs\nS2,P2,\n").read()
    gate = CellGate(table=str(tmp_path / "gone.csv"), name="T", cofactor=150.0)
    with pytest.raises(InputError) as once:
        _reader(tmp_path, SHEET, gate=gate).read()
    assert len(once.value.problems) == 1  # of the table, not of each file
    with pytest.raises(ValueError, match="above 0"):
        FcsReader("sheet.csv", unit=0)
    write("one.fcs", ["", "", ""])
    with pytest.raises(InputError, match="no dye is named"):
        _reader(tmp_path, "sample,patient,fcs\nS1,P1,one.fcs\n").read()


def _written(path: Path, detectors: list[str], markers: list[str]) -> np.ndarray:
    """20 events in a file; what was written."""
    values = np.random.default_rng(0).poisson(50, (20, len(detectors))).astype(np.float32)
    with path.open("wb") as stream:
        flowio.create_fcs(stream, values.flatten().tolist(), detectors, opt_channel_names=markers)
    return values


ONE = "sample,patient,fcs\nS1,P1,one.fcs\n"


def test_channels_of_mass_cytometry_that_are_no_proteins_are_left_out(tmp_path: Path) -> None:
    none = [
        *("140Ce_Bead", "191Ir_DNA1", "193Ir", "195Pt_Viability", "198Pt_Cisplatin", "102Pd_BC1"),
        *("131Xe", "Center", "Offset", "Width", "Residual", "Event_length", "Time"),
    ]
    proteins = ["89Y_CD45", "145Nd_CD4", "150Nd_DNAM-1", "160Gd_BCMA", "168Er_Ki67", "45RA"]
    detectors = [f"X{at}Di" for at in range(len(none + proteins))]
    detectors[11:13] = "Event_length", "Time"
    values = _written(tmp_path / "one.fcs", detectors, [*none, *proteins])
    cohort = _reader(tmp_path, ONE).read()
    assert cohort.proteins[:3] == ["CD45", "CD4", "CD226"]
    assert len(cohort.proteins) == len(proteins)
    assert cohort.dropped == {"features that are neither RNA nor surface protein": 11}
    named = _reader(tmp_path, ONE, proteins=["191Ir_DNA1", "CD45", "145Nd_CD4"]).read()
    assert named.proteins == ["DNA1", "CD45", "CD4"]
    assert not named.dropped
    counts = np.round(values[:, [1, len(none), len(none) + 1]] / 20)
    np.testing.assert_array_equal(named.protein, counts)  # type: ignore[arg-type]


def test_shorthands_of_markers_are_proteins(tmp_path: Path) -> None:
    short = ["62L", "62P", "17A", "11C", "107A", "45RA"]
    detectors = [f"B{at}-A" for at in range(len(short))]
    _written(tmp_path / "one.fcs", detectors, short)
    cohort = _reader(tmp_path, ONE).read()
    assert cohort.proteins == short
    assert not cohort.dropped


def test_of_a_signal_the_area_is_read_or_the_detector_that_is_named(tmp_path: Path) -> None:
    detectors = ["FSC-A", "B1-A", "B1-H", "B1-W", "V2-A", "V2-H", "V3-A"]
    markers = ["", "CD4", "CD4", "CD4", "CD8", "CD8", ""]
    values = _written(tmp_path / "one.fcs", detectors, markers)
    for proteins, names, columns in (
        (None, ["CD4", "CD8A"], [1, 4]),
        (["CD4"], ["CD4"], [1]),
        (["b1-h", "CD8", "V3-A"], ["CD4", "CD8A", "V3-A"], [2, 4, 6]),
    ):
        cohort = _reader(tmp_path, ONE, proteins=proteins).read()
        assert cohort.proteins == names
        np.testing.assert_array_equal(cohort.protein, np.round(values[:, columns] / 20))  # type: ignore[arg-type]
    for named in (["B1-A", "B1-H"], ["CD4", "B1-H"]):
        with pytest.raises(InputError, match=r"several channels are CD4 \(B1-A, B1-H\)"):
            _reader(tmp_path, ONE, proteins=named).read()
    markers[4] = markers[5] = "anti-CD4"  # of another signal: nothing says which is meant
    _written(tmp_path / "one.fcs", detectors, markers)
    with pytest.raises(InputError, match=r"CD4 \(B1-A, V2-A\).* or their detectors"):
        _reader(tmp_path, ONE).read()
    assert _reader(tmp_path, ONE, proteins=["V2-A"]).read().proteins == ["CD4"]
