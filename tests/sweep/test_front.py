"""Trials that no other is better than."""

from __future__ import annotations

from recart.sweep.front import front
from recart.sweep.scores import TrialScore

NAMES = ["inner_loss", "encoder_loss"]


def test_the_front_holds_what_nothing_dominates() -> None:
    pairs = [(3.0, 3.0), (1.0, 5.0), (2.0, 2.0), (2.0, 2.0), (1.0, 6.0), (5.0, 1.0)]
    scores = [
        TrialScore(trial=k, fold="f", state="complete", scores=dict(zip(NAMES, pair, strict=True)))
        for k, pair in enumerate(pairs)
    ]
    scores.append(TrialScore(trial=6, fold="f", state="failed"))
    assert front(scores, NAMES) == {1, 2, 3, 5}
    assert front(scores, NAMES[:1]) == {1, 4}
    assert front([], NAMES) == set()
