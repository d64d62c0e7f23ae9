"""Posterior collapse: which dimensions of `z` say anything of a cell."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Final

__all__ = ["ACTIVE", "active_dimensions", "collapse_warning", "kept_row"]

ACTIVE: Final = 0.01  # nats: below, a dimension is the prior's
_FEW: Final = 1  # active dimensions of a member that has collapsed, at most


def active_dimensions(kl_per_dimension: Sequence[float]) -> int:
    """How many dimensions have a mean KL divergence from the prior above 0.01 nats a cell."""
    return sum(kl > ACTIVE for kl in kl_per_dimension)


def kept_row(history: Iterable[Mapping[str, Any]]) -> Mapping[str, Any] | None:
    """The epoch of the least loss, whose weights are kept; None where no KL was written down."""
    rows = [row for row in history if "active_dimensions" in row]
    return min(rows, key=lambda row: row["loss_validation"]) if rows else None


def collapse_warning(histories: Mapping[str, Iterable[Mapping[str, Any]]]) -> str | None:
    """What to tell of members whose best epoch had one active dimension or none; None: nothing.

    Parameters
    ----------
    histories
        History of each member by its name. The best epoch is the one of the least loss.
    """
    collapsed = {}
    for name, history in histories.items():
        best = kept_row(history)
        if best is not None and best["active_dimensions"] <= _FEW:
            collapsed[name] = best["active_dimensions"]
    if not collapsed:
        return None
    listed = ", ".join(f"{name} ({active})" for name, active in collapsed.items())
    return (
        f"posterior collapse: latents of {listed} have at most {_FEW} active dimension, so they "
        "say little of a cell; raise training.warmup_epochs, or lower model.latent or training.lr"
    )
