"""Each kind of split from the command to the claim: who was held out, and what is said of it."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from scipy.special import expit

from recart.config.build import build
from recart.config.compose import compose
from recart.data.split import Split
from recart.evaluation.launch import Evaluated, evaluate_run
from recart.training.checkpoints import load_checkpoint
from recart.training.launch import split_of, train_run
from recart.training.run_directory import RunDirectory

pytestmark = pytest.mark.slow

SMALL = [
    "executor=in_process",
    "data.reader.patients=10",
    "data.reader.cells_per_sample=20",
    "data.reader.genes=170",
    "data.limits.min_cells=2",
    "data.limits.min_per_class=4",
    "features.prior_cells=5",
    "training.epochs=1",
    "training.batch_size=512",
    "model.hidden=8",
    "head.prototypes=3",
    "head.inner_folds=2",
    "data/receptors=none",
]


def run(folder: Path, *settings: str) -> tuple[RunDirectory, Evaluated]:
    places = [f"paths.run={folder / 'run'}", f"paths.prepared={folder / 'prepared'}"]
    train_run(compose([*SMALL, *settings, *places]))
    own = RunDirectory.open(folder / "run")
    return own, evaluate_run(own)


def test_an_outside_cohort(tmp_path: Path) -> None:
    own, found = run(
        tmp_path,
        "data/folds=external",
        "data.folds.column=site",
        "data.folds.values=[site2]",
        "data.folds.repeats=3",
    )
    store, bags = found.cohort.store, found.cohort.bags
    patient = store.samples["patient"].to_numpy()
    outside = {store.patients.index[p] for p in patient[store.samples["site"] == "site2"]}
    assert 0 < len(outside) < len(store.patients)
    assert set(found.predictions["patient"]) == outside
    for path in own.checkpoints.glob("*.ckpt"):
        content = load_checkpoint(path)
        assert not any(set(seen) & outside for seen in content["fitted_on"].values())
        assert set(content["fitted_on"]) >= {"calibration", "threshold"}
    model = found.assessment.model
    assert model.metrics.kind == "external"
    assert model.scores.elsewhere  # by site; no patient of it was trained on
    assert len(model.scores.y) == len(outside)
    inside = bags.table["label"].to_numpy()[~bags.table.index.isin(outside)]
    np.testing.assert_allclose(model.scores.train_prevalence, inside.mean())
    # few patients: nothing is claimed, of an outside cohort either
    assert found.assessment.claim.level == 0


def test_pairs(tmp_path: Path) -> None:
    few = ["data.reader.patients=8", "data.limits.min_per_class=3"]
    own, found = run(tmp_path, "data/folds=leave_pair_out", "data.folds.at_most=8", *few)
    label = dict(zip(found.cohort.bags.table.index, found.cohort.bags.table["label"], strict=True))
    right = []
    for _, fold in found.predictions.groupby("fold"):
        assert sorted(label[bag] for bag in fold["bag"]) == [0, 1]
        by_label = fold.set_index("y")["logit"].round(9)
        right.append((np.sign(by_label[1] - by_label[0]) + 1) / 2)
    assert len(right) == len(list(own.checkpoints.glob("*.ckpt"))) == 15
    assert found.assessment.model.metrics.auroc == pytest.approx(np.mean(right))
    for baseline in found.assessment.baselines:
        assert baseline.metrics.kind == "pairs"
    # each member's own map and threshold are used
    row = found.predictions.iloc[0]
    rule = load_checkpoint(own.checkpoints / f"{row['member']}.ckpt")["decision_rule"]
    assert row["probability"] == pytest.approx(
        expit(rule["intercept"] + rule["slope"] * row["logit"])
    )
    assert row["threshold"] == rule["threshold"]
    assert rule["threshold"] == pytest.approx(4 / 6)  # five and three, less a pair


def test_looks_are_counted_over_runs_of_a_cohort(tmp_path: Path) -> None:
    settings = ["data.folds.k=2", "data.folds.repeats=1", "data.folds.block=batch"]
    settings += ["data.reader.patients=18", "data.reader.design.batches=9"]
    own, found = run(tmp_path, *settings)
    assert (found.ledger.looks, found.ledger.configurations) == (1, 1)
    blocks = json.loads(own.split.read_text())["blocks"]
    batch = found.cohort.store.samples.groupby("patient")["batch"].first().to_numpy()
    names = found.cohort.store.patients.index
    groups = [sorted(names[batch == value]) for value in sorted(set(batch))]
    assert sorted(blocks) == sorted(group for group in groups if len(group) > 1)
    assert (evaluate_run(own).ledger.looks, evaluate_run(own).ledger.configurations) == (2, 1)
    permuted = evaluate_run(own, permutations=59).assessment.permutation
    assert permuted is not None
    assert permuted.k == 59  # labels that inner folds of whole batches cannot have are drawn anew
    other = tmp_path / "other"
    places = [f"paths.run={other}", f"paths.prepared={tmp_path / 'prepared'}"]
    # another embedding makes another prepared cohort, of the same patients
    small = [own for own in SMALL if own != "data/receptors=none"]
    train_run(compose([*small, *settings, "seed=0", "data/receptors=physicochemical", *places]))
    assert json.loads((other / "cohort.json").read_text())["key"] != found.cohort.key
    ledger = evaluate_run(RunDirectory.open(other)).ledger
    assert (ledger.looks, ledger.configurations) == (5, 2)
    # the folds of the run, written down by the patients' own names, are the same folds
    ids = pd.read_csv(tmp_path / f"prepared/{found.cohort.key}.ids.csv").set_index("pseudonym")[
        "id"
    ]
    rows = [(ids[names[code]], fold.fold) for fold in found.split.folds for code in fold.held_out]
    pd.DataFrame(rows, columns=["patient", "fold"]).to_csv(tmp_path / "folds.csv", index=False)
    again = RunDirectory(tmp_path / "third", own.config, {})
    table = [*SMALL, "data/folds=table", f"data.folds.path={tmp_path / 'folds.csv'}"]
    split = split_of(again, found.cohort, build(compose(table).data.folds), 0)
    assert [f.held_out for f in split.folds] == [f.held_out for f in found.split.folds]
    assert Split.read(again.split, list(names)) == split
