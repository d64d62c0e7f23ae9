"""Every endpoint, unit and head leaves the lab: trained, evaluated, given away, loaded again."""

from __future__ import annotations

import json
import re
import warnings
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from sklearn.metrics import roc_auc_score

import recart
from recart.config.build import build
from recart.config.compose import compose
from recart.data.cohort import Cohort
from recart.evaluation.attended_cells import attended_cells
from recart.evaluation.launch import Evaluated, evaluate_run
from recart.evaluation.outcomes.survival import survival_measures
from recart.inference.bundle.write import write_bundle
from recart.inference.launch import embed_new
from recart.inference.trust.fit import fit_trust, write_trust
from recart.report.outside_page import report_outside
from recart.report.patient_files import write_patient_files
from recart.training.launch import train_run
from recart.training.run_directory import RunDirectory

PROTOTYPES = ["head.prototypes=3", "head.fine_prototypes=4", "head.inner_folds=2"]
# How each is asked for, and what its table and its explanation have that others have not. The
# leading part of several is ordinal; heads are dealt to kinds, an ensemble holding two.
KINDS: dict[str, tuple[list[str], set[str], str]] = {
    "survival": (
        ["experiment=simulated_survival", "data.limits.min_per_class=2", *PROTOTYPES],
        {"survival:6", "survival:12", "survival:24"},
        "log hazard",
    ),
    "several": (
        [
            *("experiment=simulated_levels", "endpoint=several", *PROTOTYPES),
            "+data.reader.outcomes.crs=true",
        ],
        {"level:PD", "level:sCR", "log_odds:crs", "level:2:crs"},
        "log-odds",
    ),
    "sample, attention": (
        [
            *("data.unit=sample", "data.endpoint=timepoint", "data.decision_day=null"),
            *("data.positive=[post]", "data.negative=[pre]", "head=attention"),
            *("head.base.prototypes=3", "head.base.fine_prototypes=4", "head.epochs=5"),
            *("head.base.inner_folds=2", "head.inner_folds=2"),
        ],
        set(),
        "log-odds",
    ),
    "mixed": (
        ["head=mixed", "head.inner_folds=2", "head.cells=16"],
        {"posterior:low", "posterior:high"},
        "log-odds",
    ),
    "ensemble of cells and mixed": (
        [
            *("head=ensemble", "~head.heads.prototypes", "~head.heads.attention"),
            *("head.heads.cells.epochs=2", "head.heads.cells.training.cells=8"),
            *("head.heads.cells.inner_folds=2", "head.heads.mixed.inner_folds=2"),
            "head.heads.mixed.cells=16",
        ],
        set(),
        "log-odds",
    ),
}
CLASSES = {
    "survival": ("event by month 12", "none by month 12"),
    "several": ("VGPR or better", "below VGPR"),
    "sample, attention": ("post", "pre"),
}


@pytest.fixture(scope="module")
def new_file(place: Any, new_patients: Cohort) -> Path:
    """Two new patients, one of each class."""
    of_each = new_patients.patients.groupby("response").head(1)
    assert len(of_each) == 2
    few = place.take(new_patients, list(of_each.index))
    path: Path = place.write(few, "of_every_kind.h5mu")
    return path


def evaluated(kind: str, folder: Path, prepared: Path) -> tuple[Evaluated, RunDirectory]:
    """A run of this kind, evaluated beside one baseline, with a refusal of the known alone."""
    settings = [
        *("data=simulated", "data.reader.patients=18", "data.reader.cells_per_sample=20"),
        *("data.reader.genes=170", "data.limits.min_cells=2", "features.prior_cells=5"),
        *("training.epochs=1", "training.batch_size=512", "model.hidden=8", "model.latent=4"),
        *("data/receptors=none", "executor=in_process", "data.folds.k=2", "data.folds.repeats=1"),
        *(f"baselines.{name}=null" for name in ("composition", "pseudobulk", "cluster_means")),
        *(f"paths.run={folder / 'run'}", f"paths.prepared={prepared}"),
    ]
    asked = KINDS[kind][0]
    train_run(compose([*settings[any("experiment" in own for own in asked) :], *asked]))
    run = RunDirectory.open(folder / "run")
    found = evaluate_run(run)
    policy = build(compose([f"run={run.path}"], entry="evaluate").refusal)
    lenient = replace(policy, rules={"in_training": policy.rules["in_training"]})
    write_trust(fit_trust(found, lenient), run)
    (run.path / "model_card.md").write_text("# Model\n\nOf a test.\n")
    return found, run


