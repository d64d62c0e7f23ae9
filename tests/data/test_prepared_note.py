"""Unchanged input is not read again; whatever changes is; a note that is not whole is none."""

from __future__ import annotations

import os
import stat
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import anndata as ad
import numpy as np
import pandas as pd
import pytest
from scipy import sparse

from recart.data import prepared_note
from recart.data.checks import Limits
from recart.data.prepare import Endpoint, Preparation, content_key, prepare
from recart.data.prepared_note import Note, find_note, take_inputs, write_note
from recart.data.readers import CellRangerReader, H5adReader
from recart.data.receptors.none import NoReceptor
from recart.data.receptors.physicochemical import Physicochemical
from recart.data.simulate import Effects, SimulatedCohort
from recart.data.store import CohortStore
from recart.problems import InputError

LONG_AGO = 1_600_000_000_000_000_000  # ns
SMALL = "tube-of-QQPERSON0"  # its library has failed, which is a warning


def write(path: Path, seed: int = 0, age: int = 0) -> Path:
    """Six patients with a sample of 20 cells each, and one sample of 3 cells; written long ago."""
    rng = np.random.default_rng(seed)
    samples = [f"tube{i}" for i in range(6) for _ in range(20)] + [SMALL] * 3
    patients = [f"QQPERSON{i}" for i in range(6) for _ in range(20)] + ["QQPERSON0"] * 3
    obs = pd.DataFrame({"sample": samples, "patient": patients})
    obs["response"] = ["R" if int(name[-1]) % 2 else "NR" for name in patients]
    obs.index = pd.Index([f"c{i}" for i in range(len(obs))])
    rna = sparse.csr_matrix(rng.poisson(4.0, (len(obs), 30)).astype(np.float32))
    adata = ad.AnnData(rna, obs=obs, var=pd.DataFrame(index=[f"G{i}" for i in range(30)]))
    adata.write_h5ad(path)
    os.utime(path, ns=(LONG_AGO + age, LONG_AGO + age))
    return path


@pytest.fixture
def made(tmp_path: Path) -> Preparation:
    return Preparation(
        reader=H5adReader(str(write(tmp_path / "QQfile.h5ad"))),
        endpoint=Endpoint(
            column="response", positive=["R"], negative=["NR"], exclude=[], unit="patient"
        ),
        car_genes=[],
        normalised=False,
        limits=Limits(min_median_umi=1, min_cells=10, min_per_class=2),
        receptors=NoReceptor(),
        folder=tmp_path / "prepared",
        in_memory=True,
        reread=False,
    )


