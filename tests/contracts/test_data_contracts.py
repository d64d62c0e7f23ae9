"""What every fold scheme, receptor embedding and reader holds to; classes are found, not listed."""

from __future__ import annotations

import importlib
import inspect
import pkgutil
from collections.abc import Callable
from itertools import combinations
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

import recart.data
from recart.data.cohort import Cohort
from recart.data.folds import (
    ExternalCohort,
    FixedSplit,
    FoldScheme,
    FoldTable,
    LeaveOnePatientOut,
    LeaveOneSiteOut,
    LeavePairOut,
    PatientColumns,
    StratifiedPatientKFold,
)
from recart.data.readers.reader import Reader
from recart.data.receptors.clean import SEQUENCE_COLUMNS
from recart.data.receptors.embedding import ReceptorEmbedding
from recart.data.split import Kind, check_classes
from recart.problems import InputError


def _classes(contract: type) -> list[type]:
    for module in pkgutil.walk_packages(recart.data.__path__, "recart.data."):
        importlib.import_module(module.name)
    found, queue = [], [contract]
    while queue:
        for own in queue.pop().__subclasses__():
            queue.append(own)
            if not inspect.isabstract(own):
                found.append(own)
    return found


def _name(own: Any) -> str:
    return str(getattr(own, "__name__", own))


# --- fold schemes -----------------------------------------------------------------------------

NAMES = [f"P-{i:03d}" for i in range(20)]
PATIENTS, LABELS = np.arange(20), np.arange(20) % 2
COLUMNS = PatientColumns(
    samples=pd.DataFrame({"patient": PATIENTS, "site": ["A"] * 7 + ["B"] * 7 + ["C"] * 6}),
    patients=pd.DataFrame(index=NAMES),
)


