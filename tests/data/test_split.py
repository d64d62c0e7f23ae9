"""The split: properties of the scheme over random cohorts, and what the file refuses."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable
from pathlib import Path
from random import Random
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.model_selection import StratifiedKFold

from recart.data.folds import FixedSplit, StratifiedPatientKFold
from recart.data.split import FoldPatients, Split, check_classes, members
from recart.problems import InputError

N_NAMES = 600


def names(count: int = N_NAMES) -> list[str]:
    return [f"P-{hashlib.sha256(str(code).encode()).hexdigest()[:10]}" for code in range(count)]


@st.composite
def cohorts(draw: st.DrawFn) -> tuple[np.ndarray, np.ndarray]:
    """Patient and label of each bag: patients of class 1, class 0 and both, several bags each."""
    n_1, n_0, n_both = draw(st.tuples(st.integers(5, 40), st.integers(5, 40), st.integers(0, 10)))
    codes = np.array(draw(st.permutations(range(0, 3 * (n_1 + n_0 + n_both), 3))))
    rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    patients, labels = [], []
    for number, code in enumerate(codes):
        kinds = [1] if number < n_1 else [0] if number < n_1 + n_0 else [0, 1]
        for _ in range(rng.integers(1, 4)):
            patients += [code] * len(kinds)
            labels += kinds
    order = rng.permutation(len(patients))
    return np.array(patients)[order], np.array(labels)[order]


@settings(max_examples=60, deadline=None)
@given(
    cohorts(),
    st.integers(2, 5),
    st.integers(1, 3),
    st.sampled_from([0.1, 0.2, 0.5, 0.9]),
    st.integers(0, 2**31),
)
def test_every_split_is_sound(
    cohort: tuple[np.ndarray, np.ndarray], k: int, repeats: int, share: float, seed: int
) -> None:
    patients, labels = cohort
    split = StratifiedPatientKFold(k, repeats, share).split(patients, labels, seed, names())
    everyone = set(patients.tolist())
    assert set(split.patients) == everyone
    assert (split.k, split.repeats, len(split.folds)) == (k, repeats, k * repeats)
    check_classes(split, patients, labels)  # every part of every fold holds both classes
    classes = {code: tuple(sorted(set(labels[patients == code].tolist()))) for code in everyone}
    for repeat in range(repeats):
        folds = [fold for fold in split.folds if fold.repeat == repeat]
        held_out = [code for fold in folds for code in fold.held_out]
        assert sorted(held_out) == sorted(everyone)
        for kind in {(0,), (1,), (0, 1)}:
            sizes = [sum(classes[code] == kind for code in fold.held_out) for fold in folds]
            assert max(sizes) - min(sizes) <= 1
        sizes = [len(fold.held_out) for fold in folds]
        assert max(sizes) - min(sizes) <= 1
    for fold in split.folds:
        parts = [set(fold.train), set(fold.validation), set(fold.held_out)]
        assert sum(map(len, parts)) == len(set.union(*parts)) == len(everyone)


@settings(max_examples=30, deadline=None)
@given(cohorts(), st.integers(0, 2**31), st.randoms(use_true_random=False))
def test_order_of_bags_changes_nothing_and_seed_everything(
    cohort: tuple[np.ndarray, np.ndarray], seed: int, random: Random
) -> None:
    patients, labels = cohort
    scheme = StratifiedPatientKFold(5, 2, 0.2)
    split = scheme.split(patients, labels, seed, names())
    order = list(range(len(patients)))
    random.shuffle(order)
    assert scheme.split(patients[order], labels[order], seed, names()) == split
    assert scheme.split(patients, labels, seed + 1, names()).folds != split.folds


def test_more_repeats_keep_the_earlier_ones() -> None:
    patients, labels = np.arange(30), np.arange(30) % 2
    few = StratifiedPatientKFold(5, 2, 0.2).split(patients, labels, 7, names())
    many = StratifiedPatientKFold(5, 4, 0.2).split(patients, labels, 7, names())
    assert many.folds[:10] == few.folds
    first, second = few.folds[:5], few.folds[5:]
    assert {f.held_out for f in first} != {f.held_out for f in second}
    assert len({fold.seed for fold in many.folds}) == 20


@pytest.mark.parametrize(("n_1", "n_0"), [(5, 15), (7, 13), (10, 10), (22, 35)])
def test_class_counts_are_those_of_scikit_learn(n_1: int, n_0: int) -> None:
    patients, labels = np.arange(n_1 + n_0), np.repeat([1, 0], [n_1, n_0])
    split = StratifiedPatientKFold(5, 1, 0.2).split(patients, labels, 0, names())
    ours = [np.bincount(labels[list(fold.held_out)]).tolist() for fold in split.folds]
    folds = StratifiedKFold(5, shuffle=True, random_state=0).split(patients, labels)
    assert sorted(ours) == sorted(np.bincount(labels[test]).tolist() for _, test in folds)


@pytest.mark.parametrize("share", [0.1, 0.25, 0.5])
def test_validation_takes_the_share_asked_for(share: float) -> None:
    patients, labels = np.arange(200), np.arange(200) % 2
    split = StratifiedPatientKFold(5, 1, share).split(patients, labels, 0, names())
    for fold in split.folds:
        chosen = labels[list(fold.validation)]
        assert chosen.sum() == len(chosen) - chosen.sum() == round(80 * share)


def test_every_patient_is_held_out_by_chance_not_by_number() -> None:
    patients, labels = np.arange(20), np.arange(20) % 2
    scheme = StratifiedPatientKFold(5, 1, 0.2)
    together = [
        any({0, 2} <= set(f.held_out) for f in scheme.split(patients, labels, s, names()).folds)
        for s in range(400)
    ]
    # of the 9 other patients of its class one shares the fold of patient 0
    assert abs(np.mean(together) - 1 / 9) < 0.05


def test_mixed_patients_fill_the_class_that_is_short() -> None:
    patients = np.array([0, 1, 2, 2, 3, 3, 4, 4, 5, 6])
    labels = np.array([1, 1, 0, 1, 0, 1, 0, 1, 0, 0])
    split = StratifiedPatientKFold(5, 1, 0.2).split(patients, labels, 0, names())
    check_classes(split, patients, labels)


@pytest.mark.parametrize(
    ("n_1", "n_0", "k", "message"),
    [
        (4, 20, 5, "4 patients of class 1 .*k to 4"),
        (20, 3, 5, "3 patients of class 0 .*k to 3"),
        (2, 20, 2, "at least 3 patients"),
        (20, 0, 5, "0 patients of class 0"),
    ],
)
def test_too_few_patients_for_k(n_1: int, n_0: int, k: int, message: str) -> None:
    patients, labels = np.arange(n_1 + n_0), np.repeat([1, 0], [n_1, n_0])
    with pytest.raises(InputError, match=message):
        StratifiedPatientKFold(k, 1, 0.2).split(patients, labels, 0, names())


def test_advice_for_k_can_be_followed() -> None:
    for n_1 in range(3, 12):
        patients, labels = np.arange(n_1 + 20), np.repeat([1, 0], [n_1, 20])
        with pytest.raises(InputError) as caught:
            StratifiedPatientKFold(15, 1, 0.2).split(patients, labels, 0, names())
        k = int(caught.value.problems[0].mend.split()[-1])
        assert k == n_1
        StratifiedPatientKFold(k, 1, 0.2).split(patients, labels, 0, names())


@pytest.mark.parametrize("arguments", [(1, 1, 0.2), (5, 0, 0.2), (5, 1, 0.0), (5, 1, 1.0)])
def test_senseless_settings_are_refused(arguments: tuple[int, int, float]) -> None:
    with pytest.raises(InputError, match="k must be at least 2"):
        StratifiedPatientKFold(*arguments)


def test_unlabelled_bags_are_refused() -> None:
    with pytest.raises(ValueError, match="leave unlabelled bags out"):
        StratifiedPatientKFold(2, 1, 0.2).split(np.arange(4), np.array([0, 1, -1, 1]), 0, names())


PATIENTS = np.arange(20)
LABELS = PATIENTS % 2


def make() -> Split:
    return StratifiedPatientKFold(5, 2, 0.2).split(PATIENTS, LABELS, 3, names())


def test_file_gives_back_the_split_under_other_codes(tmp_path: Path) -> None:
    split, path = make(), tmp_path / "run" / "split.json"
    split.write(path, names())
    assert Split.read(path, names()) == split
    assert FixedSplit(str(path)).split(PATIENTS, LABELS, 99, names()) == split
    mirrored = Split.read(path, names(20)[::-1])
    assert mirrored.folds[0].train == tuple(sorted(19 - code for code in split.folds[0].train))
    assert [file.name for file in path.parent.iterdir()] == ["split.json"]


def test_file_holds_pseudonyms_and_a_hash_over_its_content(tmp_path: Path) -> None:
    make().write(tmp_path / "split.json", names())
    content = json.loads((tmp_path / "split.json").read_text())
    assert (content["schema"], content["seed"], content["k"], content["repeats"]) == (2, 3, 5, 2)
    assert set(content["folds"][0]["train"]) <= set(names(20))
    digest = content.pop("sha256")
    text = json.dumps(content, sort_keys=True, separators=(",", ":"))
    assert digest == hashlib.sha256(text.encode()).hexdigest()


def rewrite(path: Path, change: Callable[[dict[str, Any]], None], *, sign: bool) -> None:
    content = json.loads(path.read_text())
    change(content)
    if sign:
        del content["sha256"]
        text = json.dumps(content, sort_keys=True, separators=(",", ":"))
        content["sha256"] = hashlib.sha256(text.encode()).hexdigest()
    path.write_text(json.dumps(content))


def overlap(content: dict[str, Any]) -> None:
    content["folds"][0]["train"].append(content["folds"][0]["held_out"][0])


def lose_a_patient(content: dict[str, Any]) -> None:
    content["folds"][0]["train"].pop()


def hold_out_twice(content: dict[str, Any]) -> None:
    moved = content["folds"][0]["train"].pop()
    content["folds"][0]["held_out"].append(moved)


def name_a_stranger(content: dict[str, Any]) -> None:
    content["folds"][0]["train"][0] = "P-stranger"


def drop_a_fold(content: dict[str, Any]) -> None:
    content["folds"].pop()


def empty_validation(content: dict[str, Any]) -> None:
    fold = content["folds"][0]
    fold["train"] += fold["validation"]
    fold["validation"] = []


def no_folds(content: dict[str, Any]) -> None:
    content["folds"] = []


def same_number(content: dict[str, Any]) -> None:
    content["folds"][1]["fold"] = 0


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (overlap, "repeat 0, fold 0: 1 patients are in two parts"),
        (lose_a_patient, "repeat 0, fold 0: 1 patients are in no part"),
        (hold_out_twice, "repeat 0: 1 patients are held out never or twice"),
        (name_a_stranger, "1 patients of the split are not in the cohort"),
        (drop_a_fold, "repeat 1: 4 patients are held out never or twice"),
        (empty_validation, "no validation patients"),
        (no_folds, "no folds"),
        (same_number, "same number"),
    ],
)
def test_a_broken_split_is_refused(
    tmp_path: Path, change: Callable[[dict[str, Any]], None], message: str
) -> None:
    path = tmp_path / "split.json"
    make().write(path, names())
    rewrite(path, change, sign=True)
    with pytest.raises(InputError, match=message):
        Split.read(path, names())


def test_a_changed_file_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "split.json"
    make().write(path, names())
    rewrite(path, lambda content: content.update(seed=4), sign=False)
    with pytest.raises(InputError, match="does not match its hash"):
        Split.read(path, names())


@pytest.mark.parametrize("text", ["", "[]", "{}", '{"schema": 3}', "{"])
def test_what_is_no_split_is_refused(tmp_path: Path, text: str) -> None:
    (tmp_path / "split.json").write_text(text)
    with pytest.raises(InputError, match=r"E-SPLIT-001 file=split\.json"):
        Split.read(tmp_path / "split.json", names())
    with pytest.raises(InputError, match="it can't be read"):
        Split.read(tmp_path, names())
    with pytest.raises(InputError, match="no such split file"):
        Split.read(tmp_path / "other.json", names())


def test_fixed_split_that_does_not_fit_the_cohort_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "split.json"
    make().write(path, names())
    scheme = FixedSplit(str(path))
    with pytest.raises(InputError, match="1 patients of the cohort are in no fold"):
        scheme.split(np.append(PATIENTS, 20), np.append(LABELS, 1), 0, names())
    one_class = LABELS.copy()
    one_class[list(make().folds[0].held_out)] = 1
    with pytest.raises(InputError, match="fold 0: the held_out patients have class 1 only"):
        scheme.split(PATIENTS, one_class, 0, names())


def test_a_split_in_memory_obeys_the_same_rules() -> None:
    fold = FoldPatients(repeat=0, fold=0, seed=1, train=(0, 1), validation=(1,), held_out=(2,))
    with pytest.raises(InputError, match="two parts"):
        Split(seed=0, folds=(fold,))


def test_members_are_the_folds() -> None:
    split = make()
    made = members(split)
    assert [m.name for m in made] == [f"r{r}f{f}" for r in range(2) for f in range(5)]
    for member, fold in zip(made, split.folds, strict=True):
        assert (member.train, member.validation) == (fold.train, fold.validation)
        assert (member.held_out, member.seed) == (fold.held_out, fold.seed)
