"""Simulated cohorts, evaluated without training: what the checks of the audit look at."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest
from omegaconf import DictConfig

from recart.contracts import FeatureSpec, MemberSettings
from recart.data.bags import Admission, make_bags
from recart.data.checks import Limits
from recart.data.clone_features import clone_features
from recart.data.cohort import Cohort
from recart.data.folds import StratifiedPatientKFold
from recart.data.prepare import Endpoint, Preparation, to_store
from recart.data.pseudonyms import Pseudonyms
from recart.data.receptors.physicochemical import Physicochemical
from recart.data.simulate import SimulatedCohort, StudyDesign
from recart.data.split import Split, members
from recart.evaluation.assessment import assess
from recart.evaluation.audit.check import Check
from recart.evaluation.audit.confounders import Confounders
from recart.evaluation.audit.decision_time import DecisionTime
from recart.evaluation.audit.finding import Finding, Severity
from recart.evaluation.audit.identity import Identity
from recart.evaluation.audit.provenance import Provenance
from recart.evaluation.audit.structure import Structure
from recart.evaluation.audit.targets import Targets
from recart.evaluation.baselines import (
    BatchOnly,
    Composition,
    Fold,
    QualityOnly,
    cross_validate_baselines,
)
from recart.evaluation.launch import Evaluated
from recart.training.cohort_setup import PreparedCohort
from recart.training.decision_rule import DecisionRule
from recart.training.jobs import labelled_bags
from recart.training.member_file import LoadedMember
from recart.training.run_directory import RunDirectory

# as configs list them
CHECKS: tuple[Check, ...] = (
    Confounders(rivals=["batch only", "quality only"], level=0.9, p=0.01, draws=4999),
    Structure(
        persons=["donor", "donor_id", "individual"],
        families=["family", "family_id", "household", "twin"],
        libraries=["library", "library_id", "pool", "lane"],
    ),
    Identity(cells=3, receptors=3, overlap=0.05),
    Targets(p=0.01, twin=0.95, draws=9999),
    DecisionTime(
        later=[
            *("relapse", "progression", "pfs", "efs", "dfs", "os"),
            *("death", "died", "deceased", "survival", "followup"),
        ]
    ),
    Provenance(whole_genome=5000, looks=5),
)
# a design in which product and response have nothing to do with each other
SOUND = StudyDesign(cr_rate_ide_cel=0.5, cr_rate_cilta_cel=0.5)
KEY = "0123456789abcdef"


@dataclass(frozen=True)
class Audited:
    """Findings of all checks."""

    findings: tuple[Finding, ...]

    def worst(self, check: str | None = None) -> Severity:
        """Of one check, or of all."""
        return max(f.severity for f in self.findings if check in (None, f.check))

    def flagged(self) -> set[tuple[str, str, str]]:
        """Check, code and severity of every finding that is no pass."""
        return {
            (f.check, f.code, f.severity.name)
            for f in self.findings
            if f.severity >= Severity.WARNING
        }

    def said(self, code: str) -> str:
        """What the findings of a code say."""
        return "\n".join(f.what for f in self.findings if f.code == code)


def simulated(seed: int, *, patients: int = 32, strength: float = 0.0, **design: Any) -> Cohort:
    """A cohort as a reader gives it: 120 cells a sample, 250 genes."""
    return SimulatedCohort(
        patients=patients,
        cells_per_sample=120,
        genes=250,
        seed=seed,
        strength=strength,
        design=replace(SOUND, **design),
    ).read()


def prepare(
    cohort: Cohort, folder: Path, decision_day: float | None = 1.0
) -> tuple[PreparedCohort, Pseudonyms]:
    """Store, bags and bag features by the ways of a run."""
    preparation = Preparation(
        reader=SimulatedCohort(patients=2),
        endpoint=Endpoint(
            column="response", positive=["CR"], negative=["nonCR"], exclude=[], unit="patient"
        ),
        car_genes=[],
        normalised=False,
        limits=Limits(),
        receptors=Physicochemical(),
        folder=folder,
        in_memory=True,
        reread=False,
    )
    pseudonyms = Pseudonyms(folder / "pseudonym.key")
    store = to_store(cohort, preparation, pseudonyms)
    labels = (store.patients["response"] == "CR").astype(float)
    bags = make_bags(store, labels, unit="patient", admission=Admission(decision_day=decision_day))
    return (
        PreparedCohort(store=store, key=KEY, bags=bags, extras=clone_features(store, bags)),
        pseudonyms,
    )


def evaluate(
    cohort: PreparedCohort,
    run: RunDirectory,
    *,
    split: Split | None = None,
    fitted_on: Mapping[str, Any] | None = None,
    seed: int = 0,
) -> Evaluated:
    """Real baselines in real folds; composition stands for the model, its members are only names.

    `fitted_on` replaces whom parts of every member saw: `all`, or `held_out`.
    """
    store, bags = cohort.store, cohort.bags
    names = [str(name) for name in store.patients.index]
    table = bags.table
    if split is None:
        scheme = StratifiedPatientKFold(k=4, repeats=1, validation=0.25)
        split = scheme.split(table["patient"].to_numpy(), table["label"].to_numpy(), seed, names)
    folds = [
        Fold(
            repeat=fold.repeat,
            fold=fold.fold,
            development=labelled_bags(bags, (*fold.train, *fold.validation)),
            held_out=labelled_bags(bags, fold.held_out),
        )
        for fold in split.folds
    ]
    together = cross_validate_baselines(
        [Composition(), QualityOnly(), BatchOnly()], store, bags, folds, seed
    )
    by_name = {str(name): own for name, own in together.groupby("model")}
    predictions = by_name.pop("composition")
    assessment = assess(predictions, by_name, endpoint="response", seed=seed, n_resamples=50)
    no_ledger: Any = None
    return Evaluated(
        config=run.config,
        cohort=cohort,
        split=split,
        members=[_member(own, names, fitted_on or {}) for own in members(split)],
        predictions=predictions,
        baselines=by_name,
        assessment=assessment,
        ledger=no_ledger,
    )


def _member(member: Any, names: Sequence[str], fitted_on: Mapping[str, Any]) -> LoadedMember:
    def named(codes: Sequence[int]) -> frozenset[str]:
        return frozenset(names[code] for code in codes)

    train, validation = named(member.train), named(member.validation)
    everyone = {"all": frozenset(names), "held_out": named(member.held_out)}
    seen = {
        "features": train,
        "encoder": train,
        "epoch": validation,
        "head": train | validation,
    } | {part: everyone[who] for part, who in fitted_on.items()}
    features: Any = _Features(
        FeatureSpec(
            genes=(),
            proteins=(),
            receptor_dim=0,
            batches=(),
            patients=tuple(sorted(seen["features"])),
        )
    )
    nothing: Any = None
    return LoadedMember(
        name=member.name,
        fold=member.fold,
        repeat=member.repeat,
        seed=member.seed,
        rule=DecisionRule(),
        held_out=named(member.held_out),
        fitted_on=seen,
        settings=MemberSettings(),
        features=features,
        stack=nothing,
        head=nothing,
        history=[],
        best_epoch=0,
        best_loss=0.0,
    )


@dataclass(frozen=True)
class _Features:
    spec: FeatureSpec


def make_run(folder: Path, pseudonyms: Pseudonyms, decision_day: float | None) -> RunDirectory:
    """A run directory with a configuration, and the prepared cohort's map of ids."""
    pseudonyms.write_id_map(folder / f"{KEY}.ids.csv")
    config = DictConfig(
        {
            "seed": 0,
            "data": {
                "endpoint": "response",
                "unit": "patient",
                "decision_day": decision_day,
                "receptors": {"_target_": "recart.data.receptors.physicochemical.Physicochemical"},
                "reader": {"_target_": "recart.data.simulate.SimulatedCohort"},
            },
            "head": {"inner_folds": 3},
            "paths": {"prepared": str(folder)},
        }
    )
    return RunDirectory(folder / "run", config, {"seed": 0})


