"""The report of a run: the evaluation's numbers, its figures, and how it was made."""

from __future__ import annotations

import hashlib
import json
from dataclasses import asdict
from pathlib import Path

import numpy as np
import pandas as pd

from recart.data.features import bind
from recart.evaluation.launch import Evaluated
from recart.report.content import (
    FlowStep,
    Question,
    ReportContent,
    ReportFigure,
    performance_figures,
)
from recart.report.page import report_numbers, write_report
from recart.report.run_figures import latent, training_curves
from recart.training.encoding import encode
from recart.training.run_directory import RunDirectory

__all__ = ["write_run_report"]

_SHOWN_CELLS = 6000  # more points than this only paint each other over


def write_run_report(evaluated: Evaluated, run: RunDirectory) -> Path:
    """Write predictions, metrics, figures, `report.json` and `report.html` into the run.

    Returns
    -------
    The page.
    """
    run.figures.mkdir(exist_ok=True)
    tables = {"recart": evaluated.predictions, **evaluated.baselines}
    together = pd.concat([table.assign(model=name) for name, table in tables.items()])
    together.to_csv(run.predictions.with_suffix(".csv"), index=False)
    together.to_parquet(run.predictions, index=False)
    question = _question(evaluated)
    content = ReportContent(
        question=question,
        assessment=evaluated.assessment,
        flow=_flow(evaluated),
        left_out=_left_out(evaluated),
        figures=_run_figures(evaluated),
        provenance=_provenance(evaluated, run),
    )
    for figure in (*performance_figures(evaluated.assessment, question), *content.figures):
        name = figure.title.lower().replace(" ", "_")
        for suffix in ("png", "pdf"):
            figure.figure.savefig(run.figures / f"{name}.{suffix}", dpi=150, bbox_inches="tight")
    write_report(content, run.report)
    numbers = report_numbers(content)
    parts = {part: numbers[part] for part in ("model", "baselines")}
    run.write_json(run.metrics.name, {**parts, "ledger": asdict(evaluated.ledger)})
    return run.report


def _question(evaluated: Evaluated) -> Question:
    data = evaluated.config.data
    when = "all samples"
    if data.decision_day is not None:
        when = f"samples up to day {data.decision_day:g} from infusion"
    for name, values in (("time points", data.timepoints), ("tissues", data.tissues)):
        when += f", {name} {', '.join(values)}" if values else ""
    store = evaluated.cohort.store
    parts = (
        ["RNA"]
        + ["surface protein"] * bool(store.proteins)
        + ["receptors"] * bool(store.receptor_dim)
    )
    return Question(
        endpoint=data.endpoint,
        positive=", ".join(map(str, data.positive or ["positive class"])),
        negative=", ".join(map(str, data.negative or ["negative class"])),
        unit=data.unit,
        decision=when,
        cohort=f"{len(store.patients)} patients, {' + '.join(parts)}",
    )


def _flow(evaluated: Evaluated) -> tuple[FlowStep, ...]:
    store, bags = evaluated.cohort.store, evaluated.cohort.bags
    labelled = np.flatnonzero(bags.table["label"].to_numpy() >= 0)

    def step(name: str, rows: np.ndarray) -> FlowStep:
        cells = bags.cells(rows)
        samples = np.unique(store.cells["sample"].to_numpy()[cells])
        patients = bags.table["patient"].to_numpy()[rows]
        return FlowStep(
            name=name, patients=len(np.unique(patients)), samples=len(samples), cells=len(cells)
        )

    return (
        FlowStep(
            name="passed the checks",
            patients=len(store.patients),
            samples=len(store.samples),
            cells=len(store.cells),
        ),
        step("at the decision time", np.arange(len(bags))),
        step("with a label: evaluated", labelled),
    )


def _left_out(evaluated: Evaluated) -> dict[str, int]:
    flow = {name: count for name, count in evaluated.cohort.bags.flow.items() if name != "samples"}
    return {k: v for k, v in {**evaluated.cohort.store.dropped, **flow}.items() if v}


def _run_figures(evaluated: Evaluated) -> tuple[ReportFigure, ...]:
    history = pd.DataFrame([row for member in evaluated.members for row in member.history])
    curves = ReportFigure(
        title="Training",
        caption="Evidence lower bound per cell; each member stops by its own inner-validation "
        "patients and keeps its best state.",
        alt="Evidence lower bound of training and inner-validation cells by epoch.",
        figure=training_curves(history),
    )
    return (curves, *_latent_figures(evaluated))


def _latent_figures(evaluated: Evaluated) -> tuple[ReportFigure, ...]:
    """UMAPs of cells as the first member sees them, its held-out patients among them."""
    import warnings

    store, bags, member = evaluated.cohort.store, evaluated.cohort.bags, evaluated.members[0]
    z = encode(
        member.stack, bind(member.features, store), store, [s for b in bags.slices for s in b]
    )
    cells = bags.cells(np.arange(len(bags)))
    rng = np.random.default_rng(0)
    chosen = np.sort(rng.choice(len(z), min(_SHOWN_CELLS, len(z)), replace=False))
    with warnings.catch_warnings():
        # umap says that TensorFlow is not there, and that a fixed seed makes it single-threaded
        warnings.simplefilter("ignore")
        import umap

        flat = umap.UMAP(random_state=0).fit_transform(z[chosen])
    table = store.cells.iloc[cells[chosen]]
    label = {1: evaluated.config.data.endpoint + ": positive", 0: "negative", -1: "no label"}
    # by bag: where samples have the label, a patient's samples may differ
    of_bag = np.repeat(bags.table["label"].to_numpy(), bags.table["n_cells"])[chosen]
    groups = {"response": pd.Series(of_bag, index=table.index).map(label).astype(str)}
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
    versions = json.loads((run.path / "versions.json").read_text())
    return {
        "run": run.path.name,
        "configuration": hashlib.sha256((run.path / "config.yaml").read_bytes()).hexdigest()[:16],
        "prepared cohort": evaluated.cohort.key,
        "split": f"{evaluated.split.words}, seed {evaluated.split.seed}",
        "members": str(len(evaluated.members)),
        "epochs kept": ", ".join(str(m.best_epoch + 1) for m in evaluated.members[:20]),
        **{f"version of {name}": str(value) for name, value in versions.items()},
    }