def embed(
    output: Path, data: Path, **model: Path
) -> tuple[pd.DataFrame, dict[str, Any], list[str]]:
    """What `embed.py` does; of the pages what they say of the cohort."""
    settings = [f"{key}={path}" for key, path in model.items()]
    settings += [f"data.path={data}", f"output={output}", "data.limits.min_cells=2"]
    made = embed_new(compose([*settings, "outputs=[latents,attribution]"], entry="embed"))
    files = write_patient_files(made, ["json", "html", "fhir"])
    assert len(files) == 3 * len(made.new.patients)
    pages = [path.read_text() for path in files if path.suffix == ".html"]
    told = [found for page in pages for found in re.findall("second highest of [^.]+", page)]
    return made.new.patients, made.records, told


# patients of elsewhere, with levels, times and grades; some are not evaluable
ELSEWHERE = (
    *("data=simulated", "seed=9", "data.reader.patients=26", "data.reader.cells_per_sample=20"),
    *("data.reader.genes=170", "data.limits.min_cells=2"),
    "+data.reader.outcomes._target_=recart.data.simulate.Outcomes",
    *("+data.reader.outcomes.survival=true", "+data.reader.outcomes.crs=true"),
    "+data.reader.outcomes.not_evaluable=0.15",
)


def _outside(kind: str, bundle: Path, new_file: Path, folder: Path, embedded: pd.DataFrame) -> None:
    """Measured on labelled patients of elsewhere, whatever the outcome is."""
    asked = [f"run={bundle}", f"output={folder}"]
    if kind not in ("survival", "several"):
        asked += [f"data.path={new_file}", "data.limits.min_cells=2"]
        report_outside(compose(asked, entry="evaluate"))
        told = json.loads((folder / "evaluation.json").read_text())
        assert sum(told["counts"]["evaluated"].values()) == len(embedded)
        assert told["outcomes"] == []
    else:
        column = "pfs_months" if kind == "survival" else "best_response"
        asked += [*ELSEWHERE, f"data.endpoint={column}", "data.exclude=[NE]"]
        report_outside(compose(asked, entry="evaluate"))
        told = json.loads((folder / "evaluation.json").read_text())
        _measured_whole(kind, told, pd.read_csv(folder / "predictions.csv").set_index("bag"))
    assert told["watermark"].startswith("FORCED")
    assert "FORCED" in (folder / "evaluation.html").read_text()


def _measured_whole(kind: str, told: dict[str, Any], table: pd.DataFrame) -> None:
    """Levels and times by their own measures, beside yes and no."""
    own = table[table["standing"] == "evaluated"]
    score = own["logit_mean"].round(9)
    neither = told["counts"]["neither_known"]["evaluated"]
    counted = told["counts"]["evaluated"]
    assert sum(counted.values()) + neither == len(own) > 10
    assert counted["positive"] == (own["label"] == 1).sum()
    auroc = roc_auc_score(own["label"].dropna(), score[own["label"].notna()])
    assert told["model"]["metrics"]["auroc"] == pytest.approx(auroc)
    lead, *others = told["outcomes"]
    assert told["flow"][-1]["patients"] == len(own)
    assert told["claim"]["text"].lower().startswith(next(iter(lead["values"])).lower())
    assert "fold models" not in told["claim"]["text"]
    if kind == "survival":
        time, event = own["target:time"], own["target:event"]
        # censored before the landmark: in the C-index, and neither yes nor no
        assert neither == ((time < 12) & (event == 0)).sum() > 0
        found = survival_measures(time.to_numpy(), event.to_numpy(), score.to_numpy(), [6, 12, 24])
        assert lead["values"]["C-index (IPCW)"] == pytest.approx(found["C-index (IPCW)"])
        assert "Brier, month 12" in lead["values"]
        assert not others
    else:
        level = own["target:level"].to_numpy()
        better = level[:, None] > level
        wins = np.sign(score.to_numpy()[:, None] - score.to_numpy()) / 2 + 0.5
        assert lead["values"]["concordance"] == pytest.approx(wins[better].mean())
        assert told["counts"]["no_outcome"] == (table["standing"] == "no outcome").sum() > 0
        assert [one["name"] for one in others] == ["crs_grade"]
        assert set(told["outcome"]["values"]["positive"]) <= {"VGPR", "CR", "sCR"}


