"""Numbers as the pages print them."""

from __future__ import annotations

import math

__all__ = ["number", "number_range", "thousands"]


def number(value: float | None, signed: bool = False) -> str:
    """Two digits; a true minus; a dash where there is no number."""
    if value is None or not math.isfinite(value):
        return "\N{EN DASH}"
    text = f"{value:+.2f}" if signed else f"{value:.2f}"
    return text.replace("-", "\N{MINUS SIGN}")


def number_range(pair: tuple[float, float]) -> str:
    """`3`, or `3 to 5`."""
    low, high = pair
    return f"{low:,}" if low == high else f"{low:,} to {high:,}"


def thousands(count: int | None) -> str:
    """With commas; a dash where there is no number."""
    return "\N{EN DASH}" if count is None else f"{count:,}"
