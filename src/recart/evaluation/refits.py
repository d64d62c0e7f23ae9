"""Heads fitted to many labellings: in threads, with the time left."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed
from typing import Any, Final, Self, TypeVar, final

import numpy as np
from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn

from recart.training.executors.cores import allowed_cores
from recart.training.one_thread import one_thread_each
from recart.training.progress import CONSOLE, say

__all__ = ["Refits"]

Array = np.ndarray[Any, np.dtype[Any]]
T = TypeVar("T")

_QUIET: Final = 30.0  # seconds between lines where there is no terminal


@final
class Refits:
    """The refits of one test, of which there are `total`, and the bar that tells how far it is.

    `hint` says how to have fewer. Where there is no terminal, a line says the same twice a minute.
    """

    def __init__(self, total: int, hint: str) -> None:
        self._total, self._hint, self._done = total, hint, 0
        self._started = self._told = time.monotonic()
        self._bar = Progress(
            TextColumn("refits {task.completed:.0f}/{task.total:.0f}"),
            BarColumn(bar_width=None),
            TimeRemainingColumn(),
            TextColumn("{task.description}"),
            console=CONSOLE,
            transient=True,
            disable=not CONSOLE.is_terminal,
        )
        self._task = self._bar.add_task(hint, total=total)

    def __enter__(self) -> Self:
        self._started = self._told = time.monotonic()
        self._bar.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._bar.stop()

    def of(
        self,
        fit: Callable[[Sequence[Array]], Sequence[T]],
        labels: Sequence[Array],
        *,
        at_once: int | None,
    ) -> list[T]:
        """What `fit` gives for each labelling.

        It is given `at_once` of them, in as many threads as there are cores; None gives it all of
        them. The numbers do not depend on the cores.
        """
        if at_once is None:
            found = list(fit(labels))
            self._advance(len(labels))
            return found
        by_place: dict[int, Sequence[T]] = {}
        starts = range(0, len(labels), at_once)
        with one_thread_each(), ThreadPoolExecutor(allowed_cores()) as pool:
            places = {pool.submit(fit, labels[i : i + at_once]): i for i in starts}
            try:
                for done in as_completed(places):
                    by_place[places[done]] = done.result()
                    self._advance(len(done.result()))
            except BaseException:
                pool.shutdown(wait=False, cancel_futures=True)  # those that run are waited for
                raise
        return [own for start in starts for own in by_place[start]]

    def _advance(self, count: int) -> None:
        self._done += count
        self._bar.update(self._task, completed=self._done)
        now = time.monotonic()
        if CONSOLE.is_terminal or now - self._told < _QUIET or self._done == self._total:
            return
        self._told = now
        left = (now - self._started) * (self._total - self._done) / self._done
        span = f"{left:.0f} s" if left < 120 else f"{left / 60:.0f} min"
        say(f"refits {self._done}/{self._total}  about {span} left  {self._hint}")
