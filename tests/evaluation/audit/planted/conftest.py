"""The planted leaks, and a cohort and honest training that they are planted in."""

from __future__ import annotations

import importlib
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest
from scipy import sparse

from recart.config.build import build
from recart.config.compose import compose
from recart.contracts import Member
from recart.data.clone_features import clone_features
from recart.data.folds import StratifiedPatientKFold
from recart.data.split import members
from recart.training.cohort_setup import PreparedCohort
from recart.training.launch import recipes


@pytest.fixture
def leak_module(monkeypatch: pytest.MonkeyPatch) -> Callable[[str], ModuleType]:
    """`leak_module("cohort_leaks")`."""
    monkeypatch.syspath_prepend(str(Path(__file__).parent))
    return importlib.import_module


@pytest.fixture
def honest(leak_module: Callable[[str], ModuleType], tmp_path: Path) -> Any:
    """The honest way to train a member, with tiny settings."""
    config = compose(
        [
            *("model.latent=3", "model.hidden=8", "features.n_genes=60", "features.prior_cells=20"),
            *("training.epochs=2", "training.warmup_epochs=1", "head.prototypes=3"),
            *("head.inner_folds=2", "trainer.accelerator=cpu", "data/receptors=none"),
            f"paths.run={tmp_path / 'run'}",
        ]
    )
    return leak_module("pipeline_leaks").Honest(
        recipes=recipes(config),
        head=build(config.head),
        settings=build(config.trainer),
        folder=tmp_path,
    )


def with_labels_flipped(cohort: PreparedCohort, held_out: tuple[int, ...]) -> PreparedCohort:
    """The other class for these patients, in the table and in the bags."""
    store, bags = cohort.store, cohort.bags
    patients, table = store.patients.copy(), bags.table.copy()
    for code in held_out:
        other = "nonCR" if patients["response"].iloc[code] == "CR" else "CR"
        patients.iloc[code, patients.columns.get_loc("response")] = other
    own = table["patient"].isin(held_out)
    table.loc[own, "label"] = 1 - table.loc[own, "label"]
    return replace(cohort, store=replace(store, patients=patients), bags=replace(bags, table=table))


def with_counts_scrambled(cohort: PreparedCohort, held_out: tuple[int, ...]) -> PreparedCohort:
    """Random counts in the cells of these patients."""
    store = cohort.store
    own = store.cells["patient"].isin(held_out).to_numpy()
    counts = store.rna[:].toarray()
    rng = np.random.default_rng(0)
    counts[own] = rng.poisson(rng.gamma(0.3, 2.0, counts.shape[1]), (own.sum(), counts.shape[1]))
    changed = replace(store, rna=sparse.csr_matrix(counts))
    return replace(cohort, store=changed, extras=clone_features(changed, cohort.bags))


@pytest.fixture
def interference() -> Callable[..., dict[str, list[str]]]:
    """`interference(train, cohort)`: what of a member's file a change of held-out patients moves.

    By manipulation: `labels flipped`, `counts scrambled`.
    """

    def measure(train: Any, cohort: PreparedCohort) -> dict[str, list[str]]:
        member = _member(cohort)
        before = train(cohort, member).content
        return {
            name: sorted(
                _differing(before, train(changed(cohort, member.held_out), member).content)
            )
            for name, changed in (
                ("labels flipped", with_labels_flipped),
                ("counts scrambled", with_counts_scrambled),
            )
        }

    return measure


def _member(cohort: PreparedCohort) -> Member:
    table = cohort.bags.table
    split = StratifiedPatientKFold(k=3, repeats=1, validation=0.3).split(
        table["patient"].to_numpy(), table["label"].to_numpy(), 0, []
    )
    return members(split)[0]


def _differing(one: Any, other: Any, place: str = "") -> set[str]:
    if isinstance(one, dict):
        found = set()
        for key in one.keys() | other.keys():
            found |= _differing(one.get(key), other.get(key), f"{place}.{key}" if place else key)
        return found
    same = one.equal(other) if hasattr(one, "equal") else one == other
    return set() if same else {place}
