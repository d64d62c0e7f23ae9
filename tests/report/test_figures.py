"""Figures show the numbers, and leave no trace."""

from __future__ import annotations

import re
import sys
from dataclasses import replace
from typing import Any

import numpy as np
import pandas as pd
import pytest
from matplotlib import rcParams

from recart.report.canvas import INK, NEGATIVE, POSITIVE, new_figure, plain, svg
from recart.report.figures import forest, predictions, roc
from recart.report.probability_figures import (
    calibration,
    calibration_groups,
    decision,
    recalibration,
)
from recart.report.run_figures import latent, latent_use, training_curves


def test_roc_draws_every_curve_from_corner_to_corner(make_assessment: Any) -> None:
    axes = roc(make_assessment()).axes[0]
    labels = [text.get_text() for text in axes.get_legend().get_texts()]
    assert [label.rsplit(" ", 1)[0] for label in labels] == ["recart", "composition", "batch only"]
    for line in axes.get_lines():
        assert line.get_xydata()[0].tolist() == [0, 0]
        assert line.get_xydata()[-1].tolist() == [1, 1]


def test_area_under_the_drawn_curve_is_the_auroc(make_assessment: Any) -> None:
    assessment = make_assessment()
    points = roc(assessment).axes[0].get_lines()[-1].get_xydata()
    assert np.trapezoid(points[:, 1], points[:, 0]) == pytest.approx(assessment.model.metrics.auroc)


def test_calibration_groups_hold_everyone_once(make_assessment: Any) -> None:
    scores = make_assessment(n=220, baselines={}).model.scores
    found = calibration_groups(scores)
    assert len(found) == 10
    assert sum(count for *_, count in found) == 220
    means = [mean for mean, *_ in found]
    assert means == sorted(means)
    for _, share, low, high, _ in found:
        assert low <= share <= high


def test_calibration_counts_patients_not_samples(make_assessment: Any) -> None:
    several = make_assessment(n=60, per_patient=4, baselines={}).model.scores
    groups = calibration_groups(several)
    pretend = several.table.assign(patient=several.table.index)
    single = calibration_groups(type(several)(name="m", table=pretend, folds=several.folds))
    widths = [[high - low for _, _, low, high, _ in found] for found in (groups, single)]
    assert np.mean(widths[0]) > np.mean(widths[1])
    assert calibration(several).axes


def test_recalibration_shows_both_numbers_and_marks_what_lies_beyond(make_assessment: Any) -> None:
    found = make_assessment(n=60, baselines={}).model.calibration
    texts = [text.get_text() for text in recalibration(found).axes[0].texts]
    assert f"{found.slope:.2f}" in texts[1]
    assert f"{found.in_the_large:.2f}".replace("-", "\N{MINUS SIGN}") in texts[0]
    wide = replace(found.slope_interval, low=-7.0, high=9.0)
    lines = recalibration(replace(found, slope_interval=wide)).axes[0].get_lines()
    assert {"<", ">"} <= {line.get_marker() for line in lines}
    texts = recalibration(replace(found, slope=None, slope_interval=None)).axes[0].texts
    assert texts[1].get_text() == "slope: not given"


def test_decision_curve_stands_beside_all_and_none(make_assessment: Any) -> None:
    model = make_assessment(n=60, baselines={}).model
    axes = decision(model.decision_curve, model.metrics.prevalence).axes[0]
    drawn = {line.get_label(): line.get_xydata() for line in axes.get_lines()}
    assert set(drawn) == {"model", "all", "none"}
    assert drawn["model"][:, 1].tolist() == model.decision_curve.net_benefit.tolist()
    assert drawn["all"][0, 1] == pytest.approx(0.5 - 0.5 * 0.05 / 0.95)
    assert not drawn["none"][:, 1].any()


def test_forest_has_a_row_for_each_model(make_assessment: Any) -> None:
    assessment = make_assessment()
    texts = [text.get_text() for text in forest(assessment).axes[0].texts]
    assert texts[0] == "recart"
    assert {"composition", "batch only"} <= set(texts)
    assert any(text.startswith(f"{assessment.model.metrics.auroc:.2f} (") for text in texts)


def test_predictions_show_every_bag_once_by_class(make_assessment: Any) -> None:
    model = make_assessment(n=30).model
    scores = model.scores
    axes = predictions(model, "CR", "no CR").axes[0]
    drawn = {line.get_marker(): line for line in axes.get_lines() if line.get_marker() != "None"}
    assert "." not in drawn  # one repeat: nothing spreads
    assert len(drawn["o"].get_xdata()) == len(drawn["s"].get_xdata()) == 15
    assert sorted(drawn["o"].get_xdata()) == sorted(scores.probability[scores.y == 1])
    assert [text.get_text() for text in axes.get_legend().get_texts()] == ["CR (15)", "no CR (15)"]


