"""The goals of the head benchmark: met, missed and by how much, or not run."""

from __future__ import annotations

from collections.abc import Iterator

import pandas as pd
from heads_block import HIDDEN, SIMPLE, Block

__all__ = ["goal_lines"]

_NEAR, _ABOVE, _NULL, _GAP, _MELANOMA = 0.02, 0.10, 0.03, 0.10, 0.84

Checks = list[tuple[bool, str]]


def goal_lines(
    blocks: dict[tuple[int, float], Block], real: pd.DataFrame, heads: list[str], default: str
) -> Iterator[str]:
    """Each goal, how often it is met, and where it is missed."""
    near: Checks = []
    above: Checks = []
    null: Checks = []
    gap: Checks = []
    for (patients, strength), block in blocks.items():
        where = f"n={patients} s={strength:g}"
        for mechanism in block.mechanisms:
            if mechanism == "null":
                means = block.entries(mechanism).mean()
                null += [
                    (abs(value - 0.5) <= _NULL, f"{head} {value:.3f}, {where}")
                    for head, value in means.items()
                    if head in heads
                ]
                continue
            name, behind = block.best(mechanism)
            near.append(
                (behind.mean() >= -_NEAR, f"{mechanism}, {where}: {behind.mean():+.3f} to {name}")
            )
            name, ahead = block.best(mechanism, SIMPLE)
            if mechanism.partition(" of ")[0] in HIDDEN:  # of more cells
                above.append(
                    (ahead.mean() >= _ABOVE, f"{mechanism}, {where}: {ahead.mean():+.3f} to {name}")
                )
            if patients == 96 and strength == 1:
                own = block.gap(mechanism).mean()
                gap.append((own <= _GAP, f"{mechanism} {own:.3f}"))
    yield from _goal(f"default within {_NEAR} of the best entry, where there is a signal", near)
    yield from _goal(
        f"default {_ABOVE} above the best of {', '.join(SIMPLE)}, hidden signals", above
    )
    yield from _goal(f"every head within .50 +- {_NULL} on the null", null)
    yield from _goal(f"oracle gap at 96 patients and strength 1 at most {_GAP}", gap)
    yield from _goal(
        f"real: default not below baselines, {_MELANOMA} on melanoma", _real(real, default)
    )


def _real(real: pd.DataFrame, default: str) -> Checks:
    found: Checks = []
    for cohort, own in real.groupby("mechanism"):
        auroc = own.set_index("entry")["auroc"]
        rivals = auroc[[name for name in auroc.index if " only" in name or name in _BASELINES]]
        if default not in auroc or not len(rivals):
            continue
        best, ahead = rivals.idxmax(), auroc[default] - rivals.max()
        found.append((ahead >= 0, f"{cohort}: {ahead:+.3f} to {best}"))
        if cohort.startswith("melanoma"):
            found.append((auroc[default] >= _MELANOMA, f"{cohort}: {auroc[default]:.3f}"))
    return found


_BASELINES = ("composition", "cluster means", "pseudobulk")


def _goal(name: str, checks: Checks) -> Iterator[str]:
    missed = [text for met, text in checks if not met]
    said = "not run" if not checks else "missed" if missed else "met"
    yield f"{said:8}{name} ({len(checks) - len(missed)} of {len(checks)})"
    yield from (f"          {own}" for own in missed)
