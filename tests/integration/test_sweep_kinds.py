"""Samplers, storages and spaces that `test_sweep` does not run, each from its YAML to its end."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pandas as pd
import pytest

from recart.config.compose import compose
from recart.sweep.launch import run_sweep
from recart.training.status import status_command

from .conftest import Place

pytestmark = pytest.mark.slow  # trains

HERE = ["executor=in_process", "data.folds.k=2", "head.fine_prototypes=0"]
HEADS = [
    *("~sweep.space.head.fine_prototypes", "~sweep.space.head.shrinkage"),
    *("sweep.space.head.prototypes.low=3", "sweep.space.head.prototypes.high=4"),
]


def swept(place: Place, name: str, *settings: str) -> tuple[Path, pd.DataFrame]:
    run_sweep(compose(place.settings(name, *HERE, *settings)))
    folder = place.folder / name
    return folder, pd.read_csv(folder / "trials.csv")


def test_a_grid_in_a_journal_is_over_when_it_is_through_and_trackers_follow_it(
    place: Place, capsys: pytest.CaptureFixture[str]
) -> None:
    kind = ["sweep=heads", "sweep/sampler=grid", "sweep/storage=journal", "logger=wandb"]
    folder, trials = swept(place, "grid", *kind, *HEADS, "sweep.budget=9")
    # 2 x 2 configurations, the one as it stands among them, of a budget of 9
    assert trials["fold"].value_counts().to_dict() == {"r0f0": 4, "r0f1": 4}
    assert not trials.duplicated(["fold", "head.prototypes", "head.use_extras"]).any()
    said = capsys.readouterr().err
    assert re.search(r"choosing gained \d\.\d{3} of inner loss .* luck alone gives \d\.\d{3}", said)
    status_command([f"status={folder}"])
    shown = capsys.readouterr().out
    assert "8 of 8 trials have a score" in shown
    assert "to go on" not in shown
    assert (folder / "study.journal").stat().st_size > 0
    # an encoder a fold, four configurations and the table, in the group of both runs
    group = json.loads((folder / "logs" / "group.json").read_text())["group"]
    runs = [path.read_bytes() for path in (folder / "logs").rglob("*.wandb")]
    assert len(runs) == 2 + 4 + 1
    for content in runs:
        assert f"recart-{group}".encode() in content
        assert b"recart.sweep.samplers.Grid" in content
        assert not any(secret.encode() in content for secret in place.secrets)
    assert sum(b"validation/rna" in content for content in runs) == 2
    for run in ("chosen", "default"):
        own = json.loads((folder / run / "logs" / "group.json").read_text())
        assert own == {"group": group, "part": run}
    for log in ("csv/version_0/metrics.csv", "tensorboard/version_0"):
        assert (folder / "logs" / log).exists()


def test_encoders_by_covariance_matrix_adaptation(place: Place) -> None:
    _, trials = swept(
        place,
        "cmaes",
        *("sweep=encoder", "sweep/sampler=cmaes", "sweep/pruner=none"),
        *("sweep.sampler.population=2", "sweep.budget=3"),
        *(
            "sweep.space.features.n_genes.options=[100,120]",
            "sweep.space.model.hidden.options=[16]",
        ),
        *("sweep.space.model.latent.low=3", "sweep.space.model.latent.high=4"),
        *("sweep.space.head.prototypes.low=2", "sweep.space.head.prototypes.high=6"),
    )
    assert trials["state"].tolist() == ["complete"] * 6
    assert trials.groupby("fold")["encoder"].nunique().tolist() == [3, 3]
    assert trials["training.lr"].nunique() > 2


def test_two_objectives_have_a_front_in_the_table_and_on_the_page(place: Place) -> None:
    folder, trials = swept(
        place,
        "nsga2",
        *("sweep=default", "sweep/sampler=nsga2", "sweep.sampler.population=2", "sweep.budget=4"),
        *("sweep.objectives=[inner_loss,encoder_loss]", "sweep.space.model.latent.options=[3,4]"),
        *HEADS,
    )
    for _, own in trials.groupby("fold"):
        front = own[own["front"]]
        for one in own.itertuples():
            better = (own["inner_loss"] <= one.inner_loss) & (
                own["encoder_loss"] <= one.encoder_loss
            )
            more = (own["inner_loss"] < one.inner_loss) | (own["encoder_loss"] < one.encoder_loss)
            assert one.front is not bool((better & more).any())
        assert own["inner_loss"].min() in set(front["inner_loss"])
    assert 'id="plot-front"' in (folder / "sweep.html").read_text()
