"""What a user sees while cells are embedded: a bar, or lines where there is no terminal."""

from __future__ import annotations

import io

import pytest
from rich.console import Console

from recart.inference import progress
from recart.training import progress as of_training


def _shown(monkeypatch: pytest.MonkeyPatch, console: Console, total: int | None) -> None:
    for module in (progress, of_training):
        monkeypatch.setattr(module, "CONSOLE", console)
    with progress.CellProgress(total, members=2) as bar:
        for _ in range(4):
            bar.begin(250, total)
            bar.advance(250)
            bar.advance(250)


def test_a_line_is_said_now_and_then_without_a_terminal(monkeypatch: pytest.MonkeyPatch) -> None:
    written = io.StringIO()
    _shown(monkeypatch, Console(file=written, soft_wrap=True), 1000)
    lines = written.getvalue().splitlines()
    assert 4 <= len(lines) <= 10
    assert "cells 1,000/1,000" in lines[-1]
    assert "encoded/s" in lines[-1]


def test_a_bar_is_drawn_on_a_terminal(monkeypatch: pytest.MonkeyPatch) -> None:
    written = io.StringIO()
    _shown(monkeypatch, Console(file=written, force_terminal=True, width=100), 1000)
    assert "cells 1,000" in written.getvalue()
    assert "encoded/s" in written.getvalue()


def test_one_part_needs_no_lines(monkeypatch: pytest.MonkeyPatch) -> None:
    written = io.StringIO()
    _shown(monkeypatch, Console(file=written), None)
    assert written.getvalue().strip() == ""
