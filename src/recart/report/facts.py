"""What a run knows of itself, as plain values: what the fillers of the checklists read."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pandas as pd

from recart.data.split import Kind, Split
from recart.evaluation.assessment import Assessment
from recart.evaluation.audit.finding import Finding
from recart.evaluation.baselines.confounders import design_table
from recart.evaluation.launch import Evaluated
from recart.evaluation.outcomes import OutcomeAssessment
from recart.evaluation.subgroups import Subgroup
from recart.report.numbers_in_words import number_range
from recart.report.question import FlowStep, Question
from recart.training.cohort_setup import PreparedCohort
from recart.training.run_directory import RunDirectory
from recart.training.training_time import TrainingTime

__all__ = [
    "CohortFacts",
    "FitFacts",
    "RunFacts",
    "cohort_facts",
    "digests",
    "fit_facts",
    "patients_by_part",
]


@dataclass(frozen=True, kw_only=True)
class CohortFacts:
    """The prepared cohort in numbers.

    Attributes
    ----------
    samples, genes, proteins, receptor_dim
        Sizes; proteins and receptor_dim are 0 where there are none.
    with_protein, with_receptor
        Samples with any protein measured, with any receptor.
    levels
        Number of sites, batches and products, for the columns that are there.
    columns
        Columns of the patient table, the endpoint among them.
    key
        Digest of the prepared cohort.
    simulated
        Whether no patient was ever there.
    """

    samples: int
    genes: int
    proteins: int
    receptor_dim: int
    with_protein: int
    with_receptor: int
    levels: dict[str, int]
    columns: tuple[str, ...]
    key: str
    simulated: bool


@dataclass(frozen=True, kw_only=True)
class FitFacts:
    """The fitted members in numbers; pairs are the least and the most over members.

    Attributes
    ----------
    members, split
        How many, and the kind and size of the split in words.
    outside
        Whether the held-out patients are one set that was held out of everything.
    elsewhere
        Whether they are shown to be an outside cohort, of another place.
    parts
        Patients and positive bags by part of a fold (train, validation, held_out), in words.
    genes, encoder_parameters, head_features, epochs
        Chosen genes, weights of the encoder, features that the head reads, epochs that were kept.
    strengths
        Ridge strengths that were chosen, where the head has them.
    """

    members: int
    split: str
    outside: bool
    parts: dict[str, str]
    genes: tuple[int, int]
    encoder_parameters: tuple[int, int]
    head_features: tuple[int, int] | None
    epochs: tuple[int, int]
    strengths: tuple[float, ...]
    elsewhere: bool = False


@dataclass(frozen=True, kw_only=True)
class RunFacts:
    """Everything that a filler may read.

    `digests` are those of the configuration and the split, `versions` those of the software.
    `own_values` are settings that members have of their own, by member: a sweep chose them.
    `times` are those of training, one a start; empty where they were not recorded. `outcomes` are
    the measures of endpoints that are more than yes or no, `subgroups` those within parts of the
    patients.
    """

    config: Any
    question: Question
    assessment: Assessment
    flow: tuple[FlowStep, ...]
    cohort: CohortFacts
    fit: FitFacts
    digests: dict[str, str]
    versions: dict[str, str | None]
    findings: tuple[Finding, ...] | None
    own_values: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    times: tuple[TrainingTime, ...] = ()
    outcomes: tuple[OutcomeAssessment, ...] = ()
    subgroups: tuple[Subgroup, ...] = ()


def cohort_facts(cohort: PreparedCohort, data: Any) -> CohortFacts:
    """The numbers of a prepared cohort."""
    store = cohort.store
    receptor = store.samples.get("has_receptor")
    return CohortFacts(
        samples=len(store.samples),
        genes=len(store.genes),
        proteins=len(store.proteins),
        receptor_dim=store.receptor_dim,
        with_protein=int(store.protein_measured.any(axis=1).sum()) if store.proteins else 0,
        with_receptor=0 if receptor is None else int(receptor.sum()),
        levels={str(name): int(own.nunique()) for name, own in design_table(store).items()},
        columns=tuple(map(str, store.patients.columns)),
        key=cohort.key,
        simulated="SimulatedCohort" in str(data.reader.get("_target_", "")),
    )


def fit_facts(evaluated: Evaluated) -> FitFacts:
    """The numbers of the members that were evaluated."""
    members = evaluated.members
    chosen = [getattr(member.head, "chosen", {}) for member in members]
    features = [len(one["features"]) for one in chosen if "features" in one]
    return FitFacts(
        members=len(members),
        split=evaluated.split.words,
        outside=evaluated.split.kind is Kind.EXTERNAL,
        elsewhere=evaluated.assessment.model.scores.elsewhere,
        parts=patients_by_part(
            evaluated.split, evaluated.cohort.bags.table, evaluated.config.data.unit
        ),
        genes=_range(len(member.features.spec.genes) for member in members),
        encoder_parameters=_range(
            sum(weight.numel() for weight in member.stack.parameters()) for member in members
        ),
        head_features=_range(features) if features else None,
        epochs=_range(member.best_epoch + 1 for member in members),
        strengths=tuple(sorted({float(one["strength"]) for one in chosen if "strength" in one})),
    )


def digests(run: RunDirectory) -> dict[str, str]:
    """Digests of configuration and split, short."""
    split = json.loads(run.split.read_text(encoding="utf-8")).get("sha256", "")
    configuration = hashlib.sha256((run.path / "config.yaml").read_bytes()).hexdigest()
    return {"configuration": configuration[:16], "split": str(split)[:16]}


def patients_by_part(split: Split, table: pd.DataFrame, unit: str) -> dict[str, str]:
    """Patients and positive bags of each part of a fold, in words; `table` is that of the bags."""
    what = "positive" if unit == "patient" else f"positive {unit}s"
    found = {}
    for part in ("train", "validation", "held_out"):
        patients = [getattr(fold, part) for fold in split.folds]
        labels = [table.loc[table["patient"].isin(own), "label"] for own in patients]
        positive = [int((own == 1).sum()) for own in labels]
        count = number_range(_range(map(len, patients)))
        found[part] = f"{count} patients ({number_range(_range(positive))} {what})"
    return found


def _range(values: Iterable[int]) -> tuple[int, int]:
    found: Sequence[int] = list(values)
    return int(np.min(found)), int(np.max(found))
