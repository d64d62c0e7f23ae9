"""Fold schemes over random cohorts: nobody on two sides, both classes everywhere, blocks whole."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import combinations
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from recart.config.build import build
from recart.config.compose import compose
from recart.data.folds import (
    ExternalCohort,
    FixedSplit,
    FoldScheme,
    LeaveOnePatientOut,
    LeaveOneSiteOut,
    LeavePairOut,
    PatientColumns,
    StratifiedPatientKFold,
)
from recart.data.split import FoldPatients, Kind, Split, check_classes
from recart.problems import InputError

NAMES = [f"P-{code:04d}" for code in range(400)]


def tables(**columns: Any) -> PatientColumns:
    """Patient columns, as they stand in the table of the patients."""
    patients = pd.DataFrame(columns)
    samples = pd.DataFrame({"patient": np.arange(len(patients))})
    return PatientColumns(samples=samples, patients=patients)


def cohort(rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    """At least five patients of each class, one to three bags each, codes with gaps."""
    n_1, n_0 = rng.integers(5, 40, 2)
    codes = rng.permutation(np.arange(0, 3 * (n_1 + n_0), 3))
    bags = rng.integers(1, 4, n_1 + n_0)
    labels = (np.arange(n_1 + n_0) < n_1).astype(int)
    order = rng.permutation(bags.sum())
    return np.repeat(codes, bags)[order], np.repeat(labels, bags)[order]


def parts(fold: FoldPatients) -> list[set[int]]:
    return [set(fold.train), set(fold.validation), set(fold.held_out), set(fold.aside)]


def classes(patients: np.ndarray, labels: np.ndarray, own: set[int]) -> set[int]:
    return set(labels[np.isin(patients, list(own))].tolist())


def test_a_thousand_random_cohorts_in_stratified_folds() -> None:
    overlaps, single, uneven = 0, 0, 0
    for seed in range(1000):
        patients, labels = cohort(np.random.default_rng(seed))
        split = StratifiedPatientKFold(5, 1, 0.2).split(patients, labels, seed, NAMES)
        label_of = dict(zip(patients.tolist(), labels.tolist(), strict=True))
        for fold in split.folds:
            own = parts(fold)
            overlaps += sum(bool(a & b) for a, b in combinations(own, 2))
            single += sum(len({label_of[p] for p in part}) < 2 for part in own[:3])
        for label in (0, 1):
            sizes = [sum(label_of[p] == label for p in fold.held_out) for fold in split.folds]
            uneven += max(sizes) - min(sizes) > 1
    assert (overlaps, single, uneven) == (0, 0, 0)


def random_blocks(rng: np.random.Generator, codes: np.ndarray, largest: int) -> np.ndarray:
    """Blocks of up to `largest` patients, by code."""
    sizes = rng.integers(1, largest + 1, len(codes))
    numbers = np.repeat(np.arange(len(codes)), sizes)[: len(codes)]
    of_code = np.full(int(codes.max()) + 1, "", dtype=object)
    of_code[rng.permutation(codes)] = [f"library{n}" for n in numbers]
    return of_code


@pytest.mark.parametrize("largest", [2, 4])
def test_blocks_stay_whole_and_folds_even(largest: int) -> None:
    gaps = []
    for seed in range(60):
        rng = np.random.default_rng(seed)
        patients, labels = cohort(rng)
        library = random_blocks(rng, np.unique(patients), largest)
        scheme = StratifiedPatientKFold(3, 2, 0.2, block="library")
        split = scheme.split(patients, labels, seed, NAMES, tables(library=library))
        check_classes(split, patients, labels)
        for fold in split.folds:
            for a, b in combinations(parts(fold)[:3], 2):
                assert not {library[p] for p in a} & {library[p] for p in b}
            assert not fold.aside
        for label in (0, 1):
            own = set(patients[labels == label].tolist())
            sizes = [len(own & set(f.held_out)) for f in split.folds if f.repeat == 0]
            gaps.append(max(sizes) - min(sizes))
    # 0.7 on average; blocks dealt at random differ by 5.4 (blocks of up to 2) and 6.5 (up to 4)
    assert np.mean(gaps) < 1
    assert max(gaps) <= largest


def test_validation_of_blocked_patients_takes_about_its_share() -> None:
    rng = np.random.default_rng(0)
    patients, labels = np.arange(120), np.arange(120) % 2
    library = random_blocks(rng, patients, 3)
    scheme = StratifiedPatientKFold(5, 1, 0.25, block="library")
    for fold in scheme.split(patients, labels, 0, NAMES, tables(library=library)).folds:
        chosen = labels[list(fold.validation)]
        assert abs(chosen.sum() - 12) <= 1
        assert abs(len(chosen) - chosen.sum() - 12) <= 1


def test_samples_tie_patients_together() -> None:
    """Patients 0 and 1 share library A, 1 and 2 share B: the three are one block; 3 has none."""
    patients, labels = np.arange(20), np.arange(20) % 2
    samples = pd.DataFrame(
        {
            "patient": [0, 1, 1, 2, *range(3, 20)],
            "library": ["A", "A", "B", "B", None, *[f"L{i}" for i in range(4, 20)]],
        }
    )
    columns = PatientColumns(samples=samples, patients=pd.DataFrame(index=NAMES[:20]))
    split = StratifiedPatientKFold(5, 3, 0.2, block="library").split(
        patients, labels, 0, NAMES, columns
    )
    assert split.blocks == ((0, 1, 2),)
    for fold in split.folds:
        assert sum(bool({0, 1, 2} & part) for part in parts(fold)) == 1
    assert split.block_of(np.array([2, 3, 0])).tolist() == [0, 3, 0]


def test_several_columns_tie_patients_together() -> None:
    """0 and 1 share library A, 1 and 2 family F; 3 is of family A, which is not library A."""
    patients, labels = np.arange(20), np.arange(20) % 2
    columns = tables(
        library=["A", "A", *[f"L{i}" for i in range(2, 20)]],
        family=[None, "F", "F", "A", *[None] * 16],
    )
    for block in (["library", "family"], ("family", "library")):
        split = StratifiedPatientKFold(5, 2, 0.2, block=block).split(
            patients, labels, 0, NAMES, columns
        )
        assert split.blocks == ((0, 1, 2),)
    one = StratifiedPatientKFold(5, 2, 0.2, block="library")
    assert StratifiedPatientKFold(5, 2, 0.2, block=["library"]).split(
        patients, labels, 0, NAMES, columns
    ) == one.split(patients, labels, 0, NAMES, columns)
    with pytest.raises(InputError, match=r"2 problem(?s:.)*column=libary(?s:.)*column=pool"):
        StratifiedPatientKFold(5, 2, 0.2, block=["libary", "family", "pool"]).split(
            patients, labels, 0, NAMES, columns
        )
    with pytest.raises(InputError, match="column=library, family"):
        LeaveOneSiteOut("site", 1, 0.2, block=["library", "family"]).split(
            patients,
            labels,
            0,
            NAMES,
            tables(site=["X", "Y"] * 10, library=["A"] * 2 + [None] * 18, family=[None] * 20),
        )


def test_a_configuration_may_name_several_columns() -> None:
    config = compose(["data.folds.block=[library,family]", "data.path=x", "data.endpoint=r"])
    scheme = build(config.data.folds)
    columns = tables(library=["A"] * 2 + [None] * 18, family=[None, "F", "F"] + [None] * 17)
    split = scheme.split(np.arange(20), np.arange(20) % 2, 0, NAMES, columns)
    assert split.blocks == ((0, 1, 2),)


def test_blocks_of_one_change_nothing() -> None:
    patients, labels = np.arange(30), np.arange(30) % 2
    alone = tables(library=[f"L{i}" for i in range(30)])
    blocked = StratifiedPatientKFold(5, 2, 0.2, block="library")
    plain = StratifiedPatientKFold(5, 2, 0.2)
    assert blocked.split(patients, labels, 4, NAMES, alone) == plain.split(
        patients, labels, 4, NAMES
    )


def test_blocks_that_forbid_stratified_folds_are_refused() -> None:
    patients, labels = np.arange(20), np.arange(20) % 2
    # all positive patients stand in two libraries
    library = ["A" if i < 10 else "B" if label else f"L{i}" for i, label in enumerate(labels)]
    scheme = StratifiedPatientKFold(3, 1, 0.2, block="library")
    with pytest.raises(InputError, match=r"E-FOLD-006 column=library.*2 blocks have patients of"):
        scheme.split(patients, labels, 0, NAMES, tables(library=library))
    # three can be dealt, but of the two that are left one each trains and chooses the epoch
    library = [f"L{i % 3}" if label else f"N{i}" for i, label in enumerate(labels)]
    split = scheme.split(patients, labels, 0, NAMES, tables(library=library))
    check_classes(split, patients, labels)
    scheme = StratifiedPatientKFold(2, 1, 0.2, block="library")
    with pytest.raises(InputError, match="E-FOLD-005"):
        scheme.split(patients, labels, 0, NAMES, tables(library=library))


def test_a_column_that_is_not_there_is_named_with_those_that_are() -> None:
    patients, labels = np.arange(20), np.arange(20) % 2
    scheme = StratifiedPatientKFold(5, 1, 0.2, block="libary")
    with pytest.raises(InputError, match=r"column=libary.*name one of family, library"):
        scheme.split(patients, labels, 0, NAMES, tables(library=["A"] * 20, family=["F"] * 20))
    with pytest.raises(InputError, match="no tables are at hand"):
        scheme.split(patients, labels, 0, NAMES)


def test_every_pair_is_held_out_once_and_all_models_have_the_same_balance() -> None:
    labels = np.array([1] * 4 + [0] * 6)
    split = LeavePairOut(0.2, 29).split(np.arange(10), labels, 0, NAMES)
    assert split.kind is Kind.PAIRS
    pairs = {(p, n) for p in range(4) for n in range(4, 10)}
    assert {fold.held_out for fold in split.folds} == pairs
    for fold in split.folds:
        development = labels[[*fold.train, *fold.validation]]
        assert development.sum() == 3
        assert len(development) == 8
    check_classes(split, np.arange(10), labels)
    assert split.words == "24 pairs"
    assert len({fold.seed for fold in split.folds}) == 24


def test_a_patient_of_both_classes_is_paired_with_everyone() -> None:
    patients, labels = np.array([0, 0, 1, 2, 3, 4, 5, 6]), np.array([0, 1, 1, 1, 1, 0, 0, 0])
    split = LeavePairOut(0.2, 29).split(patients, labels, 0, NAMES)
    with_0 = [fold.held_out for fold in split.folds if 0 in fold.held_out]
    assert with_0 == [(0, other) for other in range(1, 7)]
    assert len(split.folds) == 6 + 9


def test_who_shares_a_block_with_the_pair_is_set_aside() -> None:
    patients, labels = np.arange(12), np.arange(12) % 2
    family = ["F" if i in (0, 1, 2) else None for i in range(12)]
    split = LeavePairOut(0.2, 29, block="family").split(
        patients, labels, 0, NAMES, tables(family=family)
    )
    for fold in split.folds:
        touched = bool(set(fold.held_out) & {0, 1, 2})
        assert set(fold.aside) == ({0, 1, 2} - set(fold.held_out) if touched else set())
    check_classes(split, patients, labels)


def test_many_patients_are_too_many_pairs() -> None:
    scheme = LeavePairOut(0.2, 29)
    with pytest.raises(InputError, match=r"E-FOLD-007.*30 patients make 225 pairs"):
        scheme.split(np.arange(30), np.arange(30) % 2, 0, NAMES)
    with pytest.raises(InputError, match=r"E-FOLD-003.*1 patients of class 1"):
        scheme.split(np.arange(10), (np.arange(10) < 2).astype(int), 0, NAMES)


def test_each_patient_is_held_out_alone() -> None:
    labels = np.arange(9) % 2
    split = LeaveOnePatientOut(0.2).split(np.arange(9), labels, 0, NAMES)
    assert [fold.held_out for fold in split.folds] == [(p,) for p in range(9)]
    assert split.kind is Kind.GROUPS
    check_classes(split, np.arange(9), labels)


def test_each_site_is_held_out_whole() -> None:
    patients, labels = np.arange(20), np.arange(20) % 2
    site = np.where(np.arange(20) < 6, "Leiden", np.where(np.arange(20) < 13, "Basel", "Graz"))
    scheme = LeaveOneSiteOut("site", 2, 0.2)
    split = scheme.split(patients, labels, 0, NAMES, tables(site=site))
    assert (split.k, split.repeats, split.kind) == (3, 2, Kind.GROUPS)
    for fold in split.folds:
        assert {site[p] for p in fold.held_out} == {["Basel", "Graz", "Leiden"][fold.fold]}
        assert len(set(site[list(fold.train + fold.validation)])) == 2
    assert len({fold.seed for fold in split.folds}) == 6


@pytest.mark.parametrize(
    ("site", "message"),
    [
        (["A"] * 20, "E-FOLD-009"),
        ([None] + ["A", "B"] * 9 + ["A"], "E-FOLD-008.*1 patients have no value"),
        (["A"] * 18 + ["B"] * 2, None),
        (["B"] * 18 + ["A", "A"], None),
        (["A"] * 17 + ["B"] * 3, None),
        (["A"] * 2 + ["B"] * 18, None),
    ],
)
def test_sites_that_cannot_be_held_out(site: list[str], message: str | None) -> None:
    patients, labels = np.arange(20), np.arange(20) % 2
    scheme = LeaveOneSiteOut("site", 1, 0.2)
    # where a site has nearly everyone, the others are too few to train on
    with pytest.raises(InputError, match=message or "E-FOLD-003.*1 patients of class"):
        scheme.split(patients, labels, 0, NAMES, tables(site=site))


def test_a_patient_of_two_sites_is_refused() -> None:
    samples = pd.DataFrame({"patient": [*range(20), 0], "site": ["A", "B"] * 10 + ["B"]})
    columns = PatientColumns(samples=samples, patients=pd.DataFrame(index=NAMES[:20]))
    with pytest.raises(InputError, match="1 patients have samples of several values"):
        LeaveOneSiteOut("site", 1, 0.2).split(
            np.arange(20), np.arange(20) // 2 % 2, 0, NAMES, columns
        )


def test_a_family_over_two_sites_is_refused() -> None:
    family = ["F" if i in (0, 1) else None for i in range(20)]
    columns = tables(site=["A", "B"] * 10, family=family)
    with pytest.raises(InputError, match=r"E-FOLD-010 column=family.*1 blocks"):
        LeaveOneSiteOut("site", 1, 0.2, block="family").split(
            np.arange(20), np.arange(20) // 2 % 2, 0, NAMES, columns
        )


OUTSIDE = ["Graz"] * 6 + ["Leiden", "Basel"] * 7


def test_outside_patients_are_held_out_of_everything() -> None:
    patients, labels = np.arange(20), np.arange(20) % 2
    scheme = ExternalCohort("site", ["Graz"], 4, 0.2)
    split = scheme.split(patients, labels, 0, NAMES, tables(site=OUTSIDE))
    assert (split.kind, split.repeats, split.k) == (Kind.EXTERNAL, 4, 1)
    assert split.words == "6 outside patients x 4 models"
    for fold in split.folds:
        assert fold.held_out == tuple(range(6))
    assert len({fold.validation for fold in split.folds}) > 1
    assert len({fold.seed for fold in split.folds}) == 4
    check_classes(split, patients, labels)


@pytest.mark.parametrize(
    ("values", "labels", "message"),
    [
        (["Gratz"], np.arange(20) % 2, "E-FOLD-011.*first: Gratz.*Basel, Graz, Leiden"),
        (["Graz"], (np.arange(20) > 8).astype(int), "E-FOLD-012.*none of class 1"),
        (["Graz", "Leiden", "Basel"], np.arange(20) % 2, "E-FOLD-003"),
    ],
)
def test_an_outside_cohort_that_cannot_be_evaluated(
    values: list[str], labels: np.ndarray, message: str
) -> None:
    scheme = ExternalCohort("site", values, 2, 0.2)
    with pytest.raises(InputError, match=message):
        scheme.split(np.arange(20), labels, 0, NAMES, tables(site=OUTSIDE))


def test_a_family_that_reaches_outside_is_refused() -> None:
    columns = tables(site=OUTSIDE, family=["F" if i in (0, 7) else None for i in range(20)])
    with pytest.raises(InputError, match=r"E-FOLD-010.*1 other patients share a block"):
        ExternalCohort("site", ["Graz"], 2, 0.2, block="family").split(
            np.arange(20), np.arange(20) % 2, 0, NAMES, columns
        )


def every_kind() -> Iterator[tuple[str, FoldScheme]]:
    yield "stratified", StratifiedPatientKFold(3, 2, 0.2, block="family")
    yield "pairs", LeavePairOut(0.2, 29, block="family")
    yield "patients", LeaveOnePatientOut(0.2, block="family")
    yield "sites", LeaveOneSiteOut("site", 2, 0.2)
    yield "external", ExternalCohort("site", ["Graz"], 2, 0.2)


@pytest.mark.parametrize(("name", "scheme"), list(every_kind()))
def test_every_kind_comes_back_from_its_file(name: str, scheme: FoldScheme, tmp_path: Path) -> None:
    patients, labels = np.arange(20), np.arange(20) % 2
    columns = tables(site=OUTSIDE, family=["F" if i in (8, 10) else None for i in range(20)])
    split = scheme.split(patients, labels, 5, NAMES, columns)
    path = tmp_path / f"{name}.json"
    split.write(path, NAMES)
    assert Split.read(path, NAMES) == split
    assert FixedSplit(str(path)).split(patients, labels, 0, NAMES) == split
    assert Split.read(path, NAMES).sha256 == split.sha256
    other = scheme.split(patients, labels, 6, NAMES, columns)
    assert other.sha256 != split.sha256


def fold(number: int, train: str, validation: str, held_out: str, aside: str = "") -> FoldPatients:
    codes = [tuple(map(int, part)) for part in (train, validation, held_out, aside)]
    return FoldPatients(
        **{"repeat": 0, "fold": number, "seed": number},
        **dict(zip(("train", "validation", "held_out", "aside"), codes, strict=True)),
    )


@pytest.mark.parametrize(
    ("folds", "kind", "blocks", "message"),
    [
        ([fold(0, "23", "4", "01"), fold(1, "01", "2", "34")], "partition", ((1, 2),), "1 blocks"),
        ([fold(0, "2", "3", "01", "4"), fold(1, "0", "1", "234")], "groups", (), "left aside"),
        (
            [fold(0, "2", "3", "0", "1"), fold(1, "2", "3", "1", "0"), fold(2, "0", "1", "23")],
            "partition",
            ((0, 1),),
            "leaves nobody aside",
        ),
        ([fold(0, "2", "3", "01"), fold(1, "23", "0", "1")], "pairs", (), "another number"),
        ([fold(0, "2", "3", "01"), fold(1, "3", "2", "01")], "pairs", (), "held out twice"),
        ([fold(0, "2", "3", "01"), fold(1, "0", "1", "23")], "external", (), "one outside cohort"),
    ],
)
def test_each_kind_has_rules_of_its_own(
    folds: list[FoldPatients], kind: str, blocks: Any, message: str
) -> None:
    with pytest.raises(InputError, match=message):
        Split(seed=0, folds=tuple(folds), kind=Kind(kind), blocks=blocks)


def test_outside_patients_do_not_change_between_models() -> None:
    one = fold(0, "2", "3", "01")
    other = FoldPatients(repeat=1, fold=0, seed=1, train=(0,), validation=(1,), held_out=(2, 3))
    with pytest.raises(InputError, match="not the same in every fold"):
        Split(seed=0, folds=(one, other), kind=Kind.EXTERNAL)


def test_a_pair_that_lacks_is_missed() -> None:
    labels = np.arange(8) % 2
    split = LeavePairOut(0.2, 29).split(np.arange(8), labels, 0, NAMES)
    fewer = Split(seed=0, folds=split.folds[:-1], kind=Kind.PAIRS)
    with pytest.raises(InputError, match=r"E-SPLIT-006.*1 pairs"):
        check_classes(fewer, np.arange(8), labels)
