"""A tracker in a thread of its own: whatever it does, training neither waits for it nor fails."""

from __future__ import annotations

import queue
import threading
from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager, suppress
from typing import Any, Final, final

from recart.problems import InputError
from recart.training.epoch_reports import EpochReport, EpochWatcher

__all__ = ["Aside", "aside"]

_MOST: Final = 100_000  # calls that wait for a tracker; one that hangs gets no more


@final
class Aside(EpochWatcher):
    """Passes what it is told to another watcher, which is opened, called and closed in a thread.

    What goes wrong there is said once; the tracker then gets nothing more.

    Parameters
    ----------
    name
        What the tracker is called in a message.
    opened
        The tracker's watcher; entered, used and left in the thread.
    say
        Given one line on what went wrong.
    limit
        Seconds that `close` waits at most for what was said to be written.
    """

    def __init__(
        self,
        name: str,
        opened: AbstractContextManager[EpochWatcher],
        say: Callable[[str], None],
        limit: float,
    ) -> None:
        self._name = name
        self._opened = opened
        self._say = say
        self._limit = limit
        self._calls: queue.Queue[tuple[str, tuple[Any, ...]] | None] = queue.Queue(_MOST)
        self._broken = False
        # a daemon: Python ends without it where it hangs
        self._thread = threading.Thread(target=self._work, daemon=True, name=f"tracker {name}")
        self._thread.start()

    def start(self, members: Mapping[str, int], epochs: int) -> None:
        """Pass on that jobs begin."""
        self._pass("start", dict(members), epochs)

    def advance(self, job: str, report: EpochReport) -> None:
        """Pass on an epoch."""
        self._pass("advance", job, report)

    def end(self, job: str) -> None:
        """Pass on that a job has ended."""
        self._pass("end", job)

    def stop(self) -> None:
        """Pass on that no job runs any more."""
        self._pass("stop")

    def close(self) -> None:
        """Wait until all is written, but no longer than the limit."""
        with suppress(queue.Full):
            self._calls.put_nowait(None)
        self._thread.join(self._limit)
        if self._thread.is_alive() and not self._broken:
            self._broken = True
            self._say(
                f"{self._name}: not done after {self._limit:g} s; what it lacks is in the run's "
                "logs. The training is not touched by it"
            )

    def _pass(self, method: str, *arguments: Any) -> None:
        if not self._broken:
            with suppress(queue.Full):
                self._calls.put_nowait((method, arguments))

    def _work(self) -> None:
        try:
            with self._opened as watcher:
                while (call := self._calls.get()) is not None:
                    method, arguments = call
                    getattr(watcher, method)(*arguments)
        except Exception as error:
            self._broken = True
            self._say(f"{self._name}: {_in_words(error)}. The training goes on without it")


def aside(name: str, action: Callable[[], None], say: Callable[[str], None], limit: float) -> None:
    """Do one thing with a tracker in a thread, and wait for it no longer than `limit` seconds."""
    over = threading.Event()

    def work() -> None:
        try:
            action()
        except Exception as error:
            say(f"{name}: {_in_words(error)}")
        finally:
            over.set()

    threading.Thread(target=work, daemon=True, name=f"tracker {name}").start()
    if not over.wait(limit):
        say(f"{name}: not done after {limit:g} s; what it lacks is in the run's folder")


def _in_words(error: Exception) -> str:
    if isinstance(error, InputError):
        return str(error.problems[0])
    lines = str(error).strip().splitlines()
    return f"{type(error).__name__}: {lines[0]}" if lines else type(error).__name__
