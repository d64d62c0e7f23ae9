"""Every YAML that makes a part of a training trains one step: found by discovery, none is listed.

Left out, with what runs them: checks of the audit (test_audited_run), readers of files
(test_pipeline, test_real_data), a fixed split (test_pipeline), experiments on real data
(test_real_data), FCS files and their gates (test_fcs_cohort), sweeps (test_sweep,
test_sweep_kinds), refusals (test_refusal), a TOTALVI to start from (test_totalvi_start), Ray and
SLURM (test_everywhere_the_same).
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from recart.config.compose import compose, config_folder
from recart.training.launch import train_run

FOLDER = config_folder()
ELSEWHERE = {
    "data/cellranger",
    "data/fcs",
    "data/h5ad",
    "data/h5mu",
    "data/folds/fixed",
    "data/folds/table",
    "data/gates/fcs",
    "executor/ray",
    "executor/slurm",
    "training/start/totalvi",
    "experiment/carpall_tissue",
    "experiment/melanoma_response",
}
OPTIONS = sorted(
    option
    for path in FOLDER.rglob("*.yaml")
    if path.parent != FOLDER
    and path.relative_to(FOLDER).parts[0]
    not in ("audit", "refusal", "hydra", "paths", "local", "sweep")
    if (option := str(path.relative_to(FOLDER).with_suffix(""))) not in ELSEWHERE
)
# five with and three without a complete response
FEW = ["data.reader.patients=8", "data.limits.min_per_class=3"]
# what a scheme of folds is given beside its file, instead of k=3 repeats=1, and its members
FOLDS = {
    # six patients would do, but the checks of the cohort ask for more
    "leave_pair_out": ([*FEW, "data.folds.at_most=8"], 15),
    "leave_one_patient_out": (FEW, 8),
    "leave_one_site_out": (["data.folds.repeats=1"], 2),
    "external": (
        ["data.folds.column=site", "data.folds.values=[site2]", "data.folds.repeats=2"],
        2,
    ),
}

# how each head is made small
SMALL_HEADS = {
    "prototypes": ["head.prototypes=3", "head.fine_prototypes=4", "head.inner_folds=2"],
    "attention": [
        *("head.base.prototypes=3", "head.base.fine_prototypes=4", "head.base.inner_folds=2"),
        *("head.inner_folds=2", "head.epochs=5"),
    ],
    "cells": ["head.inner_folds=2", "head.epochs=2", "head.training.cells=8"],
    "mixed": ["head.inner_folds=2", "head.cells=16"],
    "ensemble": [
        *("head.heads.prototypes.prototypes=3", "head.heads.prototypes.fine_prototypes=4"),
        *("head.heads.attention.base.prototypes=3", "head.heads.attention.base.fine_prototypes=0"),
        *("head.heads.attention.inner_folds=2", "head.heads.attention.epochs=5"),
        *("head.heads.cells.inner_folds=2", "head.heads.cells.epochs=2"),
        *("head.heads.cells.training.cells=8", "head.heads.mixed.cells=16"),
    ],
}
# of 18 patients hardly any is followed past the landmark
FEW_EVENTS = ("survival", "simulated_survival")
# the simulated cohort that has what an endpoint asks for
WITH_OUTCOME = {
    "ordinal": ["experiment=simulated_levels"],
    "survival": ["experiment=simulated_survival"],
    "several": [
        "experiment=simulated_levels",
        "+data.reader.outcomes.crs=true",
    ],
}
# packages of an extra that is not installed by default
EXTRAS = {"logger/mlflow": "mlflow"}


@pytest.mark.slow  # about three seconds each
@pytest.mark.parametrize("option", OPTIONS)
def test_one_step(option: str, tmp_path: Path) -> None:
    if option in EXTRAS:
        pytest.importorskip(EXTRAS[option], reason=f"{EXTRAS[option]} is not installed")
    group, name = option.rsplit("/", 1)
    overrides = [
        "data.reader.patients=18",
        "data.reader.cells_per_sample=20",
        "data.reader.genes=170",
        "data.limits.min_cells=2",
        "features.prior_cells=5",
        "training.epochs=1",
        "training.batch_size=512",
        "model.hidden=8",
        *(SMALL_HEADS[name] if group == "head" else SMALL_HEADS["prototypes"]),
        f"paths.run={tmp_path / 'run'}",
        f"paths.prepared={tmp_path / 'prepared'}",
    ]
    asked, members = ["data.folds.k=3", "data.folds.repeats=1"], 3
    if group == "data/folds":
        asked, members = FOLDS.get(name, (asked, members))
    overrides += asked
    if group == "endpoint":
        overrides += WITH_OUTCOME.get(name, [])
    if name in FEW_EVENTS:
        overrides.append("data.limits.min_per_class=2")
    if not group.startswith("data/receptors"):
        overrides.append("data/receptors=none")
    config = compose([f"{group}={name}", *overrides])
    assert np.isfinite(train_run(config))
    assert len(list((tmp_path / "run" / "checkpoints").glob("*.ckpt"))) == members
