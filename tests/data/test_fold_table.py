"""Folds that stand in a table of the user's: patients by their own names, and what is refused."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from recart.data.folds import FoldTable, PatientColumns
from recart.data.pseudonyms import Pseudonyms
from recart.data.split import Kind, Split
from recart.problems import InputError

PATIENTS, LABELS = np.arange(20), np.arange(20) // 2 % 2
OWN = [f"{i:03d}" for i in range(20)]  # a table that is read carelessly loses the zeros
UNLABELLED = "020"
# every fold has both classes
TABLE = pd.DataFrame({"patient": OWN, "fold": [f"fold {i % 4}" for i in (PATIENTS // 4)]})
# but the last, which has no class 0
ONE_CLASS = np.where(np.isin(PATIENTS, [12, 13]), 2, PATIENTS // 4 % 4)


@pytest.fixture
def pseudonyms(tmp_path: Path) -> Pseudonyms:
    return Pseudonyms(tmp_path / "pseudonym.key")


@pytest.fixture
def split(tmp_path: Path, pseudonyms: Pseudonyms) -> Any:
    """`split(table, name, block, **columns)`: the split that a table gives; `name` is its file."""

    def make(
        table: pd.DataFrame, name: str = "folds.csv", block: Any = None, **columns: Any
    ) -> Split:
        path = tmp_path / name
        if path.suffix == ".parquet":
            table.to_parquet(path)
        else:
            table.to_csv(path, index=False, sep="\t" if path.suffix == ".tsv" else ",")
        known = PatientColumns(
            samples=pd.DataFrame({"patient": PATIENTS}),
            patients=pd.DataFrame(columns, index=PATIENTS),
            pseudonym=pseudonyms.patient,
        )
        names = [pseudonyms.patient(own) for own in [*OWN, UNLABELLED]]
        return FoldTable(str(path), 0.25, block).split(PATIENTS, LABELS, 3, names, known)

    return make


@pytest.mark.parametrize("name", ["folds.csv", "folds.tsv", "folds.parquet"])
def test_the_folds_are_those_of_the_table(split: Any, name: str) -> None:
    made = split(TABLE, name)
    assert (made.kind, made.k, made.repeats) == (Kind.PARTITION, 4, 1)
    assert [set(fold.held_out) for fold in made.folds] == [
        set(np.flatnonzero(TABLE["fold"] == f"fold {i}")) for i in range(4)
    ]
    for fold in made.folds:
        assert len(fold.validation) == 4 if len(fold.held_out) == 4 else 3
    shuffled = TABLE.sample(frac=1, random_state=0).assign(remark="is not read")
    assert split(shuffled, name) == made


def test_repeats_and_folds_are_in_the_order_of_their_numbers(split: Any) -> None:
    second = TABLE.assign(fold=PATIENTS % 2 + 9, repeat=10)
    first = TABLE.assign(fold=PATIENTS // 10, repeat=2)
    made = split(pd.concat([second, first]))
    assert made.repeats == 2
    assert [fold.held_out[:2] for fold in made.folds] == [(0, 1), (10, 11), (0, 2), (1, 3)]
    assert len({fold.seed for fold in made.folds}) == 4


def test_pseudonyms_are_taken_too_and_patients_without_a_label_left_out(
    split: Any, pseudonyms: Pseudonyms
) -> None:
    named = TABLE.assign(patient=[pseudonyms.patient(own) for own in OWN])
    more = pd.DataFrame({"patient": [UNLABELLED], "fold": ["fold 2"]})
    assert split(pd.concat([named, more])) == split(TABLE)


@pytest.mark.parametrize(
    ("table", "message"),
    [
        (
            TABLE.rename(columns={"patient": "id"}),
            "E-SPLIT-011.*column=patient.*there are id, fold",
        ),
        (TABLE.assign(fold=None), "E-SPLIT-012.*20 rows lack"),
        (TABLE.assign(patient=[*OWN[:19], "X9"]), "E-SPLIT-008.*first: row 20"),
        (pd.concat([TABLE, TABLE[:2]]), "E-SPLIT-009.*first: row 21, row 22"),
        (TABLE[:18], "E-SPLIT-004.*2 labelled patients of the cohort are in no fold"),
        (TABLE.assign(fold=1), "E-SPLIT-010.*have 1 folds"),
        (TABLE.assign(fold=LABELS), "fold 0: 0 patients of class 0(?s:.)*fold 1: 0 patients of"),
        (TABLE.assign(fold=ONE_CLASS), "E-SPLIT-005.*fold 3: the held_out patients have class 1"),
    ],
)
def test_what_is_no_sound_table_is_refused(split: Any, table: pd.DataFrame, message: str) -> None:
    with pytest.raises(InputError, match=message) as raised:
        split(table)
    assert "X9" not in str(raised.value)


def test_files_that_cannot_be_read_are_refused(tmp_path: Path) -> None:
    (tmp_path / "x.parquet").write_text("patient,fold\n1,2\n")
    for name, code in (("x.parquet", "E-SPLIT-001"), ("no.csv", "E-FILE-001")):
        with pytest.raises(InputError, match=code):
            FoldTable(str(tmp_path / name), 0.25).split(PATIENTS, LABELS, 0, OWN)


def test_a_block_stays_together_in_inner_folds_and_is_not_parted(split: Any) -> None:
    family = ["F" if i in (0, 1) else None for i in range(20)]
    made = split(TABLE, block="family", family=family)
    assert made.blocks == ((0, 1),)
    for fold in made.folds:
        assert ({0, 1} <= set(fold.validation)) or not ({0, 1} & set(fold.validation))
    family = ["F" if i in (0, 12) else None for i in range(20)]
    with pytest.raises(InputError, match=r"E-FOLD-010.*column=site, family.*1 blocks"):
        split(TABLE, block=["site", "family"], family=family, site=None)
