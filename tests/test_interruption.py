"""Signals: heard at once, or after a step."""

from __future__ import annotations

import os
import signal
import threading

import pytest

from recart.interruption import (
    Interrupted,
    Postponed,
    goes_on_with,
    heard_after,
    interruptible,
)

HEARD = [signal.SIGINT, signal.SIGTERM, signal.SIGUSR1]


@pytest.mark.parametrize("number", HEARD)
def test_a_signal_ends_what_runs(number: int) -> None:
    before = signal.getsignal(number)
    with pytest.raises(Interrupted) as caught, interruptible(), goes_on_with("paths.run=x"):
        os.kill(os.getpid(), number)
    assert caught.value.number == number
    assert caught.value.line.endswith("to go on, run the same command with paths.run=x")
    assert signal.getsignal(number) is before


def test_what_stopped_is_said_in_the_users_words() -> None:
    assert Interrupted(signal.SIGINT).line == "stopped by Ctrl-C"
    assert Interrupted(signal.SIGTERM).line == "stopped by SIGTERM"


def test_it_is_no_exception_that_work_could_catch() -> None:
    assert not issubclass(Interrupted, Exception)
    assert not issubclass(Interrupted, KeyboardInterrupt)  # Lightning would exit with status 1


def test_a_step_is_finished_first() -> None:
    postponed = Postponed()
    postponed.open()
    os.kill(os.getpid(), signal.SIGTERM)
    assert postponed.asked == signal.SIGTERM
    postponed.close()
    assert signal.getsignal(signal.SIGTERM) is signal.SIG_DFL  # those of before hear it again


def test_who_asks_twice_does_not_wait() -> None:
    before = signal.getsignal(signal.SIGINT)
    postponed = Postponed()
    postponed.open()
    try:
        os.kill(os.getpid(), signal.SIGINT)
        with pytest.raises(Interrupted):
            os.kill(os.getpid(), signal.SIGINT)
    finally:
        postponed.close()
    assert signal.getsignal(signal.SIGINT) is before


def test_short_work_is_done_before_a_signal_is_heard() -> None:
    done = []

    def work() -> None:
        with interruptible(), heard_after():
            os.kill(os.getpid(), signal.SIGTERM)
            done.append(True)

    with pytest.raises(Interrupted) as caught:
        work()
    assert done
    assert caught.value.number == signal.SIGTERM


def test_without_a_signal_nothing_is_heard_after() -> None:
    before = [signal.getsignal(number) for number in HEARD]
    with heard_after():
        pass
    assert [signal.getsignal(number) for number in HEARD] == before


def test_what_is_ignored_stays_ignored() -> None:
    before = signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        with interruptible():
            os.kill(os.getpid(), signal.SIGINT)
            assert signal.getsignal(signal.SIGINT) is signal.SIG_IGN
    finally:
        signal.signal(signal.SIGINT, before)


def test_other_threads_change_nothing() -> None:
    heard = []

    def work() -> None:
        postponed = Postponed()
        postponed.open()
        with interruptible():
            heard.append(signal.getsignal(signal.SIGTERM))
        postponed.close()

    thread = threading.Thread(target=work)
    thread.start()
    thread.join()
    assert heard == [signal.SIG_DFL]
