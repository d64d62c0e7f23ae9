"""Figures of the run behind the numbers: training curves and the latent space."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import pandas as pd
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from recart.evaluation.predictions import FloatArray
from recart.report.canvas import INK, NEGATIVE, PALETTE, POSITIVE, new_figure, plain

__all__ = ["latent", "latent_use", "training_curves"]

# more levels than this are drawn without a legend: the eye cannot match them
_MAX_LEGEND = len(PALETTE)


def training_curves(history: pd.DataFrame) -> Figure:
    """Objective by epoch, one thin line a member and the median over members.

    Parameters
    ----------
    history
        Columns `member`, `epoch`, `elbo_train`, `elbo_validation`; one row per member and epoch,
        NaN where not measured.
    """
    figure, axes = new_figure(4.8, 3.6, "epoch", "ELBO per cell")
    parts = (
        ("elbo_train", NEGATIVE, "training", (4, 1.5)),
        ("elbo_validation", POSITIVE, "inner validation", (1, 0)),
    )
    for column, colour, name, dashes in parts:
        measured = history.dropna(subset=[column])
        for _, member in measured.groupby("member"):
            axes.plot(member["epoch"], member[column], color=colour, linewidth=0.6, alpha=0.3)
        median = measured.groupby("epoch")[column].median()
        axes.plot(median.index, median, color=colour, linewidth=2.2, dashes=dashes, label=name)
    values = history.loc[history["epoch"] > history["epoch"].min(), [part[0] for part in parts]]
    if values.notna().any(axis=None):
        # the first epoch is far off and would flatten the rest
        low, high = np.nanmin(values), np.nanmax(values)
        margin = 0.05 * (high - low) or 1.0
        axes.set_ylim(low - margin, high + margin)
    axes.legend(frameon=False, fontsize=8.5, labelcolor=INK)
    return figure


def latent_use(kl_per_dimension: Mapping[str, Sequence[float]], active: float) -> Figure:
    """What each latent dimension says of a cell: its KL divergence, falling, one line a member.

    Parameters
    ----------
    kl_per_dimension
        Nats a cell of each dimension, by member.
    active
        Nats below which a dimension says nothing: a dashed line.
    """
    figure, axes = new_figure(4.8, 3.6, "latent dimension, by what it says", "KL (nats per cell)")
    for values in kl_per_dimension.values():
        # a collapsed dimension may be 0, which a logarithm can't show
        ordered = np.maximum(sorted(values, reverse=True), active / 100)
        axes.plot(np.arange(1, len(values) + 1), ordered, color=POSITIVE, linewidth=1, alpha=0.6)
    axes.axhline(active, color=INK, linewidth=0.8, dashes=(4, 3))
    axes.set_yscale("log")
    return figure


def latent(coordinates: FloatArray, groups: pd.Series, seed: int = 0) -> Figure:
    """Cells in two dimensions, coloured by a group.

    Parameters
    ----------
    coordinates
        (c, 2) such as a UMAP of the latent means.
    groups
        (c) cell type, patient or outcome; missing values are grey.
    seed
        Order of drawing, so that no group lies on top of the others.

    Notes
    -----
    Eight groups or fewer get a legend; more only share the colours out. Groups go by falling size,
    categories by their own order, with the same colours whichever are there.
    """
    figure, axes = new_figure(4.8, 4.4)
    counts = groups.value_counts()
    if isinstance(groups.dtype, pd.CategoricalDtype):
        counts = counts.sort_index()
    colour_of = {str(name): PALETTE[i % len(PALETTE)] for i, name in enumerate(counts.index)}
    names = [str(name) for name in counts.index[counts > 0]]
    colours = np.array(["#999999" if pd.isna(group) else colour_of[str(group)] for group in groups])
    order = np.random.default_rng(seed).permutation(len(coordinates))
    axes.scatter(
        coordinates[order, 0],
        coordinates[order, 1],
        c=colours[order],
        s=float(np.clip(40_000 / max(len(order), 1), 1.5, 14)),
        alpha=0.7,
        linewidths=0,
        rasterized=True,
    )
    axes.set(xticks=[], yticks=[])
    for side in ("left", "bottom"):
        axes.spines[side].set_visible(False)
    if 0 < len(names) <= _MAX_LEGEND:
        handles = [
            Line2D([], [], marker="o", linestyle="none", color=colour_of[name], label=plain(name))
            for name in names
        ]
        figure.legend(
            handles=handles,
            loc="outside lower center",
            ncols=2 if max(map(len, names)) > 12 else -(-len(names) // -(-len(names) // 4)),
            frameon=False,
            fontsize=8.5,
            labelcolor=INK,
            handletextpad=0.2,
        )
    return figure