@pytest.fixture
def make_scheme(tmp_path: Path) -> Callable[[type], FoldScheme]:
    def make(own: type) -> FoldScheme:
        scheme = StratifiedPatientKFold(k=4, repeats=2, validation=0.25)
        if own is StratifiedPatientKFold:
            return scheme
        if own is FixedSplit:
            split = scheme.split(PATIENTS, LABELS, 3, NAMES)
            split.write(tmp_path / "split.json", NAMES)
            return FixedSplit(str(tmp_path / "split.json"))
        if own is FoldTable:
            table = pd.DataFrame({"patient": NAMES, "fold": PATIENTS // 2 % 4})
            table.to_csv(tmp_path / "folds.csv", index=False)
            return FoldTable(str(tmp_path / "folds.csv"), validation=0.25)
        others = {
            LeavePairOut: LeavePairOut(validation=0.25, at_most=20),
            LeaveOnePatientOut: LeaveOnePatientOut(validation=0.25),
            LeaveOneSiteOut: LeaveOneSiteOut(column="site", repeats=2, validation=0.25),
            ExternalCohort: ExternalCohort("site", ["C"], repeats=2, validation=0.25),
        }
        if own in others:
            return others[own]
        raise AssertionError(f"say here how a {own.__name__} is made")

    return make


@pytest.mark.parametrize("own", _classes(FoldScheme), ids=_name)
def test_folds(own: type, make_scheme: Callable[[type], FoldScheme]) -> None:
    scheme = make_scheme(own)
    split = scheme.split(PATIENTS, LABELS, 3, NAMES, COLUMNS)
    repeats: dict[int, list[int]] = {}
    for fold in split.folds:
        parts = [set(fold.train), set(fold.validation), set(fold.held_out)]
        assert not any(a & b for a, b in combinations(parts, 2))
        assert set.union(*parts) == set(range(20))
        for part in parts[: 2 if split.kind is Kind.GROUPS else 3]:
            assert {int(LABELS[p]) for p in part} == {0, 1}
        repeats.setdefault(fold.repeat, []).extend(fold.held_out)
    for held_out in repeats.values():
        if split.kind in (Kind.PARTITION, Kind.GROUPS):  # everyone is held out once in each repeat
            assert sorted(held_out) == list(range(20))
    assert len({(fold.repeat, fold.fold) for fold in split.folds}) == len(split.folds)
    assert len({fold.seed for fold in split.folds}) == len(split.folds)
    check_classes(split, PATIENTS, LABELS)
    assert scheme.split(PATIENTS, LABELS, 3, NAMES, COLUMNS) == split
    order = np.random.default_rng(0).permutation(20)
    assert scheme.split(PATIENTS[order], LABELS[order], 3, NAMES, COLUMNS) == split


# --- receptor embeddings ----------------------------------------------------------------------

TABLE = pd.DataFrame(
    {
        "v_a": ["TRAV12-2*01", "TRAV12-2*01", None, None, "TRAV1-1*01", None],
        "cdr3_a": ["CAVNFGGGKLIF", "CAVNFGGGKLIF", None, None, "CAVRDSNYQLIW", "nonsense?"],
        "v_b": ["TRBV20-1*01", "TRBV20-1*01", "TRBV6-5*01", None, None, "TRBV6-5*01"],
        "cdr3_b": ["CSARDGTGNGYTF", "CSARDGTGNGYTF", "CASSYSTDTQYF", None, None, "CASSYSTDTQYF"],
    }
)


@pytest.mark.parametrize(
    "own",
    [
        pytest.param(own, marks=pytest.mark.slow) if own.__name__ == "Sceptr" else own
        for own in _classes(ReceptorEmbedding)
    ],
    ids=_name,
)
def test_receptor_embeddings(own: type[ReceptorEmbedding]) -> None:
    embedding = own()
    values, known = embedding.embed(TABLE)
    assert values.shape == (6, embedding.dim)
    assert values.dtype == np.float32
    assert np.isfinite(values).all()
    assert not values[~known].any()  # masked is zero, and known says which zero is none
    assert not known[3]  # no chain at all
    if embedding.dim == 0:
        assert not known.any()
        return
    assert known[:3].all()
    assert known[4]
    np.testing.assert_array_equal(values[0], values[1])  # equal sequences, equal vectors
    assert len(np.unique(values[[0, 2, 4]], axis=0)) == 3
    np.testing.assert_array_equal(values[5], values[2])  # what can't be read is masked alone
    order = np.array([4, 0, 5, 2, 3, 1])
    again, _ = embedding.embed(TABLE.iloc[order].reset_index(drop=True))
    np.testing.assert_allclose(again, values[order], atol=1e-5)
    alone, _ = embedding.embed(TABLE.iloc[[2]].reset_index(drop=True))
    np.testing.assert_allclose(alone[0], values[2], atol=1e-5)
    assert own().fingerprint == embedding.fingerprint
    empty, none = embedding.embed(TABLE.iloc[:0])
    assert empty.shape == (0, embedding.dim)
    assert none.shape == (0,)
    assert set(SEQUENCE_COLUMNS) == set(TABLE)  # the columns the probe fills


def test_fingerprints_tell_embeddings_apart() -> None:
    own = [
        embedding()
        for embedding in _classes(ReceptorEmbedding)
        if embedding.__name__ != "Sceptr"  # which reads its weights for it
    ]
    assert len({embedding.fingerprint for embedding in own}) == len(own) >= 2
    assert len({embedding.name for embedding in own}) == len(own)


# --- readers ----------------------------------------------------------------------------------


@pytest.mark.parametrize("own", _classes(Reader), ids=_name)
def test_readers_take_at_most_eight_named_arguments(own: type[Reader]) -> None:
    parameters = inspect.signature(own).parameters.values()
    assert len(parameters) <= 8
    assert not any(p.kind in (p.VAR_KEYWORD, p.VAR_POSITIONAL) for p in parameters)
    assert inspect.signature(own.read).return_annotation in ("Cohort", Cohort)


@pytest.mark.parametrize(
    "content", [None, b"", b"not what it says"], ids=["absent", "empty", "text"]
)
@pytest.mark.parametrize("own", _classes(Reader), ids=_name)
def test_readers_name_a_file_that_they_cannot_read(
    own: type[Reader], content: bytes | None, tmp_path: Path
) -> None:
    first = next(iter(inspect.signature(own).parameters))
    if first not in ("path", "sheet"):
        pytest.skip("reads no file")
    suffix = {"H5adReader": ".h5ad", "H5muReader": ".h5mu"}.get(own.__name__, ".csv")
    path = tmp_path / f"cohort{suffix}"
    if content is not None:
        path.write_bytes(content)
    more: dict[str, Any] = {"FcsReader": {"unit": 1.0}}.get(own.__name__, {})
    reader = own(**{first: str(path), **more})
    assert list(reader.files()) == [path]  # whatever is in it: `read` says what is wrong
    with pytest.raises(InputError, match=path.name) as caught:
        reader.read()
    assert all(problem.code.startswith("E-") and problem.mend for problem in caught.value.problems)