def audit(evaluated: Evaluated, run: RunDirectory) -> Audited:
    """Every check; findings are plain enough for JSON."""
    found = tuple(f for check in CHECKS for f in check.findings(evaluated, run))
    for finding in found:
        json.dumps(dict(finding.evidence), allow_nan=False)
    assert {check.name for check in CHECKS} == {f.check for f in found}
    return Audited(found)


@pytest.fixture
def audit_cohort(tmp_path: Path) -> Callable[..., Audited]:
    """`audit_cohort(cohort, decision_day=1, change=None, **how)`: all checks on a cohort.

    `change` may replace the prepared cohort; `how` goes to `evaluate`.
    """

    def run_all(
        cohort: Cohort,
        decision_day: float | None = 1.0,
        change: Callable[[PreparedCohort], PreparedCohort] | None = None,
        ledger: Any = None,
        **how: Any,
    ) -> Audited:
        prepared, pseudonyms = prepare(cohort, tmp_path, decision_day)
        run = make_run(tmp_path, pseudonyms, decision_day)
        evaluated = evaluate(change(prepared) if change else prepared, run, **how)
        if ledger is not None:
            object.__setattr__(evaluated, "ledger", ledger)
        return audit(evaluated, run)

    return run_all


@pytest.fixture
def checks() -> dict[str, Check]:
    """The checks by name."""
    return {check.name: check for check in CHECKS}


@pytest.fixture
def evaluated(tmp_path: Path) -> Callable[..., tuple[Evaluated, RunDirectory]]:
    """`evaluated(cohort, **how)`: the cohort evaluated, and its run."""

    def make(cohort: Cohort, **how: Any) -> tuple[Evaluated, RunDirectory]:
        own, pseudonyms = prepare(cohort, tmp_path, 1.0)
        run = make_run(tmp_path, pseudonyms, 1.0)
        return evaluate(own, run, **how), run

    return make


@pytest.fixture
def prepared(tmp_path: Path) -> Callable[..., PreparedCohort]:
    """`prepared(cohort, decision_day=1)`: store, bags and bag features."""

    def make(cohort: Cohort, decision_day: float | None = 1.0) -> PreparedCohort:
        return prepare(cohort, tmp_path, decision_day)[0]

    return make


@pytest.fixture
def simulate() -> Callable[..., Cohort]:
    """`simulate(seed, patients=32, strength=0, **design)`: a sound cohort, or of another design."""
    return simulated
