"""Figures show the numbers, and leave no trace."""

from __future__ import annotations

import re
import sys
from typing import Any

import numpy as np
import pandas as pd
import pytest
from matplotlib import rcParams

from recart.report.canvas import INK, new_figure, plain, svg
from recart.report.figures import calibration, calibration_groups, forest, predictions, roc
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


@pytest.mark.parametrize(("n", "groups"), [(12, 1), (24, 2), (60, 4), (199, 4), (220, 10)])
def test_calibration_stays_coarse_below_a_hundred_a_class(
    make_assessment: Any, n: int, groups: int
) -> None:
    scores = make_assessment(n=n, baselines={}).model.scores
    found = calibration_groups(scores)
    assert len(found) == groups
    assert sum(count for *_, count in found) == n
    means = [mean for mean, *_ in found]
    assert means == sorted(means)
    for _, share, low, high, _ in found:
        assert low <= share <= high


def test_calibration_counts_patients_not_samples(make_assessment: Any) -> None:
    several = make_assessment(n=20, per_patient=4, baselines={}).model.scores
    groups = calibration_groups(several)
    pretend = several.table.assign(patient=several.table.index)
    single = calibration_groups(type(several)(name="m", table=pretend, folds=several.folds))
    widths = [[high - low for _, _, low, high, _ in found] for found in (groups, single)]
    assert np.mean(widths[0]) > np.mean(widths[1])
    assert calibration(several).axes


def test_forest_has_a_row_for_each_model(make_assessment: Any) -> None:
    assessment = make_assessment()
    texts = [text.get_text() for text in forest(assessment).axes[0].texts]
    assert texts[0] == "recart"
    assert {"composition", "batch only"} <= set(texts)
    assert any(text.startswith(f"{assessment.model.metrics.auroc:.2f} (") for text in texts)


def test_predictions_show_every_bag_once_by_class(make_assessment: Any) -> None:
    scores = make_assessment(n=30).model.scores
    axes = predictions(scores, "CR", "no CR").axes[0]
    drawn = {line.get_marker(): line for line in axes.get_lines() if line.get_marker() != "None"}
    assert len(drawn["o"].get_xdata()) == len(drawn["s"].get_xdata()) == 15
    assert sorted(drawn["o"].get_xdata()) == sorted(scores.probability[scores.y == 1])
    assert [text.get_text() for text in axes.get_legend().get_texts()] == ["CR (15)", "no CR (15)"]


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
