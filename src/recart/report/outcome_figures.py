"""Figures of endpoints beyond yes or no: levels as predicted, survival by risk group."""

from __future__ import annotations

from typing import Final

import numpy as np

from recart.evaluation.outcomes import OutcomeAssessment
from recart.evaluation.outcomes.survival import kaplan_meier
from recart.report.canvas import INK, NEGATIVE, PALETTE, POSITIVE, new_figure, plain
from recart.report.content import ReportFigure

__all__ = ["outcome_figures"]

_GROUPS: Final = ("lowest third of risk", "middle third", "highest third of risk")


def outcome_figures(outcome: OutcomeAssessment) -> tuple[ReportFigure, ...]:
    """Predicted against observed level; or survival by risk group and the AUC over time."""
    if outcome.kind == "ordinal":
        return (_levels(outcome),)
    if np.ptp(outcome.table["score"]) == 0:
        return ()  # nobody is ranked: there are no thirds of risk
    return (_survival(outcome), *_over_time(outcome))


def _levels(outcome: OutcomeAssessment) -> ReportFigure:
    table, levels = outcome.table, outcome.levels
    names = [f"level:{level}" for level in levels]
    told = set(names) <= set(table)
    # without level probabilities, as of two classes, the scores themselves
    along = "level that is expected" if told else "held-out score"
    what = "expectation over the probabilities of the levels" if told else "score"
    figure, axes = new_figure(5.2, 0.9 + 0.45 * len(levels), along, "observed")
    expected = table[names].to_numpy() @ np.arange(len(levels)) if told else table["score"]
    expected = np.asarray(expected, dtype=float)
    observed = table["level"].to_numpy(dtype=int)
    jitter = np.random.default_rng(0).uniform(-0.22, 0.22, len(table))
    axes.scatter(expected, observed + jitter, s=14, color=POSITIVE, alpha=0.6, linewidths=0)
    for level in np.unique(observed):
        middle = np.median(expected[observed == level])
        axes.plot([middle, middle], [level - 0.34, level + 0.34], color=NEGATIVE, linewidth=2)
    axes.set_yticks(range(len(levels)), [plain(level) for level in levels])
    if told:
        axes.set_xticks(range(len(levels)), [plain(level) for level in levels])
        axes.set_xlim(-0.2, len(levels) - 0.8)
    return ReportFigure(
        title=f"Levels of {outcome.name}",
        caption=f"Held-out {what} (a dot each, mean over repeats; spread up and down is for sight "
        f"only) against what was observed. Strokes are medians. {outcome.words}.",
        alt=f"{along.capitalize()} by what was observed of each held-out bag, with medians.",
        figure=figure,
    )


def _survival(outcome: OutcomeAssessment) -> ReportFigure:
    time, event, score = (
        outcome.table[name].to_numpy(dtype=float) for name in ("time", "event", "score")
    )
    group = np.searchsorted(np.quantile(score, [1 / 3, 2 / 3]), score, side="right")
    figure, axes = new_figure(5.2, 3.8, "months", "share without the event")
    for number, (name, line) in enumerate(zip(_GROUPS, ("-", "--", ":"), strict=True)):
        own = group == number
        if not own.any():
            continue
        times, share = kaplan_meier(time[own], event[own])
        last = time[own].max()
        axes.step(
            np.append(times, last),
            np.append(share, share[-1]),
            where="post",
            color=PALETTE[number],
            linestyle=line,
            linewidth=1.8,
            label=f"{name} ({int(own.sum())}, {int(event[own].sum())} events)",
        )
        gone = time[own & (event == 0)]
        at = share[np.searchsorted(times, gone, side="right") - 1]
        axes.plot(gone, at, "|", color=PALETTE[number], markersize=6)
    axes.set(ylim=(0, 1.02), xlim=(0, None))
    axes.legend(frameon=False, fontsize=8, labelcolor=INK, loc="best")
    return ReportFigure(
        title=f"Survival by risk of {outcome.name}",
        caption="Kaplan-Meier curves of thirds by held-out risk; ticks are censored bags. The "
        "groups were made on these same bags, so how far apart they lie is a picture, not a test. "
        f"{outcome.words}.",
        alt="Kaplan-Meier curves of three groups of held-out risk.",
        figure=figure,
    )


def _over_time(outcome: OutcomeAssessment) -> tuple[ReportFigure, ...]:
    named = [(month, f"AUC, month {month:g}") for month in outcome.months]
    values = [(m, name) for m, name in named if np.isfinite(outcome.model.values.get(name, np.nan))]
    if not values:
        return ()
    figure, axes = new_figure(4.6, 3.4, "months", "time-dependent AUC (95% interval)")
    axes.axhline(0.5, color=INK, linewidth=0.7, alpha=0.6, dashes=(2, 3))
    for month, name in values:
        interval = outcome.model.intervals[name]
        axes.plot([month, month], [interval.low, interval.high], color=POSITIVE, linewidth=2)
    axes.plot(
        [month for month, _ in values],
        [outcome.model.values[name] for _, name in values],
        "o-",
        color=POSITIVE,
        linewidth=1,
    )
    axes.set(ylim=(0, 1.02), xlim=(0, None))
    told = "; ".join(f"month {m:g} {outcome.model.values[name]:.2f}" for m, name in values)
    return (
        ReportFigure(
            title=f"AUC over time of {outcome.name}",
            caption="Events up to each month against those followed past it, weighted by the "
            "inverse probability of not being censored. Patient bootstrap.",
            alt=f"Time-dependent AUC: {told}.",
            figure=figure,
        ),
    )
