"""Figures of held-out performance: ROC, forest of AUROCs, predictions by patient."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from recart.evaluation.assessment import Assessed, Assessment
from recart.evaluation.metrics import THRESHOLD
from recart.evaluation.predictions import BagScores, FloatArray
from recart.report.canvas import INK, NEGATIVE, PALETTE, POSITIVE, new_figure, plain

__all__ = ["forest", "predictions", "roc"]

_DASHES = ((0, (5, 2)), (0, (1, 1.3)), (0, (5, 1.5, 1, 1.5)), (0, (2.5, 1.5)))


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


def predictions(assessed: Assessed, positive: str, negative: str) -> Figure:
    """Probability of every bag, sorted: mean and spread over repeats, each repeat a pale dot.

    With one repeat the line is the range over its members.

    Parameters
    ----------
    assessed
        The model.
    positive, negative
        Names of the two classes.
    """
    table = _with_spread(assessed).sort_values("probability", kind="stable")
    repeats = [name for name in assessed.per_repeat if str(name).startswith("repeat_")]
    each = assessed.per_repeat.loc[table.index, repeats].to_numpy(dtype=float)
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
            part["low"],
            part["high"],
            color=colour,
            linewidth=1.4,
            alpha=0.4,
        )
        if len(repeats) > 1:
            at = np.repeat(height[rows], len(repeats))
            axes.plot(each[rows].ravel(), at, ".", color=colour, ms=3.5, alpha=0.35, mew=0)
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


def _with_spread(assessed: Assessed) -> pd.DataFrame:
    """The table of bags with the ends of each one's line."""
    table, spread = assessed.scores.table, assessed.per_repeat["spread"]
    if spread.isna().all():
        return table.assign(low=table["probability_low"], high=table["probability_high"])
    # per_repeat's rows are the table's
    low, high = table["probability"] - spread, table["probability"] + spread
    return table.assign(low=low.clip(0, 1), high=high.clip(0, 1))


def _roc_points(scores: BagScores) -> tuple[FloatArray, FloatArray]:
    """Compute false and true positive rates at every threshold."""
    from sklearn.metrics import roc_curve

    false_positive, true_positive, _ = roc_curve(scores.y, scores.score)
    return false_positive, true_positive


def _auroc_label(row: Assessed) -> str:
    value = "not given" if row.metrics.auroc is None else f"{row.metrics.auroc:.2f}"
    return f"{plain(row.name)} {value}"