@pytest.mark.slow  # some seconds each
@pytest.mark.parametrize("kind", KINDS)
def test_a_bundle_of_every_kind_says_what_its_run_says(
    kind: str, place: Any, new_file: Path, tmp_path: Path
) -> None:
    import mudata

    _, columns, scale = KINDS[kind]
    found, run = evaluated(kind, tmp_path, place.folder / "prepared-kinds")
    bundle = tmp_path / "bundle"
    write_bundle(found, run, bundle, force=True)
    of_run, _, by_run = embed(tmp_path / "run.h5mu", new_file, run=run.path)
    table, records, by_bundle = embed(tmp_path / "bundle.h5mu", new_file, bundle=bundle)
    assert table.pop("watermark").str.startswith("FORCED").all()
    pd.testing.assert_frame_equal(of_run, table, check_exact=True)
    assert by_run == by_bundle
    # heads without prototypes have no cell states to compare a patient in
    assert len(by_run) == (0 if "cells" in kind or kind == "mixed" else len(table))
    assert not [own for own in by_run if re.search(r"of (0|these)\b", own)]
    assert table["probability"].between(0, 1).all()
    assert columns <= set(table.columns[table.notna().all()])
    _outside(kind, bundle, new_file, tmp_path / "outside", table)
    assert len(table) == (table["n_samples"].sum() if "sample" in kind else 2)
    for record in records.values():
        question = record["question"]
        told = (question["positive"], question["negative"])
        assert told == CLASSES.get(kind, ("CR", "nonCR"))
        assert set(record["prediction"]["further"]) >= columns
        assert set(question["further"]) == ({"crs"} if kind == "several" else set())
        assert question["endpoint"] == str(run.config.data.endpoint)
        # a sample is somebody's, and somebody else than a sample
        assert record["patient"].startswith("P-")
        assert (record["subject"] != record["patient"]) == ("sample" in kind)
    with pytest.warns(UserWarning, match="FORCED"):
        model = recart.load(bundle)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # mudata's notes on what it reads, and small libraries
        data = mudata.read_h5mu(new_file)
        cells = model.embed(data)
        pd.testing.assert_frame_equal(
            model.predict(data).drop(columns="watermark"), table, check_exact=True
        )
        drivers = model.explain(data)
    assert np.isfinite(cells.to_numpy()).all()
    assert len(cells) == data.n_obs
    assert drivers.scale == scale
    parts = drivers.groups.groupby("bag")["contribution"].sum().reindex(table.index, fill_value=0)
    summary = drivers.summary
    np.testing.assert_allclose(parts + summary["base"] + summary["rest"], summary["score"])
    if scale == "log-odds":
        np.testing.assert_allclose(summary["score"], table["logit_mean"])
    assert drivers.groups.empty == ("mixed" in kind)
    told = attended_cells(found.members, found.cohort)
    assert bool(told) == ("cells" in kind)
    if told:
        attended, random = map(float, re.findall(r"by ([-.e\d]+)", told))
        assert 0 < random < attended or "do not read it" in told
    if kind == "mixed":
        bounds = table["posterior:low"], table["posterior:high"]
        assert table["probability"].between(*bounds).all()
        assert {"posterior:low", "posterior:high"} <= set(found.predictions.columns)