def test_predictions_show_each_repeat_and_their_spread(make_assessment: Any) -> None:
    model = make_assessment(n=30, repeats=3).model
    axes = predictions(model, "CR", "no CR").axes[0]
    dots = np.concatenate([a.get_xdata() for a in axes.get_lines() if a.get_marker() == "."])
    assert len(dots) == 3 * 30
    expected = model.per_repeat[["repeat_0", "repeat_1", "repeat_2"]].to_numpy().ravel()
    assert sorted(dots) == pytest.approx(sorted(expected))
    ends = np.concatenate(
        [np.diff(own[:, 0]) for c in axes.collections for own in c.get_segments()]
    )
    inside = (model.scores.probability - model.per_repeat["spread"] > 0) & (
        model.scores.probability + model.per_repeat["spread"] < 1
    )
    wanted = 2 * model.per_repeat["spread"][inside]
    assert all(np.isclose(ends, width).any() for width in wanted)


def test_latent_use_draws_each_member_in_falling_order() -> None:
    axes = latent_use({"r0f0": [0.5, 2.0, 0.0], "r0f1": [0.02, 0.001, 1.0]}, active=0.01).axes[0]
    one, other, threshold = axes.get_lines()
    assert one.get_ydata().tolist() == [2.0, 0.5, 0.0001]  # 0 is drawn at the lower edge
    assert other.get_ydata().tolist() == [1.0, 0.02, 0.001]
    assert set(threshold.get_ydata()) == {0.01}
    assert axes.get_yscale() == "log"


def test_training_curves_draw_members_and_their_median() -> None:
    history = pd.DataFrame(
        {
            "member": np.repeat(["a", "b", "c"], 4),
            "epoch": np.tile(np.arange(4), 3),
            "elbo_train": np.arange(12.0),
            "elbo_validation": [np.nan, 1, 2, 3] * 3,
        }
    )
    lines = training_curves(history).axes[0].get_lines()
    assert len(lines) == 8
    median = next(line for line in lines if line.get_label() == "training")
    assert median.get_ydata().tolist() == [4.0, 5.0, 6.0, 7.0]


@pytest.mark.parametrize(("levels", "legend"), [(3, True), (8, True), (9, False)])
def test_latent_has_a_legend_while_the_eye_can_use_it(levels: int, legend: bool) -> None:
    rng = np.random.default_rng(0)
    groups = pd.Series(np.arange(90) % levels).astype(object)
    groups.iloc[0] = None
    figure = latent(rng.normal(size=(90, 2)), groups)
    assert bool(figure.legends) is legend
    assert len(figure.axes[0].collections[0].get_offsets()) == 90


def test_classes_keep_their_colours_whichever_has_more_cells() -> None:
    said = ["event", "none", "no label"]
    rng = np.random.default_rng(0)
    for few, many in (("event", "none"), ("none", "event")):
        groups = pd.Series(pd.Categorical([few] * 3 + [many] * 9, categories=said))
        (legend,) = latent(rng.normal(size=(12, 2)), groups).legends
        drawn = {
            text.get_text(): line.get_color()
            for text, line in zip(legend.get_texts(), legend.get_lines(), strict=True)
        }
        assert drawn == {"event": POSITIVE, "none": NEGATIVE}


def test_svg_is_reproducible_and_takes_the_colour_of_the_page(make_assessment: Any) -> None:
    assessment = make_assessment()
    first, again = (svg(roc(assessment), "a") for _ in range(2))
    assert first == again
    assert INK not in first
    assert "currentColor" in first


def test_two_figures_share_no_id(make_assessment: Any) -> None:
    assessment = make_assessment()
    drawn = [svg(roc(assessment), "a"), svg(forest(assessment), "b")]
    ids = [set(re.findall(r'\bid="([^"]+)"', text)) for text in drawn]
    assert not ids[0] & ids[1]
    for text, own in zip(drawn, ids, strict=True):
        used = set(re.findall(r'(?:href="#|url\(#)([^")]+)', text))
        assert used
        assert used <= own


def test_names_are_drawn_as_they_stand() -> None:
    figure, axes = new_figure(4, 2)
    axes.text(0, 0, plain("$\\frac{x$ --> <script>x()</script>"))
    assert "<script" not in svg(figure, "a")
    assert len(plain("x" * 100)) == 28


def test_long_names_leave_room_for_the_cells() -> None:
    rng = np.random.default_rng(0)
    groups = pd.Series([f"{kind} {'long ' * 20}" for kind in range(8)] * 5)
    assert "<svg" in svg(latent(rng.normal(size=(40, 2)), groups), "a")


def test_no_figure_is_kept_and_no_setting_changed(make_assessment: Any) -> None:
    before = dict(rcParams)
    svg(forest(make_assessment()), "a")
    assert dict(rcParams) == before
    if "matplotlib.pyplot" in sys.modules:
        assert not sys.modules["matplotlib.pyplot"].get_fignums()
