"""One display for all jobs."""

from __future__ import annotations

import io

import pytest
from rich.console import Console

from recart.training import progress
from recart.training.epoch_reports import EpochReport
from recart.training.progress import TrainingProgress


def report(epoch: int, rna: float, done: int = 0) -> EpochReport:
    means = {"validation/rna": rna, "validation/receptor": 0.0, "members_done": float(done)}
    return EpochReport(epoch=epoch, step=0, means=means)


@pytest.fixture
def screen(monkeypatch: pytest.MonkeyPatch) -> io.StringIO:
    """What is written where there is no terminal."""
    written = io.StringIO()
    monkeypatch.setattr(progress, "CONSOLE", Console(file=written, soft_wrap=True))
    return written


def test_lines_say_what_all_members_have_done(screen: io.StringIO) -> None:
    display = TrainingProgress(every=2)
    display.start({"a": 1, "b, c": 2}, epochs=4)
    display.advance("a", report(0, 100.0))
    display.advance("b, c", report(0, 300.0))
    assert screen.getvalue() == ""  # one epoch of each: no line before two
    display.advance("a", report(1, 100.0))
    display.advance("b, c", report(1, 300.0, done=1))  # its other two epochs are not needed
    (line,) = screen.getvalue().splitlines()
    assert "epochs 8/12  1/3 members done  rna 200  " in line
    assert "receptor" not in line
    assert " epochs/s  at most " in line
    display.end("a")
    display.end("b, c")
    display.stop()
    assert "epochs 12/12  3/3 members done" in screen.getvalue().splitlines()[-1]
    assert len(screen.getvalue().splitlines()) == 2


def test_the_time_left_is_that_of_the_epochs_that_were_trained(
    screen: io.StringIO, monkeypatch: pytest.MonkeyPatch
) -> None:
    clock = iter(range(0, 1000, 10))  # an epoch of all three takes ten seconds
    monkeypatch.setattr(progress.time, "monotonic", lambda: next(clock))
    display = TrainingProgress(every=1)
    display.start({"a": 3}, epochs=6)
    display.advance("a", report(0, 1.0))
    assert "0.3 epochs/s  at most 50 s left" in screen.getvalue()
    display.advance("a", report(1, 1.0, done=2))
    # 6 epochs in 20 s; one member has 4 left
    assert "0.3 epochs/s  at most 13 s left" in screen.getvalue()


def test_a_bar_on_a_terminal(monkeypatch: pytest.MonkeyPatch) -> None:
    written = io.StringIO()
    console = Console(file=written, force_terminal=True, width=120, height=30)
    monkeypatch.setattr(progress, "CONSOLE", console)
    display = TrainingProgress(every=1)
    display.start({"a": 1, "b": 1}, epochs=2)
    display.advance("a", report(0, 41.0))
    display.advance("b", report(0, 43.0))
    display.stop()
    display.stop()  # closed is closed
    text = written.getvalue()
    assert "epochs 2/4" in text
    assert "rna 42" in text
    assert "0/2 members done" in text


def test_members_are_counted_where_no_encoder_is_trained(screen: io.StringIO) -> None:
    display = TrainingProgress(every=2)
    display.start({"a": 1, "b": 2}, epochs=0)
    display.end("b")
    display.end("a")
    display.stop()
    lines = [line.split(" ", 1)[1] for line in screen.getvalue().splitlines()]
    assert lines == ["members 2/3", "members 3/3"]