class Counted:
    """Prepares, counts how often a file was really read, and keeps the lines."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.reads = 0
        self.said: list[str] = []
        self.while_reading: Callable[[], object] = lambda: None
        for reader in (H5adReader, SimulatedCohort):
            monkeypatch.setattr(reader, "read", self._counting(reader.read))

    def _counting(self, read: Callable[[Any], Any]) -> Callable[[Any], Any]:
        def counted(reader: Any) -> Any:
            self.reads += 1
            cohort = read(reader)
            self.while_reading()
            return cohort

        return counted

    def __call__(self, made: Preparation) -> tuple[CohortStore, str]:
        self.said.clear()
        return prepare(made, self.said.append)

    @property
    def warnings(self) -> list[str]:
        return [line for line in self.said if line.startswith("warning")]


@pytest.fixture
def run(monkeypatch: pytest.MonkeyPatch) -> Counted:
    return Counted(monkeypatch)


def test_a_store_of_before_is_made_again_where_rules_have_changed_what_it_holds(
    run: Counted, made: Preparation, monkeypatch: pytest.MonkeyPatch
) -> None:
    _, key = run(made)
    cohort = made.reader.read()
    said = replace(cohort, samples=cohort.samples.assign(has_tcr="yes"))
    sequenced = content_key(said, made)
    monkeypatch.setattr("recart.data.prepare._RULES", "other")
    assert run(made)[1] == key  # read again, and found to be the same
    assert content_key(said, made) != sequenced


def test_the_second_time_nothing_is_read_and_all_is_the_same(
    run: Counted, made: Preparation
) -> None:
    first, key = run(made)
    warnings = run.warnings
    assert len(warnings) == 1
    assert SMALL in warnings[0]
    again, same = run(made)
    assert (run.reads, same) == (1, key)
    assert run.warnings == warnings
    assert "made of these very files and settings" in run.said[-1]
    assert (first.rna != again.rna).nnz == 0
    pd.testing.assert_frame_equal(first.cells, again.cells)
    pd.testing.assert_frame_equal(first.patients, again.patients)


def test_rereading_can_be_asked_for(run: Counted, made: Preparation) -> None:
    run(made)
    run(replace(made, reread=True))
    assert run.reads == 2
    run(made)
    assert run.reads == 2


def test_where_the_counts_lie_is_no_reason_to_read(run: Counted, made: Preparation) -> None:
    run(made)
    store, _ = run(replace(made, in_memory=False))
    assert run.reads == 1
    assert store.path is not None


@pytest.mark.parametrize("how", ["touched", "rewritten", "replaced by an older one", "cut short"])
def test_a_file_that_changed_is_read(
    how: str, run: Counted, made: Preparation, tmp_path: Path
) -> None:
    _, key = run(made)
    file = tmp_path / "QQfile.h5ad"
    if how == "touched":
        os.utime(file, ns=(LONG_AGO + 1, LONG_AGO + 1))  # a nanosecond later
    elif how == "rewritten":
        write(file, seed=1, age=5)
    elif how == "replaced by an older one":
        write(file, seed=1, age=-(10**9))
    else:
        with file.open("r+b") as stream:
            stream.truncate(file.stat().st_size - 1)
        os.utime(file, ns=(LONG_AGO, LONG_AGO))
        with pytest.raises(InputError):
            run(made)
        return
    _, other = run(made)
    assert run.reads == 2
    assert (other == key) is (how == "touched")


def test_a_file_that_is_gone_is_an_error(run: Counted, made: Preparation, tmp_path: Path) -> None:
    run(made)
    (tmp_path / "QQfile.h5ad").unlink()
    with pytest.raises(InputError, match="E-FILE-001"):
        run(made)


def test_a_link_to_another_file_of_the_same_size_and_time_is_another(tmp_path: Path) -> None:
    link, found = tmp_path / "link.h5ad", []
    for name in ("one", "two", "one"):
        (tmp_path / name).write_text(f"counts of {name}")
        os.utime(tmp_path / name, ns=(LONG_AGO, LONG_AGO))
        link.unlink(missing_ok=True)
        link.symlink_to(tmp_path / name)
        found.append(take_inputs(H5adReader(str(link)), []))
    assert found[0] is not None
    assert found[0] == found[2] != found[1]


@pytest.mark.parametrize(
    "change",
    [
        {"limits": Limits(min_median_umi=1, min_cells=2, min_per_class=2)},
        {"receptors": Physicochemical()},
        {"car_genes": ["G3"]},
        {
            "endpoint": Endpoint(
                column="response", positive=["NR"], negative=["R"], exclude=[], unit="patient"
            )
        },
    ],
    ids=lambda change: next(iter(change)),
)
def test_other_settings_are_checked_anew(
    change: dict[str, Any], run: Counted, made: Preparation
) -> None:
    run(made)
    run(replace(made, **change))
    assert run.reads == 2
    run(replace(made, **change))
    run(made)
    assert run.reads == 2  # either is noted now


def test_limits_that_refuse_still_refuse(run: Counted, made: Preparation) -> None:
    run(made)
    strict = replace(made, limits=replace(made.limits, min_per_class=4))
    for _ in range(2):  # what is refused is not noted
        with pytest.raises(InputError):
            run(strict)
    assert run.reads == 3


def test_settings_of_the_reader_count(run: Counted, made: Preparation, tmp_path: Path) -> None:
    run(made)
    path = str(tmp_path / "QQfile.h5ad")
    run(replace(made, reader=H5adReader(path, layer="X")))
    run(replace(made, reader=H5adReader(path, columns={"tissue": "constant:blood"})))
    assert run.reads == 3


def test_another_version_reads_again(
    run: Counted, made: Preparation, monkeypatch: pytest.MonkeyPatch
) -> None:
    run(made)
    with monkeypatch.context() as patch:
        patch.setattr(prepared_note, "_version", lambda package: f"{package} 99")
        run(made)
    assert run.reads == 2
    with monkeypatch.context() as patch:
        patch.setattr(prepared_note, "_own_code", lambda: [("prepare.py", 1, 1)])
        run(made)
    assert run.reads == 3


def test_the_store_that_was_deleted_is_made_again(run: Counted, made: Preparation) -> None:
    _, key = run(made)
    store = made.folder / f"{key}.zarr"
    store.rename(store.with_suffix(".gone"))
    _, again = run(made)
    assert (run.reads, again) == (2, key)
    assert store.is_dir()


def test_another_project_key_makes_other_pseudonyms(run: Counted, made: Preparation) -> None:
    first, key = run(made)
    (made.folder / "pseudonym.key").unlink()
    second, other = run(made)
    assert run.reads == 2
    assert other != key
    assert not set(first.patients.index) & set(second.patients.index)


def test_a_file_that_changes_while_it_is_read_is_not_noted(
    run: Counted, made: Preparation, tmp_path: Path
) -> None:
    run.while_reading = lambda: os.utime(tmp_path / "QQfile.h5ad", ns=(LONG_AGO, LONG_AGO + 7))
    run(made)
    run.while_reading = lambda: None
    run(made)
    assert run.reads == 2
    run(made)
    assert run.reads == 2


def test_a_file_as_new_as_the_clock_is_not_noted(
    run: Counted, made: Preparation, tmp_path: Path
) -> None:
    # written again within one tick, it would have the same time
    now = time.time_ns()
    os.utime(tmp_path / "QQfile.h5ad", ns=(now, now))
    run(made)
    assert not (made.folder / "notes").exists()


def test_the_note_names_nobody_and_no_place(
    run: Counted, made: Preparation, tmp_path: Path
) -> None:
    run(made)
    notes = sorted((made.folder / "notes").iterdir())
    assert [path.suffixes for path in notes] == [[".json"], [".warnings", ".json"]]
    for path in notes:
        assert stat.S_IMODE(path.stat().st_mode) == 0o600
        assert "QQ" not in path.name
    assert b"QQ" not in notes[0].read_bytes()
    assert str(tmp_path).encode() not in notes[0].read_bytes()
    assert SMALL in notes[1].read_text()  # what is said again has to lie somewhere


POISON: dict[str, Callable[[Path], object]] = {
    "cut short": lambda note: note.write_text(note.read_text()[:-3]),
    "empty": lambda note: note.write_text(""),
    "not text": lambda note: note.write_bytes(b"\xff\xfe\x00"),
    "another key": lambda note: note.write_text(
        note.read_text().replace('"key": "', '"key": "../')
    ),
    "no seal": lambda note: note.write_text(note.read_text().partition("\n")[2]),
    "a folder": lambda note: (note.unlink(), note.mkdir()),
    "warnings gone": lambda note: note.with_suffix(".warnings.json").unlink(),
    "warnings edited": lambda note: note.with_suffix(".warnings.json").write_text("\n[]"),
}


@pytest.mark.parametrize("how", POISON)
def test_a_poisoned_note_is_ignored(how: str, run: Counted, made: Preparation) -> None:
    _, key = run(made)
    (note,) = (path for path in (made.folder / "notes").iterdir() if path.suffixes == [".json"])
    POISON[how](note)
    _, again = run(made)
    assert (run.reads, again) == (2, key)
    assert len(run.warnings) == 1


def test_a_note_under_another_name_is_ignored(tmp_path: Path) -> None:
    secret = b"k" * 32
    one = take_inputs(SimulatedCohort(seed=1), [])
    two = take_inputs(SimulatedCohort(seed=2), [])
    assert one is not None
    assert two is not None
    write_note(tmp_path, secret, one, Note(key="aa", warnings=()))
    (path,) = tmp_path.iterdir()
    write_note(tmp_path, secret, two, Note(key="bb", warnings=()))
    (other,) = (found for found in tmp_path.iterdir() if found != path)
    other.write_bytes(path.read_bytes())
    assert find_note(tmp_path, secret, one) == Note(key="aa", warnings=())
    assert find_note(tmp_path, secret, two) is None
    assert find_note(tmp_path, b"j" * 32, one) is None


def test_a_folder_that_can_not_be_written_stops_nothing(
    run: Counted, made: Preparation, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: object, **__: object) -> None:
        raise OSError(28, "No space left on device")

    run(replace(made, reread=True))
    for file in (made.folder / "notes").iterdir():
        file.unlink()
    monkeypatch.setattr(prepared_note.tempfile, "mkstemp", full)
    run(made)
    assert run.reads == 2


def test_a_simulation_is_its_arguments(run: Counted, made: Preparation) -> None:
    cohort = {"patients": 12, "cells_per_sample": 20, "genes": 170}
    limits = Limits(min_median_umi=1, min_cells=2, min_per_class=2)
    endpoint = replace(made.endpoint, positive=["CR"], negative=["nonCR"])
    made = replace(made, limits=limits, endpoint=endpoint)
    for _ in range(2):
        run(replace(made, reader=SimulatedCohort(**cohort)))
    assert run.reads == 1
    run(replace(made, reader=SimulatedCohort(**cohort, effects=Effects(composition=0.5))))
    assert run.reads == 2


def test_what_can_not_be_told_apart_is_not_noted(made: Preparation, tmp_path: Path) -> None:
    assert take_inputs(made.reader, [object()]) is None
    assert take_inputs(H5adReader(str(tmp_path)), []) is None  # a folder
    assert take_inputs(H5adReader(str(tmp_path / "absent.h5ad")), []) is None
    values = [1, 1.0, True, "1", None, ["1"], {"1": 1}]
    asked = [take_inputs(made.reader, [value]) for value in values]
    assert len({found.asked for found in asked if found is not None}) == len(values)


def test_a_sheet_that_names_another_file_is_read(tmp_path: Path) -> None:
    for name in ("a", "b"):
        (tmp_path / f"{name}.h5").write_bytes(b"matrix")
        (tmp_path / f"{name}.csv").write_text("barcode\n")
    sheet = tmp_path / "sheet.csv"
    sheet.write_text("sample,patient,gex,vdj\nS1,P1,a.h5,a.csv\n")
    reader = CellRangerReader(str(sheet))
    assert set(reader.files()) == {sheet, tmp_path / "a.h5", tmp_path / "a.csv"}
    before = take_inputs(reader, [])
    assert take_inputs(reader, []) == before
    os.utime(tmp_path / "a.csv", ns=(LONG_AGO, LONG_AGO))
    touched = take_inputs(reader, [])
    assert touched != before
    sheet.write_text("sample,patient,gex,vdj\nS1,P1,b.h5,a.csv\n")
    assert set(reader.files()) == {sheet, tmp_path / "b.h5", tmp_path / "a.csv"}
    assert take_inputs(reader, []) not in (before, touched)
