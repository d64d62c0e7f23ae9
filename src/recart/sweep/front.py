"""Which trials of a fold no other trial is better than in every objective."""

from __future__ import annotations

from collections.abc import Sequence

from recart.sweep.scores import TrialScore

__all__ = ["front"]


def front(scores: Sequence[TrialScore], objectives: Sequence[str]) -> set[int]:
    """Numbers of the complete trials that are not dominated.

    A trial is dominated where another is at most as large in all objectives and smaller in one;
    equal trials stand beside each other.
    """
    values = {
        own.trial: tuple(own.scores[name] for name in objectives)
        for own in scores
        if own.state == "complete"
    }
    return {
        trial
        for trial, own in values.items()
        if not any(
            other != own and all(a <= b for a, b in zip(other, own, strict=True))
            for other in values.values()
        )
    }
