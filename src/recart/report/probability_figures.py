"""Figures of what the probabilities are worth: calibration and the decision curve."""

from __future__ import annotations

import numpy as np
from matplotlib.figure import Figure

from recart.evaluation.calibration import Calibration
from recart.evaluation.decision_curve import DecisionCurve
from recart.evaluation.intervals import Interval
from recart.evaluation.predictions import BagScores
from recart.report.canvas import INK, NEGATIVE, POSITIVE, new_figure

__all__ = ["calibration", "calibration_groups", "decision", "recalibration"]

_GROUPS = 10
# how far from perfection the scale of the two numbers reaches; what lies beyond ends in an arrow
_REACH = 3.0


def recalibration(found: Calibration) -> Figure:
    """Calibration in the large and slope, each with its interval, beside perfection."""
    figure, axes = new_figure(4.8, 2.1, "distance from perfect (log-odds; slope minus 1)")
    axes.axvline(0, color=INK, linewidth=0.7, alpha=0.6, dashes=(2, 3))
    rows: list[tuple[str, float | None, Interval | None, float]] = [
        ("in the large", found.in_the_large, found.in_the_large_interval, 0.0),
        ("slope", found.slope, found.slope_interval, 1.0),
    ]
    for height, (name, value, interval, perfect) in enumerate(rows):
        said = f"{name}: not given"
        if value is not None and interval is not None:
            said = f"{name}: {value:.2f} ({interval.low:.2f} to {interval.high:.2f})"
            low, high = np.clip(np.array([interval.low, interval.high]) - perfect, -_REACH, _REACH)
            axes.plot([low, high], [height, height], color=POSITIVE, linewidth=2, alpha=0.6)
            for end, sign in ((interval.low - perfect, "<"), (interval.high - perfect, ">")):
                if abs(end) > _REACH:
                    axes.plot(np.sign(end) * _REACH, height, sign, color=POSITIVE, ms=5)
            if abs(value - perfect) <= _REACH:
                axes.plot(value - perfect, height, "o", color=POSITIVE, ms=6)
        axes.annotate(
            said.replace("-", "\N{MINUS SIGN}"),
            (-_REACH, height),
            xytext=(0, 8),
            textcoords="offset points",
            fontsize=9,
            color=INK,
        )
    axes.set(xlim=(-_REACH - 0.1, _REACH + 0.1), ylim=(1.4, -0.75), yticks=[])
    axes.spines["left"].set_visible(False)
    return figure


def decision(curve: DecisionCurve, prevalence: float) -> Figure:
    """Net benefit by threshold probability, beside treating all and treating none."""
    figure, axes = new_figure(4.8, 3.9, "threshold probability", "net benefit")
    axes.axhline(0, color=INK, linewidth=1.2, linestyle=(0, (1, 1.3)), label="none")
    axes.plot(
        curve.threshold,
        curve.treat_all,
        color=NEGATIVE,
        linewidth=1.5,
        linestyle=(0, (5, 2)),
        label="all",
    )
    axes.fill_between(
        curve.threshold, curve.low, curve.high, color=POSITIVE, alpha=0.15, linewidth=0
    )
    axes.plot(curve.threshold, curve.net_benefit, color=POSITIVE, linewidth=2.2, label="model")
    # the line of all falls without end; below this nobody would act
    axes.set(xlim=(0, 1), ylim=(-0.35 * prevalence - 0.05, 1.12 * prevalence + 0.02))
    handles, names = axes.get_legend_handles_labels()
    order = [names.index(name) for name in ("model", "all", "none")]
    axes.legend(
        handles=[handles[index] for index in order],
        frameon=False,
        fontsize=8.5,
        labelcolor=INK,
        loc="upper right",
        handlelength=2.6,
    )
    return figure


def calibration_groups(scores: BagScores) -> list[tuple[float, float, float, float, int]]:
    """Bags in groups of rising probability: mean, observed share, its interval, and bags.

    For cohorts with 100 bags of each class and more. The interval is Wilson's at 95%, counting
    patients and not bags.
    """
    from scipy.stats import binomtest

    order = np.argsort(scores.probability, kind="stable")
    patients = np.array(scores.patients)
    groups = []
    for rows in np.array_split(order, _GROUPS):
        share = float(scores.y[rows].mean())
        independent = len(set(patients[rows]))
        interval = binomtest(round(share * independent), independent).proportion_ci(method="wilson")
        mean = float(scores.probability[rows].mean())
        groups.append((mean, share, float(interval.low), float(interval.high), len(rows)))
    return groups


def calibration(scores: BagScores) -> Figure:
    """Observed share of positive bags against predicted probability, in groups.

    Only for cohorts that carry it: see `recart.evaluation.calibration.Calibration.curve_refusal`.
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
