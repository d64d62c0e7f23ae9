"""Refits in threads give what all at once give, and say how long they will take."""

from __future__ import annotations

import io
import threading
import time
from collections.abc import Sequence

import numpy as np
import pytest
import torch
from rich.console import Console
from threadpoolctl import threadpool_info

from recart.config.build import build
from recart.config.compose import compose
from recart.evaluation import refits as module
from recart.evaluation.refit import usual_permutations
from recart.evaluation.refits import Refits
from recart.training import progress

Array = np.ndarray

LABELS = [np.full(3, float(n)) for n in range(20)]


@pytest.fixture
def screen(monkeypatch: pytest.MonkeyPatch) -> io.StringIO:
    """What is written where there is no terminal."""
    written = io.StringIO()
    console = Console(file=written, soft_wrap=True)
    monkeypatch.setattr(progress, "CONSOLE", console)
    monkeypatch.setattr(module, "CONSOLE", console)
    return written


def sums(labels: Sequence[Array]) -> list[float]:
    return [float(own.sum()) for own in labels]


def test_one_by_one_is_all_at_once_in_the_same_order() -> None:
    with Refits(60, "") as refits:
        together = refits.of(sums, LABELS, at_once=None)
        apart = refits.of(sums, LABELS, at_once=1)
        some = refits.of(sums, LABELS, at_once=7)
    assert together == apart == some == [3.0 * n for n in range(20)]


def test_slow_ones_come_one_by_one_from_several_threads_of_one_thread_each(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(module, "allowed_cores", lambda: 3)
    meet, seen = threading.Barrier(3, timeout=30), []

    def fit(labels: Sequence[Array]) -> list[float]:
        threads = {own["num_threads"] for own in threadpool_info()} | {torch.get_num_threads()}
        seen.append((len(labels), threads))
        meet.wait()  # three run at a time, or this never goes on
        return sums(labels)

    before = torch.get_num_threads()
    torch.set_num_threads(2)
    try:
        with Refits(18, "") as refits:
            refits.of(fit, LABELS[:18], at_once=1)
        assert seen == [(1, {1})] * 18
        assert torch.get_num_threads() == 2
    finally:
        torch.set_num_threads(before)


def test_one_that_fails_ends_the_rest(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "allowed_cores", lambda: 1)
    seen = []

    def fit(labels: Sequence[Array]) -> list[float]:
        seen.append(labels[0][0])
        if labels[0][0] == 2:
            raise FloatingPointError("not finite")
        time.sleep(0.05)  # so that the failure is seen before all are done
        return sums(labels)

    with Refits(20, "") as refits, pytest.raises(FloatingPointError, match="not finite"):
        refits.of(fit, LABELS, at_once=1)
    assert len(seen) < 20


def test_a_line_says_how_long_it_will_take_and_how_to_leave_it_out(
    screen: io.StringIO, monkeypatch: pytest.MonkeyPatch
) -> None:
    clock = iter(range(0, 10000, 20))  # a refit takes twenty seconds
    monkeypatch.setattr(module.time, "monotonic", lambda: next(clock))
    monkeypatch.setattr(module, "allowed_cores", lambda: 1)
    with Refits(10, "permutations=0 leaves it out") as refits:
        refits.of(sums, LABELS[:10], at_once=1)
    lines = screen.getvalue().splitlines()
    assert "refits 2/10  about 3 min left  permutations=0 leaves it out" in " ".join(lines)
    assert "refits 8/10  about 40 s left" in lines[-1]
    assert len(lines) == 4  # not more than two a minute


def test_fewer_permutations_of_heads_that_take_long() -> None:
    heads = {
        name: build(compose([f"head={name}"]).head)
        for name in ("prototypes", "attention", "cells", "mixed", "ensemble")
    }
    assert usual_permutations([heads["prototypes"]] * 2) == (199, 4)
    assert usual_permutations([]) == (199, 4)  # nothing is refitted
    for slow in ("attention", "cells", "mixed", "ensemble"):
        assert usual_permutations([heads["prototypes"], heads[slow]]) == (39, 1)
