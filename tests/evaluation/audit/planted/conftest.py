"""The planted leaks, and a cohort and honest training that they are planted in."""

from __future__ import annotations

import importlib
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from recart.config.build import build
from recart.config.compose import compose
from recart.contracts import Member
from recart.data.folds import StratifiedPatientKFold
from recart.data.split import members
from recart.evaluation.audit.finding import Finding
from recart.evaluation.audit.manipulations import MANIPULATIONS
from recart.evaluation.audit.non_interference import interferences, verdict
from recart.evaluation.audit.outcome import Outcome
from recart.training.cohort_setup import PreparedCohort
from recart.training.launch import recipes

FLIPPED, SCRAMBLED = "labels flipped", "counts, proteins and receptors scrambled"


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


@pytest.fixture
def interference() -> Callable[..., list[Finding]]:
    """`interference(train, cohort, *by)`: what the audit's non-interference check says of a member.

    `by` are manipulations of held-out patients; without, labels and cells are manipulated.
    """

    def measure(train: Any, cohort: PreparedCohort, *by: str) -> list[Finding]:
        outcome = Outcome.of(cohort.store, compose(["data/receptors=none"]).data)
        some = {name: MANIPULATIONS[name] for name in by or (FLIPPED, SCRAMBLED)}
        found = interferences(train, cohort.store, outcome, [_member(cohort)], some)
        return list(verdict(list(found)))

    return measure


def _member(cohort: PreparedCohort) -> Member:
    table = cohort.bags.table
    split = StratifiedPatientKFold(k=3, repeats=1, validation=0.3).split(
        table["patient"].to_numpy(), table["label"].to_numpy(), 0, []
    )
    return members(split)[0]
