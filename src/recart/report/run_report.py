"""The report of a run: the evaluation's numbers, its figures, and how it was made."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path

import numpy as np
import pandas as pd

from recart.data.features import bind
from recart.evaluation.attended_cells import attended_cells
from recart.evaluation.launch import Evaluated
from recart.report.checklists import CHECKLISTS, Checklist, asked_of_study
from recart.report.confounding import associations, confounder_rows
from recart.report.content import ReportContent, ReportFigure
from recart.report.facts import RunFacts, cohort_facts, digests, fit_facts
from recart.report.fillers import what_the_run_knows
from recart.report.flow import admission_in_words, cohort_flow, features_left_out
from recart.report.kept_threads import kept_threads
from recart.report.model_card import card_markdown, model_card
from recart.report.numbers import report_numbers
from recart.report.numbers_in_words import number_range
from recart.report.outcome_figures import outcome_figures
from recart.report.page import write_report
from recart.report.performance import performance_figures
from recart.report.question import Question
from recart.report.run_figures import latent, latent_use, training_curves
from recart.report.study import study_template
from recart.report.wording import within_the_claim
from recart.training.atomic_files import write_atomically
from recart.training.collapse import ACTIVE, collapse_warning, kept_row
from recart.training.encoding import encode
from recart.training.endpoints import endpoint_of
from recart.training.member_configuration import own_values
from recart.training.progress import say
from recart.training.run_directory import RunDirectory
from recart.training.training_time import training_times

__all__ = ["write_run_report"]

_SHOWN_CELLS = 6000  # more points than this only paint each other over
_NEIGHBOURS = 15  # of the UMAP


def write_run_report(
    evaluated: Evaluated, run: RunDirectory, study: Mapping[str, str] | None = None
) -> Path:
    """Write predictions, metrics, figures, the page with its numbers and the model card.

    Parameters
    ----------
    evaluated, run
        The evaluated run.
    study
        What the authors say, by key of study.yaml. Without it the template to fill in is written.

    Returns
    -------
    The page.
    """
    say("drawing the report")
    run.figures.mkdir(exist_ok=True)
    tables = {"recart": evaluated.predictions, **evaluated.baselines}
    together = pd.concat([table.assign(model=name) for name, table in tables.items()])
    together.to_csv(run.predictions.with_suffix(".csv"), index=False)
    together.to_parquet(run.predictions, index=False)
    content = report_content(evaluated, run, study or {})
    of_outcomes = [figure for one in content.outcomes for figure in outcome_figures(one)]
    of_face = performance_figures(content.assessment, content.question)
    for figure in (*of_outcomes, *of_face, *content.figures):
        name = figure.title.lower().replace(" ", "_")
        for suffix in ("png", "pdf"):
            figure.figure.savefig(run.figures / f"{name}.{suffix}", dpi=150, bbox_inches="tight")
    write_report(content, run.report)
    numbers = report_numbers(content)
    parts = {part: numbers[part] for part in ("model", "baselines", "outcomes")}
    run.write_json(run.metrics.name, {**parts, "ledger": asdict(evaluated.ledger)})
    card = card_markdown(content.card, content.question.endpoint)
    write_atomically(run.path / "model_card.md", card.encode())
    template = study_template(asked_of_study(map(Checklist.load, CHECKLISTS)))
    write_atomically(run.path / "study.template.yaml", template.encode())
    return run.report


def report_content(
    evaluated: Evaluated, run: RunDirectory, study: Mapping[str, str]
) -> ReportContent:
    """Everything on the page of a run."""
    question = _question(evaluated)
    # without a check nothing was audited
    findings = evaluated.audit.findings or None
    assessment = evaluated.assessment
    flow = cohort_flow(evaluated.cohort, evaluated.config.data)
    known = what_the_run_knows(
        RunFacts(
            config=evaluated.config,
            question=question,
            assessment=assessment,
            flow=flow,
            cohort=cohort_facts(evaluated.cohort, evaluated.config.data),
            fit=fit_facts(evaluated),
            digests=digests(run),
            versions=json.loads(run.versions.read_text(encoding="utf-8")),
            findings=findings,
            own_values=own_values(run.path),
            times=training_times(run.path),
            outcomes=evaluated.outcomes,
            subgroups=evaluated.subgroups,
        )
    )
    said, withheld = within_the_claim(study, assessment.claim.level, question)
    return ReportContent(
        question=question,
        assessment=assessment,
        flow=flow,
        left_out=features_left_out(evaluated.cohort.store.dropped),
        confounders=confounder_rows(assessment),
        associations=associations(findings or ()),
        findings=findings,
        ledger=getattr(evaluated, "ledger", None),
        checklists=tuple(Checklist.load(name).fill(known, said) for name in CHECKLISTS),
        card=model_card(known, said),
        figures=_run_figures(evaluated, question),
        provenance=_provenance(evaluated, run),
        notes=withheld,
        outcomes=evaluated.outcomes,
        subgroups=evaluated.subgroups,
    )


def _question(evaluated: Evaluated) -> Question:
    data = evaluated.config.data
    store = evaluated.cohort.store
    yes, no = endpoint_of(evaluated.cohort.bags).classes
    if evaluated.cohort.bags.outcome is None:
        yes = ", ".join(map(str, data.positive or ["positive class"]))
        no = ", ".join(map(str, data.negative or ["negative class"]))
    parts = (
        ["RNA"]
        + ["surface protein"] * bool(store.proteins)
        + ["receptors"] * bool(store.receptor_dim)
    )
    return Question(
        endpoint=data.endpoint,
        positive=yes,
        negative=no,
        unit=data.unit,
        decision=admission_in_words(data),
        cohort=f"{len(store.patients)} patients, {' + '.join(parts)}",
    )


def _run_figures(evaluated: Evaluated, question: Question) -> tuple[ReportFigure, ...]:
    history = pd.DataFrame([row for member in evaluated.members for row in member.history])
    curves = ReportFigure(
        title="Training",
        caption="Evidence lower bound per cell; each member stops by its own inner-validation "
        "patients and keeps its best state.",
        alt="Evidence lower bound of training and inner-validation cells by epoch.",
        figure=training_curves(history),
    )
    return (curves, *_use_figures(evaluated), *_latent_figures(evaluated, question))


def _use_figures(evaluated: Evaluated) -> tuple[ReportFigure, ...]:
    """How much each dimension of each member's latent space says, and whether any has collapsed."""
    histories = {member.name: member.history for member in evaluated.members}
    kept = {name: kept_row(history) for name, history in histories.items()}
    rows = {name: row for name, row in kept.items() if row is not None}
    if not rows:
        return ()
    active = [row["active_dimensions"] for row in rows.values()]
    told = number_range((min(active), max(active)))
    warning = collapse_warning(histories)
    figure = ReportFigure(
        title="Latent dimensions",
        caption=f"KL divergence from the prior of each dimension at the epoch kept, a line a "
        f"member: {told} dimensions lie above {ACTIVE} nats (dashed), the "
        f"others say nothing of a cell.{f' Warning: {warning}.' if warning else ''}",
        alt="KL divergence of each latent dimension, in falling order, by member.",
        figure=latent_use({name: row["kl_per_dimension"] for name, row in rows.items()}, ACTIVE),
    )
    return (figure,)


