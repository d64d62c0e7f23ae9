"""Figures of held-out performance: ROC, calibration, forest of AUROCs, predictions by patient."""

from __future__ import annotations

from typing import Any

import numpy as np
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from recart.evaluation.assessment import Assessed, Assessment
from recart.evaluation.metrics import THRESHOLD
from recart.evaluation.predictions import BagScores, FloatArray
from recart.report.canvas import INK, NEGATIVE, PALETTE, POSITIVE, new_figure, plain

__all__ = ["calibration", "calibration_groups", "forest", "predictions", "roc"]

_DASHES = ((0, (5, 2)), (0, (1, 1.3)), (0, (5, 1.5, 1, 1.5)), (0, (2.5, 1.5)))
_WIDE_CLASS = 100


def roc(assessment: Assessment) -> Figure:
    """ROC curve of the model with its pointwise patient-bootstrap band, and of the baselines."""
    figure, axes = new_figure(4.8, 4.6, "1 - specificity", "sensitivity")
    axes.plot([0, 1], [0, 1], color=INK, linewidth=0.7, alpha=0.5, dashes=(2, 3))
    grid = np.linspace(0, 1, 101)
    low, high = assessment.resampling.roc_band(assessment.model.scores, grid)
    axes.fill_between(grid, low, high, color=POSITIVE, alpha=0.15, linewidth=0)
    for index, baseline in enumerate(assessment.baselines):
        axes.plot(
            *_roc_points(baseline.scores),
            color=PALETTE[1 + index % (len(PALETTE) - 1)],
            linestyle=_DASHES[index % len(_DASHES)],
            linewidth=1.3,
            label=_auroc_label(baseline),
        )
    axes.plot(
        *_roc_points(assessment.model.scores),
        color=POSITIVE,
        linewidth=2.4,
        label=_auroc_label(assessment.model),
    )
    axes.set(xlim=(-0.01, 1.01), ylim=(-0.01, 1.01), aspect="equal")
    handles, _ = axes.get_legend_handles_labels()
    axes.legend(
        handles=[handles[-1], *handles[:-1]],
        loc="lower right",
        frameon=False,
        fontsize=8,
        labelcolor=INK,
        handlelength=2.6,
    )
    return figure


