"""How the time of an epoch grows with cells, genes, members of a stack and patients, as a plot.

One of the four is varied at a time, doubling; the others stay as they are. Non-zeros grow with
genes. More members are further models in one stack; more patients
are the same cells dealt to more of them. Each point is the median over runs of the median epoch
after the first, validation included, in CPU seconds on one thread. The exponent is the slope of the
logarithms: 1 is proportional, 0 is no growth. A fixed price of each step and epoch lowers it.

    python benchmarks/growth.py [--plot benchmarks/growth.svg] [--doublings 4] [--runs 3]
"""

from __future__ import annotations

import argparse
import sys
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from cells import bags_of, member_of, random_store
from clocks import Epochs
from contenders import quiet, recipes, settings

from recart.data.store import CohortStore
from recart.training.jobs import train_encoders
from recart.training.trainer import quiet_lightning

PROTEINS, EPOCHS = 50, 3
INK, LINE, MUTED = "#1a1a1a", "#2a6f97", "#8a8a8a"


@dataclass(frozen=True)
class Shape:
    """What a training is given; a quarter of the patients is for validation."""

    cells: int
    genes: int
    members: int
    patients: int


def seconds(shape: Shape, store: CohortStore, batch: int) -> float:
    """CPU seconds of an epoch."""
    everyone = tuple(range(shape.patients))
    held = shape.patients // 4
    clock, trainer = Epochs(), settings()
    with quiet_lightning():
        train_encoders(
            [
                member_of(f"m{i}", everyone[held:], everyone[:held], seed=i)
                for i in range(shape.members)
            ],
            store,
            bags_of(store),
            recipes(shape.genes, epochs=EPOCHS, batch=batch),
            lambda epochs: trainer.make(epochs, [], [clock], Path()),
        )
    return float(clock.seconds()[0])


def plot(measured: dict[str, tuple[list[int], list[float]]], path: Path, title: str) -> None:
    """One panel a quantity, both axes logarithmic and of one scale."""
    import matplotlib as mpl
    from matplotlib.figure import Figure
    from matplotlib.ticker import LogLocator, StrMethodFormatter

    low = min(min(times) for _, times in measured.values())
    high = max(max(times) for _, times in measured.values())
    with mpl.rc_context({"svg.fonttype": "none", "font.size": 9, "svg.hashsalt": "growth"}):
        figure = Figure(figsize=(10, 3.2), layout="constrained")
        axes = figure.subplots(1, len(measured), sharey=True)
        for panel, (name, (values, times)) in zip(axes, measured.items(), strict=True):
            at = np.array(values, dtype=float)
            proportional = times[0] * at / at[0]
            panel.plot(at, proportional, color=MUTED, linestyle=":", linewidth=1)
            panel.plot(at, times, color=LINE, marker="o", markersize=4, linewidth=1.5)
            panel.set(xscale="log", yscale="log", xlabel=name, ylim=(low / 1.5, high * 2))
            panel.set_title(f"exponent {slope(values, times):.2f}", color=INK, fontsize=9)
            panel.set_xticks(values, [f"{v:,}" for v in values], rotation=40, ha="right")
            panel.yaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
            panel.yaxis.set_major_formatter(StrMethodFormatter("{x:g}"))
            panel.minorticks_off()
            panel.spines[["top", "right"]].set_visible(False)
        axes[0].set_ylabel("CPU seconds of an epoch")
        figure.align_xlabels()
        figure.suptitle(title, fontsize=9, color=INK)
        figure.savefig(path, metadata={"Date": None} if path.suffix == ".svg" else None)


def slope(values: list[int], times: list[float]) -> float:
    """Of log time over log value, by least squares."""
    return float(np.polyfit(np.log(values), np.log(times), 1)[0])


def main(options: argparse.Namespace) -> None:
    """Print the table and write the plot."""
    torch.set_num_threads(1)
    quiet()
    start = Shape(options.cells, options.genes, 1, options.patients)
    shapes: dict[str, list[Shape]] = {
        name: [
            replace(start, **{name: getattr(start, name) * 2**i})
            for i in range(options.doublings + 1)
        ]
        for name in ("cells", "genes", "members", "patients")
    }
    taken: dict[Shape, list[float]] = {}
    each = sorted({shape for own in shapes.values() for shape in own}, key=str)
    for shape in each:
        store = random_store(shape.cells, shape.genes, PROTEINS, shape.patients)
        if not taken:
            seconds(shape, store, options.batch)  # loads what it needs
        taken[shape] = [seconds(shape, store, options.batch) for _ in range(options.runs)]
    measured: dict[str, Any] = {
        name: ([getattr(s, name) for s in own], [float(np.median(taken[s])) for s in own])
        for name, own in shapes.items()
    }
    title = (
        f"from {start.cells:,} cells, {start.genes:,} genes, {start.members} member, "
        f"{start.patients} patients; {PROTEINS} proteins, batches of {options.batch}, one thread"
    )
    plot(measured, options.plot, f"{title}; dotted: proportional")
    lines = [f"CPU seconds of an epoch, median of {options.runs} runs; {title}"]
    for name, (values, times) in measured.items():
        points = "  ".join(f"{v:,}: {t:.2f}" for v, t in zip(values, times, strict=True))
        lines.append(f"{name:9s} exponent {slope(values, times):5.2f}   {points}")
    lines.append(f"plot: {options.plot} ({options.plot.stat().st_size / 1000:.0f} kB)")
    sys.stdout.write("\n".join(lines) + "\n")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--plot", type=Path, default=Path(__file__).with_name("growth.svg"))
    for key, default in (("cells", 2_000), ("genes", 500), ("patients", 4), ("batch", 256)):
        parser.add_argument(f"--{key}", type=int, default=default)
    for key, default in (("doublings", 4), ("runs", 3)):
        parser.add_argument(f"--{key}", type=int, default=default)
    main(parser.parse_args())
