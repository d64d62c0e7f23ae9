"""`evaluate.py`'s work: held-out predictions of all members, baselines in the same folds."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace

import pandas as pd
from omegaconf import DictConfig

from recart.config.build import build_each
from recart.data.bags import with_blocks
from recart.data.split import Kind, Split
from recart.evaluation.alignment import aligned_design
from recart.evaluation.assessment import Assessment, assess
from recart.evaluation.audit.audit import Audit, run_audit
from recart.evaluation.audit.check import Check
from recart.evaluation.baselines import Baseline, Fold, cross_validate_baselines
from recart.evaluation.cell_sketch import cell_sketch
from recart.evaluation.claims import refused
from recart.evaluation.design import FoldDesign
from recart.evaluation.held_out import held_out_predictions
from recart.evaluation.ledger import Looks, look
from recart.evaluation.outcomes import (
    OutcomeAssessment,
    claim_of,
    endpoint_words,
    face_of,
    on_the_face,
    outcomes_of,
)
from recart.evaluation.outside import PLACE_COLUMNS, place_of
from recart.evaluation.predictions import aggregate
from recart.evaluation.ranked_bags import RankedBags
from recart.evaluation.refit import permute_run, usual_permutations
from recart.evaluation.subgroups import SUBGROUPS, Subgroup, subgroups
from recart.problems import InputError, Problem
from recart.training.cohort_setup import PreparedCohort, prepared_folder, reopen_cohort
from recart.training.endpoints import endpoint_of
from recart.training.jobs import labelled_bags
from recart.training.launch import load_members
from recart.training.member_file import LoadedMember
from recart.training.progress import say
from recart.training.readouts import build_head
from recart.training.run_directory import RunDirectory

__all__ = ["Evaluated", "evaluate_run"]


@dataclass(frozen=True, kw_only=True)
class Evaluated:
    """What an evaluation found, and what it was made of.

    `predictions` are the model's held-out predictions, `baselines` those of each baseline. `ledger`
    counts evaluations on the same patients, this one among them. `audit` is empty until the checks
    have run. `outcomes` are the measures of an endpoint that is more than yes or no, by part; the
    cohort and the assessment are then of its binary face. `subgroups` are parts of the patients.
    """

    config: DictConfig
    cohort: PreparedCohort
    split: Split
    members: Sequence[LoadedMember]
    predictions: pd.DataFrame
    baselines: Mapping[str, pd.DataFrame]
    assessment: Assessment
    ledger: Looks
    audit: Audit = field(default_factory=Audit)
    outcomes: tuple[OutcomeAssessment, ...] = ()
    subgroups: tuple[Subgroup, ...] = ()


def evaluate_run(
    run: RunDirectory,
    checks: Mapping[str, Check] | None = None,
    permutations: int | None = 0,
    permute_within: str | None = None,
    permutation_repeats: int | None = None,
    place_columns: Sequence[str] = PLACE_COLUMNS,
    by: Sequence[str] = SUBGROUPS,
) -> Evaluated:
    """Predict every held-out patient once per repeat and compare with the baselines.

    Everything comes from the run's directory and the prepared cohort it names. With `checks` the
    run is audited, and a leak that one of them finds forbids any claim. `permutations` of
    the labels, within the values of a column of samples or patients where one is named, tell what
    the heads find by chance in the first `permutation_repeats` repeats; 0 leaves that out, and None
    takes as many of either as `usual_permutations`. Patients that were held out for good are an
    outside cohort where one of `place_columns` sets them apart. The model is also measured within
    the values of the columns `by`.

    Raises
    ------
    InputError
        If members are missing, or a fitted part of one saw a patient it is to be tested on.
    """
    config = run.config
    key = json.loads((run.path / "cohort.json").read_text())["key"]
    say("opening the prepared cohort")
    cohort = reopen_cohort(config.data, prepared_folder(run), key)
    split = Split.read(run.split, list(cohort.store.patients.index))
    members = load_members(run)
    _check_complete(split, members, run)
    held_out = sorted({code for fold in split.folds for code in fold.held_out})
    ledger = look(prepared_folder(run), run, split, cell_sketch(cohort.store, held_out))
    say(ledger.words)
    # who shares a block stays together in inner folds too, as when the members were trained
    cohort = replace(cohort, bags=with_blocks(cohort.bags, split.block_of))
    say(f"predicting held-out {config.data.unit}s with {len(members)} members")
    tables = held_out_predictions(members, cohort.store, cohort.bags, cohort.extras)
    predictions = pd.concat(list(tables), ignore_index=True)
    faced = face_of(cohort)
    say("running the baselines in the same folds")
    folds = [
        Fold(
            repeat=fold.repeat,
            fold=fold.fold,
            development=labelled_bags(cohort.bags, (*fold.train, *fold.validation)),
            held_out=labelled_bags(cohort.bags, fold.held_out),
        )
        for fold in split.folds
    ]
    there, left_out = _possible(build_each(config.baselines).values(), faced)
    together = cross_validate_baselines(there, cohort.store, cohort.bags, folds, config.seed)
    baselines = {str(name): table for name, table in together.groupby("model")}
    endpoint = endpoint_of(cohort.bags)
    outcomes = outcomes_of(
        predictions,
        baselines,
        endpoint,
        seed=config.seed,
        kind=split.kind,
        flow=cohort.bags.flow,
    )
    place = place_of(split, faced.store, place_columns)
    design, permutation = FoldDesign.of(split, faced.bags, place), None
    head = build_head(config)
    outside = split.kind is Kind.EXTERNAL  # where nothing is refitted
    usual = usual_permutations([] if outside else [own.recipe or head for own in members])
    k = usual[0] if permutations is None else permutations
    repeats = usual[1] if permutation_repeats is None else permutation_repeats
    if k:
        say(f"refitting the heads to {k} permutations of the labels")
        permutation = permute_run(
            _ranked(_first_repeats(predictions, repeats), cohort, design),
            [own for own in members if own.repeat < repeats],
            head,
            cohort,
            k=k,
            seed=config.seed,
            within=permute_within,
            outside=outside,
        )
    assessment = assess(
        on_the_face(predictions),
        {name: on_the_face(table) for name, table in baselines.items()},
        endpoint=endpoint_words(config.data.endpoint, endpoint),
        seed=config.seed,
        obstacles=aligned_design(faced.store, faced.bags),
        permutation=permutation,
        design=design,
        left_out=left_out,
    )
    if outcomes:
        told = claim_of(outcomes[0], assessment.claim, permutation)
        assessment = replace(assessment, claim=told)
    evaluated = Evaluated(
        config=config,
        cohort=faced,
        split=split,
        members=members,
        predictions=predictions,
        baselines=baselines,
        assessment=assessment,
        ledger=ledger,
        outcomes=outcomes,
        subgroups=subgroups(assessment.model.scores, faced.store, faced.bags, by),
    )
    return _audited(evaluated, run, checks) if checks else evaluated


def _audited(evaluated: Evaluated, run: RunDirectory, checks: Mapping[str, Check]) -> Evaluated:
    audit = run_audit(checks, evaluated, run)
    assessment = evaluated.assessment
    if audit.leaks:
        reasons = [f"{leak.check}: {leak.what}." for leak in audit.leaks]
        assessment = replace(assessment, claim=refused(assessment.claim, reasons))
    return replace(evaluated, audit=audit, assessment=assessment)


def _check_complete(split: Split, members: Sequence[LoadedMember], run: RunDirectory) -> None:
    expected, there = len(split.folds), len(members)
    if there < expected:
        problem = Problem(
            code="E-RUN-011",
            what=f"{there} of {expected} members are trained",
            mend=f"python train.py paths.run={run.path} with the same settings trains the rest",
            file=run.path.name,
        )
        raise InputError([problem])


def _first_repeats(predictions: pd.DataFrame, repeats: int) -> pd.DataFrame:
    return predictions[predictions["repeat"] < repeats]


def _ranked(predictions: pd.DataFrame, cohort: PreparedCohort, design: FoldDesign) -> RankedBags:
    """Held-out bags with all that is known of them, for permutations."""
    if cohort.bags.outcome is None:
        return RankedBags.of_scores(aggregate(predictions, "recart", design))
    return RankedBags.of_outcome(predictions, cohort.bags, design.kind)


def _possible(
    baselines: Iterable[Baseline], cohort: PreparedCohort
) -> tuple[list[Baseline], dict[str, str]]:
    """The baselines that this cohort can have, and why it lacks the others."""
    there, lacking = [], {}
    for baseline in baselines:
        reason = baseline.lacking(cohort.store, cohort.bags)
        if reason:
            say(f"without the baseline {baseline.name}: {reason}")
            lacking[baseline.name] = reason
        else:
            there.append(baseline)
    return there, lacking
