"""Ctrl-C, SIGTERM and SIGUSR1: where work is cut off, and where it first finishes a step."""

from __future__ import annotations

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType
from typing import Any, Final, final

__all__ = ["Interrupted", "Postponed", "goes_on_with", "heard_after", "interruptible"]

# SIGUSR1 is what batch systems send some time before they end a job
_HEARD: Final = (signal.SIGINT, signal.SIGTERM, signal.SIGUSR1)


@final
class Interrupted(BaseException):
    """The process was asked to stop.

    Attributes
    ----------
    number
        Of the signal; a process that it ends has exit status 128 + `number`.
    goes_on_with
        What goes on where this stopped, added to the same command; empty where nothing does.
    """

    def __init__(self, number: int, goes_on_with: str = "") -> None:
        super().__init__(signal.Signals(number).name)
        self.number = number
        self.goes_on_with = goes_on_with

    @property
    def line(self) -> str:
        """For the user: what has stopped it, and how to go on."""
        name = "Ctrl-C" if self.number == signal.SIGINT else signal.Signals(self.number).name
        if not self.goes_on_with:
            return f"stopped by {name}"
        return f"stopped by {name}; to go on, run the same command with {self.goes_on_with}"


@contextmanager
def interruptible() -> Iterator[None]:
    """Raise `Interrupted` wherever this process is when a signal asks it to stop.

    Signals that are ignored stay so. In another thread than the main one nothing is changed.
    """

    def stop(number: int, _frame: FrameType | None) -> None:
        raise Interrupted(number)

    with _handled_by(stop):
        yield


@contextmanager
def goes_on_with(settings: str) -> Iterator[None]:
    """Where it stops inside: say that the same command goes on with these settings added."""
    try:
        yield
    except Interrupted as stop:
        stop.goes_on_with = settings
        raise


@final
class Postponed:
    """Notes that the process was asked to stop, for work that wants to finish a step.

    `asked` is the signal's number, None before. A second signal raises `Interrupted` at once. To be
    made and closed in the main thread; elsewhere it hears nothing.
    """

    def __init__(self) -> None:
        self.asked: int | None = None
        self._handlers: Any = None

    def open(self) -> None:
        """Begin to note."""

        def note(number: int, _frame: FrameType | None) -> None:
            if self.asked is not None:
                raise Interrupted(number)
            self.asked = number

        self.close()
        self.asked = None
        self._handlers = _handled_by(note)
        self._handlers.__enter__()

    def close(self) -> None:
        """Let those who handled the signals before handle them again."""
        if self._handlers is not None:
            handlers, self._handlers = self._handlers, None
            handlers.__exit__(None, None, None)


@contextmanager
def heard_after() -> Iterator[None]:
    """Hear signals only when the work inside is done: for libraries that lose what handlers raise.

    The work is to be short.
    """
    postponed = Postponed()
    postponed.open()
    try:
        yield
    finally:
        postponed.close()
    if postponed.asked is not None:
        signal.raise_signal(postponed.asked)


@contextmanager
def _handled_by(handler: Any) -> Iterator[None]:
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = {number: signal.getsignal(number) for number in _HEARD}
    changed = [number for number, own in before.items() if own is not signal.SIG_IGN]
    for number in changed:
        signal.signal(number, handler)
    try:
        yield
    finally:
        for number in changed:
            signal.signal(number, before[number])