def calibration_groups(scores: BagScores) -> list[tuple[float, float, float, float, int]]:
    """Bags in groups of rising probability: mean, observed share, its interval, and bags.

    Groups hold about ten bags, four of them at most below 100 bags of each class and ten above.
    The interval is Wilson's at 95%, counting patients and not bags.
    """
    from scipy.stats import binomtest

    smaller = min(scores.y.sum(), len(scores.y) - scores.y.sum())
    most = 10 if smaller >= _WIDE_CLASS else 4
    n_groups = int(np.clip(len(scores.y) // 10, 1, most))
    order = np.argsort(scores.probability, kind="stable")
    patients = np.array(scores.patients)
    groups = []
    for rows in np.array_split(order, n_groups):
        share = float(scores.y[rows].mean())
        independent = len(set(patients[rows]))
        interval = binomtest(round(share * independent), independent).proportion_ci(method="wilson")
        mean = float(scores.probability[rows].mean())
        groups.append((mean, share, float(interval.low), float(interval.high), len(rows)))
    return groups


def calibration(scores: BagScores) -> Figure:
    """Observed share of positive bags against predicted probability, in a few groups.

    No curve is fitted and no calibration error is given: below 100 bags of each class a perfectly
    calibrated model shows an expected calibration error of 0.06 to 0.18 by chance alone.
    """
    figure, axes = new_figure(4.8, 4.6, "predicted probability", "observed share positive")
    axes.plot([0, 1], [0, 1], color=INK, linewidth=0.7, alpha=0.5, dashes=(2, 3))
    for mean, share, low, high, count in calibration_groups(scores):
        axes.plot([mean, mean], [low, high], color=POSITIVE, linewidth=1.6, alpha=0.55)
        axes.plot(mean, share, "o", color=POSITIVE, markersize=7)
        axes.annotate(
            f"n={count}",
            (mean, share),
            xytext=(7, -3),
            textcoords="offset points",
            fontsize=8,
            color=INK,
        )
    for label, colour, height, marker in ((1, POSITIVE, 1.035, "|"), (0, NEGATIVE, -0.035, "|")):
        values = scores.probability[scores.y == label]
        axes.plot(values, np.full(len(values), height), marker, color=colour, markersize=7)
    axes.set(xlim=(-0.03, 1.03), ylim=(-0.07, 1.07), aspect="equal")
    return figure


def forest(assessment: Assessment) -> Figure:
    """AUROC of the model and of each baseline with its interval, chance at 0.5."""
    rows = [assessment.model, *assessment.baselines]
    figure, axes = new_figure(4.8, 0.9 + 0.56 * len(rows), "held-out AUROC (95% interval)")
    axes.axvline(0.5, color=INK, linewidth=0.7, alpha=0.6, dashes=(2, 3))
    for height, row in enumerate(rows):
        colour = POSITIVE if height == 0 else INK
        axes.annotate(
            plain(row.name),
            (0, height),
            xytext=(0, 7),
            textcoords="offset points",
            fontsize=9,
            color=INK,
            fontweight="bold" if height == 0 else "normal",
        )
        if row.metrics.auroc is None or row.auroc_interval is None:
            continue
        low, high = row.auroc_interval.low, row.auroc_interval.high
        axes.plot([low, high], [height, height], color=colour, linewidth=2, alpha=0.6)
        axes.plot(
            row.metrics.auroc,
            height,
            "o" if height == 0 else "D",
            color=colour,
            ms=6,
            clip_on=False,
        )
        axes.annotate(
            f"{row.metrics.auroc:.2f} ({low:.2f} to {high:.2f})",
            (1, height),
            xytext=(0, 7),
            textcoords="offset points",
            fontsize=8.5,
            color=INK,
            ha="right",
        )
    axes.set(xlim=(0, 1), ylim=(len(rows) - 0.6, -0.7), yticks=[])
    axes.spines["left"].set_visible(False)
    return figure


def predictions(scores: BagScores, positive: str, negative: str) -> Figure:
    """Probability of every bag, sorted, with its range over repeats and members.

    Parameters
    ----------
    scores
        Held-out scores of the model.
    positive, negative
        Names of the two classes.
    """
    table = scores.table.sort_values("probability", kind="stable")
    figure, axes = new_figure(
        4.8, float(np.clip(0.9 + 0.085 * len(table), 3.2, 12)), "held-out probability"
    )
    axes.axvline(THRESHOLD, color=INK, linewidth=0.7, alpha=0.6, dashes=(2, 3))
    height = np.arange(len(table))
    classes = ((1, POSITIVE, "o", "full", positive), (0, NEGATIVE, "s", "none", negative))
    handles = []
    for label, colour, marker, fill, name in classes:
        rows = (table["y"] == label).to_numpy()
        part = table[rows]
        axes.hlines(
            height[rows],
            part["probability_low"],
            part["probability_high"],
            color=colour,
            linewidth=1.4,
            alpha=0.4,
        )
        look: dict[str, Any] = {
            "color": colour,
            "marker": marker,
            "fillstyle": fill,
            "linestyle": "none",
            "markersize": 4.5,
        }
        axes.plot(part["probability"], height[rows], **look)
        handles.append(Line2D([], [], label=f"{plain(name)} ({len(part)})", **look))
    axes.set(xlim=(-0.02, 1.02), ylim=(-1, len(table)), yticks=[])
    axes.spines["left"].set_visible(False)
    axes.legend(handles=handles, loc="lower right", frameon=False, fontsize=8.5, labelcolor=INK)
    return figure


def _roc_points(scores: BagScores) -> tuple[FloatArray, FloatArray]:
    """Compute false and true positive rates at every threshold."""
    from sklearn.metrics import roc_curve

    false_positive, true_positive, _ = roc_curve(scores.y, scores.score)
    return false_positive, true_positive


def _auroc_label(row: Assessed) -> str:
    value = "not given" if row.metrics.auroc is None else f"{row.metrics.auroc:.2f}"
    return f"{plain(row.name)} {value}"
