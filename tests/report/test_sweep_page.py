"""A sweep's page: its plots with the band of luck in them, and as a browser shows it."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from omegaconf import OmegaConf

from recart.config.build import build
from recart.config.compose import compose
from recart.sweep.page import chances_of, write_page
from recart.sweep.plots import sweep_plots
from recart.sweep.scores import TrialScore, write_score
from recart.sweep.space import flat_space
from recart.sweep.tables import SUMMARY, FoldTrials, read_folds

PATIENTS, TRIALS = 24, 8
OBJECTIVES = ["inner_loss", "encoder_loss"]


def made_up(number: int) -> FoldTrials:
    """Trials that differ by noise; one was given up, one failed."""
    rng = np.random.default_rng(number)
    values, scores = [], []
    for trial in range(TRIALS):
        values.append(
            {
                "head.fine_prototypes": int(rng.choice([0, 50, 100])),
                "head.prototypes": int(rng.integers(10, 60)),
                "head.shrinkage": float(rng.uniform(1, 30)),
                "head.use_extras": bool(rng.integers(2)),
                "model.latent": int(rng.choice([5, 10, 20])),
            }
        )
        state = {5: "pruned", 6: "failed"}.get(trial, "complete")
        losses = rng.uniform(0.2, 1.2, PATIENTS).tolist() if state == "complete" else []
        own = {"inner_loss": sum(losses) / PATIENTS, "encoder_loss": rng.uniform(700, 720)}
        scores.append(
            TrialScore(
                trial=trial,
                fold=f"r0f{number}",
                state=state,
                scores=own if losses else {},
                losses=losses,
            )
        )
    done = [own for own in scores if own.state == "complete"]
    best = min(done, key=lambda own: own.scores["inner_loss"]).trial
    return FoldTrials(
        name=f"r0f{number}",
        values=values,
        chosen=best,
        groups=list(range(PATIENTS)),
        saying_nothing=0.69,
        scores=scores,
    )


@pytest.fixture
def swept(tmp_path: Path) -> Path:
    """What a sweep of three folds leaves for its page."""
    folds = [made_up(number) for number in range(3)]
    for fold in folds:
        for score in fold.scores:
            write_score(tmp_path, score)
    names = ("chosen", "values", "groups", "saying_nothing")
    summary = {
        **{"seed": 0, "unit": "patient", "patients": PATIENTS, "budget": 20},
        **{"default_budget": True, "sampler": "Nsga2", "pruner": "NoPruning"},
        "objectives": OBJECTIVES,
        "folds": {fold.name: {name: getattr(fold, name) for name in names} for fold in folds},
    }
    (tmp_path / SUMMARY).write_text(json.dumps(summary))
    OmegaConf.save(compose(["sweep=default"]), tmp_path / "config.yaml")
    return tmp_path


def test_four_plots_and_the_band_where_luck_would_put_the_best(swept: Path) -> None:
    _, folds = read_folds(swept)
    chances = chances_of(folds, 0)
    space = flat_space(build(compose(["sweep=default"]).sweep).space)
    plots = sweep_plots(folds, space, chances)
    assert set(plots) == {"history", "importance", "parallel", "slice"}
    low = np.mean([own.low for own in chances.values()])
    high = np.mean([own.high for own in chances.values()])
    assert 0 < low < high
    for name, panels in (("history", 1), ("slice", 5)):
        bands = [own for own in plots[name].layout.shapes if own.type == "rect"]
        assert len(bands) == panels  # one in every panel
        assert {(own.y0, own.y1) for own in bands} == {(-high, -low)}
    complete = sum(own.state == "complete" for fold in folds for own in fold.scores)
    points = [own for own in plots["history"].data if own.mode == "markers"]
    assert sum(len(own.y) for own in points) == complete == 18
    assert set(plots["importance"].data[0].y) == set(space)
    lines = [own for own in plots["parallel"].data if len(own.x) == 1 + len(space)]
    assert len(lines) == complete  # through the loss and every key
    assert "front" in sweep_plots(folds, space, chances, OBJECTIVES)


def test_the_page_says_what_was_tried_and_shows_the_front(swept: Path) -> None:
    page = write_page(swept).read_text()
    assert "8 configurations in each of 3 outer folds" in page  # of a budget of 20
    assert 'id="plot-front"' in page
    assert page.count("<td>yes</td>") >= 3


@pytest.mark.slow
@pytest.mark.parametrize("width", [1280, 400])
def test_the_page_in_a_browser(browser: Any, swept: Path, width: int) -> None:
    said: list[str] = []
    asked: list[str] = []
    path = write_page(swept)
    page = browser.new_page(viewport={"width": width, "height": 900})
    page.on("console", lambda message: said.append(message.text))
    page.on("pageerror", lambda error: said.append(str(error)))
    page.on("request", lambda request: asked.append(request.url))
    page.goto(path.as_uri())

    assert said == []
    assert [url for url in asked if not url.startswith(("data:", "blob:"))] == [path.as_uri()]
    page.evaluate("document.querySelectorAll('details').forEach(list => { list.open = true })")
    assert page.evaluate("document.documentElement.scrollWidth") <= width
    drawn = page.evaluate(
        """[...document.querySelectorAll('.plot')].map(one =>
            [one.querySelectorAll('path').length, one.getBoundingClientRect().width])"""
    )
    assert len(drawn) == 5
    assert all(paths > 5 and 200 < wide <= width for paths, wide in drawn), drawn
    # in a hand they scroll in their place
    inside = "[...document.querySelectorAll('.plotly-graph-div')].map(one => one.clientWidth)"
    assert min(page.evaluate(inside)) >= 500
    bands = page.evaluate("document.querySelectorAll('#plot-slice .shapelayer path').length")
    assert bands == 5
    lost = page.evaluate(
        """[...document.querySelectorAll('nav a')].map(link => link.getAttribute('href'))
            .filter(href => !document.querySelector(href))"""
    )
    assert lost == []
    page.close()
