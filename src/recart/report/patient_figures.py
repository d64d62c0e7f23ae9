"""Figures of one patient: what drives the score, composition against the cohort, a map of cells."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from recart.report.canvas import INK, NEGATIVE, POSITIVE, new_figure
from recart.report.patient_words import TOLD, group_words

__all__ = ["Composition", "StatesBehind", "cell_map", "composition", "drivers", "states"]

_WIDE = 34  # letters of a name over a line
_STATES = 8  # whose parts of the score are shown
# how a text over a line looks
_OVER_LINE: dict[str, Any] = {
    "xytext": (0, 8),
    "textcoords": "offset points",
    "fontsize": 8.5,
    "color": INK,
}


@dataclass(frozen=True, kw_only=True)
class Composition:
    """Shares of cell states of one patient against those of the training patients.

    All arrays are (k), centred log-ratios: of the patient, and of the training patients their mean,
    the second lowest and the second highest. `patients` is how many of these there were, None where
    that is not known.
    """

    names: Sequence[str]
    own: np.ndarray[Any, Any]
    mean: np.ndarray[Any, Any]
    low: np.ndarray[Any, Any]
    high: np.ndarray[Any, Any]
    patients: int | None

    @property
    def by_chance(self) -> float | None:
        """States in which one more patient like the others would lie outside, on average."""
        if self.patients is None:
            return None
        return min(1.0, 4 / (self.patients + 1)) * len(self.names)

    @property
    def share(self) -> np.ndarray[Any, Any]:
        """(k) share of the patient's cells."""
        return _shares(self.own)

    @property
    def usual(self) -> np.ndarray[Any, Any]:
        """(k) share at the mean of the training patients."""
        return _shares(self.mean)

    @property
    def outside(self) -> int:
        """States of which the patient has less or more than nearly all training patients."""
        return int(((self.own < self.low) | (self.own > self.high)).sum())

    def most_unlike(self, count: int) -> np.ndarray[Any, Any]:
        """States that depart most from the mean, by the width of the range; most first."""
        width = np.maximum(self.high - self.low, 1e-9)
        return np.argsort(-np.abs(self.own - self.mean) / width, kind="stable")[:count]


@dataclass(frozen=True, kw_only=True)
class StatesBehind:
    """What each cell state (k) adds to the score: the mean and SD over `members` models."""

    names: Sequence[str]
    added: np.ndarray[Any, Any]
    sd: np.ndarray[Any, Any]
    members: int

    @property
    def largest(self) -> list[int]:
        """States that add something to be seen, most first."""
        order = np.argsort(-np.abs(self.added), kind="stable")
        return [int(k) for k in order[:_STATES] if abs(self.added[k]) >= TOLD]


def drivers(groups: Sequence[Mapping[str, Any]], positive: str, negative: str, unit: str) -> Figure:
    """What each group of features adds, with the spread over members."""
    rows = sorted(groups, key=lambda row: -abs(row["contribution"]))
    return _bars(
        [(group_words(row["group"]), row["contribution"], row["sd"]) for row in rows],
        _directions(positive, negative, unit),
    )


def states(shown: StatesBehind, positive: str, negative: str, unit: str) -> Figure:
    """What the cell states that matter most add, with the spread over members, largest first."""
    return _bars(
        [
            (_cut(shown.names[k], _WIDE), float(shown.added[k]), float(shown.sd[k]))
            for k in shown.largest
        ],
        _directions(positive, negative, unit),
    )


def _directions(positive: str, negative: str, unit: str) -> str:
    left, right = f"\N{LEFTWARDS ARROW} {_cut(negative)}", f"{_cut(positive)} \N{RIGHTWARDS ARROW}"
    return f"{left}    {unit}    {right}"


def _bars(rows: Sequence[tuple[str, float, float]], label: str) -> Figure:
    """A bar for each name and value, with a line of its SD, where there is one."""
    figure, axes = new_figure(4.8, 1.0 + 0.42 * len(rows), label)
    axes.axvline(0, color=INK, linewidth=0.7, alpha=0.6)
    reach = max([abs(value) + sd for _, value, sd in rows] or [0]) * 1.08 or 1.0
    for height, (name, value, sd) in enumerate(rows):
        colour = POSITIVE if value > 0 else NEGATIVE
        axes.barh(height, value, height=0.34, color=colour, alpha=0.85, linewidth=0)
        if sd:
            ends = [value - sd, value + sd]
            axes.plot(ends, [height, height], color=INK, linewidth=1.1, alpha=0.7)
        axes.annotate(name, (-reach, height), **_OVER_LINE)
        told = f"{value:+.2f}".replace("-", "\N{MINUS SIGN}")
        axes.annotate(told, (reach, height), ha="right", **_OVER_LINE)
    axes.set(xlim=(-reach, reach), ylim=(len(rows) - 0.5, -0.8), yticks=[])
    axes.spines["left"].set_visible(False)
    return figure


