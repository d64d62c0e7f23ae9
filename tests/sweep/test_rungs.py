"""Trials that were given up on their way cost nothing more."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

from recart.sweep.rungs import Watch


def test_only_trials_that_go_on_are_looked_at() -> None:
    asked: list[list[int]] = []
    found = {1: [0.5, 0.9, math.nan, 0.6], 2: [0.4, 0.1, 0.1, 0.7], 3: [0.3, 0.1, 0.1, 0.1]}

    def look(features: Any, state: Any, epochs: int, trials: Sequence[int]) -> list[float]:  # noqa: ARG001
        asked.append(list(trials))
        return [found[epochs][trial] for trial in trials]

    watch = Watch(look, {1: 0.7, 2: 0.5}, 4)
    for epochs in found:
        watch.see(None, {}, epochs)  # type: ignore[arg-type]
    assert asked == [[0, 1, 2, 3], [0, 3], [0]]
    assert watch.pruned == [False, True, True, True]
    assert watch.curves[0] == {1: 0.5, 2: 0.4, 3: 0.3}
    assert watch.curves[3] == {1: 0.6, 2: 0.7}