def _latent_figures(evaluated: Evaluated, question: Question) -> tuple[ReportFigure, ...]:
    """UMAPs of cells as the first member sees them, its held-out patients among them."""
    import warnings

    store, bags, member = evaluated.cohort.store, evaluated.cohort.bags, evaluated.members[0]
    z = encode(
        member.stack, bind(member.features, store), store, [s for b in bags.slices for s in b]
    )
    cells = bags.cells(np.arange(len(bags)))
    rng = np.random.default_rng(0)
    chosen = np.sort(rng.choice(len(z), min(_SHOWN_CELLS, len(z)), replace=False))
    with kept_threads(), warnings.catch_warnings():
        # umap says that TensorFlow is not there, and that a fixed seed makes it single-threaded
        warnings.simplefilter("ignore")
        import umap
        from sklearn.neighbors import NearestNeighbors

        # exact neighbours of so few cells take no time; umap's own are compiled for a minute first
        near = min(_NEIGHBOURS, len(chosen) - 1)
        distance, index = NearestNeighbors(n_neighbors=near).fit(z[chosen]).kneighbors(z[chosen])
        layout = umap.UMAP(n_neighbors=near, random_state=0, precomputed_knn=(index, distance))
        flat = layout.fit_transform(z[chosen])
    table = store.cells.iloc[cells[chosen]]
    said = {1: question.positive, 0: question.negative, -1: "no label"}
    # by bag: where samples have the label, a patient's samples may differ
    of_bag = np.repeat(bags.table["label"].to_numpy(), bags.table["n_cells"])[chosen]
    # in the order of the classes, whichever has more cells: so each has its colour
    outcome = pd.Categorical([said[label] for label in of_bag], categories=list(said.values()))
    groups = {"outcome": pd.Series(outcome, index=table.index)}
    groups["patient"] = table["patient"].map(lambda code: store.patients.index[code])
    if "cell_type" in table:
        groups = {"cell type": table["cell_type"].astype(str), **groups}
    return tuple(
        ReportFigure(
            title=f"Cells by {name}",
            caption=f"UMAP of the latent means of {len(chosen):,} cells under member "
            f"{member.name}, which has not seen its held-out patients.",
            alt=f"UMAP of cells coloured by {name}.",
            figure=latent(flat, values.reset_index(drop=True)),
        )
        for name, values in groups.items()
    )


def _provenance(evaluated: Evaluated, run: RunDirectory) -> dict[str, str]:
    versions = json.loads(run.versions.read_text(encoding="utf-8"))
    made = digests(run)
    attended = attended_cells(evaluated.members, evaluated.cohort)
    return {
        "run": run.path.name,
        "configuration": made["configuration"],
        "prepared cohort": evaluated.cohort.key,
        "split": f"{evaluated.split.words}, seed {evaluated.split.seed}, digest {made['split']}",
        "members": str(len(evaluated.members)),
        "epochs kept": ", ".join(map(str, sorted({m.best_epoch + 1 for m in evaluated.members}))),
        **({"attention to cells": attended} if attended else {}),
        "commit of recart": str(versions.pop("commit", None)),
        "versions": ", ".join(f"{name} {value}" for name, value in versions.items() if value),
    }
