"""What choosing gained beside what luck alone gives, in a line for the terminal."""

from __future__ import annotations

import math
from collections.abc import Iterable

import numpy as np

from recart.sweep.selection import Selection

__all__ = ["gain_line"]


def gain_line(chances: Iterable[Selection]) -> str:
    """The line, of means over folds; `chances` are what luck gives in each."""
    own = list(chances)
    gain, luck, low, high = (
        float(np.mean([getattr(one, name) for one in own]))
        for name in ("gain", "by_chance", "low", "high")
    )
    words = f"choosing gained {gain:.3f} of inner loss over the mean of all trials"
    if math.isnan(luck):
        return f"{words}; what luck alone gives is not known here"
    more = "more than luck explains" if gain > high else "no more than luck explains"
    return f"{words}; luck alone gives {luck:.3f} (95 %: {low:.3f} to {high:.3f}): {more}"