def composition(shown: Composition, count: int, unit: str) -> Figure:
    """The states that depart most from the training patients or samples, each with their range."""
    states = shown.most_unlike(count)
    figure, axes = new_figure(
        4.8, 1.0 + 0.42 * len(states), "less than other states    log ratio    more"
    )
    low = float(min(shown.low[states].min(), shown.own[states].min()))
    high = float(max(shown.high[states].max(), shown.own[states].max()))
    margin = 0.06 * (high - low) or 1.0
    left, right = low - margin, high + margin
    for height, k in enumerate(states):
        inside = shown.low[k] <= shown.own[k] <= shown.high[k]
        axes.plot(
            [shown.low[k], shown.high[k]],
            [height] * 2,
            color=INK,
            alpha=0.22,
            linewidth=6,
            solid_capstyle="round",
        )
        axes.plot([shown.mean[k]] * 2, [height - 0.16, height + 0.16], color=INK, linewidth=1.2)
        axes.plot(
            shown.own[k],
            height,
            "o" if inside else "D",
            color=POSITIVE if inside else NEGATIVE,
            ms=6,
        )
        axes.annotate(_cut(shown.names[k], _WIDE), (left, height), **_OVER_LINE)
        told = f"{_percent(shown.share[k])}, usual {_percent(shown.usual[k])}"
        axes.annotate(told, (right, height), ha="right", **_OVER_LINE)
    axes.set(xlim=(left, right), ylim=(len(states) - 0.5, -0.8), yticks=[])
    axes.spines["left"].set_visible(False)
    handles = [
        Line2D([], [], color=INK, alpha=0.22, linewidth=6, label=f"training {unit}s"),
        Line2D([], [], color=POSITIVE, marker="o", linestyle="none", label=f"this {unit}"),
        Line2D([], [], color=NEGATIVE, marker="D", linestyle="none", label="outside"),
    ]
    figure.legend(
        handles=handles,
        loc="outside lower center",
        ncols=3,
        frameon=False,
        fontsize=8.5,
        labelcolor=INK,
    )
    return figure


def cell_map(
    reference: np.ndarray[Any, Any],
    cells: np.ndarray[Any, Any],
    strange: np.ndarray[Any, Any] | None,
    unit: str,
) -> Figure:
    """Cells of the patient over the points of the reference; those out of distribution apart.

    Parameters
    ----------
    reference, cells
        (n, 2) and (c, 2) places.
    strange
        (c) whether a cell is unlike the training cells; None where nobody judged.
    unit
        What the cells are of: `patient` or `sample`.
    """
    figure, axes = new_figure(4.8, 4.4)
    axes.scatter(
        reference[:, 0], reference[:, 1], s=7, color=INK, alpha=0.16, linewidths=0, rasterized=True
    )
    odd = np.zeros(len(cells), dtype=bool) if strange is None else strange
    size = float(np.clip(6000 / max(len(cells), 1), 9, 30))
    axes.scatter(
        cells[~odd, 0],
        cells[~odd, 1],
        s=size,
        color=POSITIVE,
        alpha=0.8,
        linewidths=0,
        rasterized=True,
    )
    handles = [
        Line2D([], [], marker="o", linestyle="none", color=INK, alpha=0.3, label="what is known"),
        Line2D([], [], marker="o", linestyle="none", color=POSITIVE, label=f"this {unit}"),
    ]
    if strange is not None:
        axes.scatter(
            cells[odd, 0],
            cells[odd, 1],
            s=size,
            color=NEGATIVE,
            marker="D",
            linewidths=0,
            rasterized=True,
        )
        handles.append(
            Line2D([], [], marker="D", linestyle="none", color=NEGATIVE, label="unlike it")
        )
    axes.set(xticks=[], yticks=[])
    for side in ("left", "bottom"):
        axes.spines[side].set_visible(False)
    figure.legend(
        handles=handles,
        loc="outside lower center",
        ncols=3,
        frameon=False,
        fontsize=8.5,
        labelcolor=INK,
        handletextpad=0.2,
    )
    return figure


def _shares(ratios: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
    part = np.exp(ratios - ratios.max())
    share: np.ndarray[Any, Any] = part / part.sum()
    return share


def _percent(share: float) -> str:
    return f"{100 * share:.1f} %" if share >= 0.001 else "< 0.1 %"


def _cut(text: str, letters: int = 22) -> str:
    short = text if len(text) <= letters else f"{text[: letters - 1]}\N{HORIZONTAL ELLIPSIS}"
    return short.replace("$", r"\$")
