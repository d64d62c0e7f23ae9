"""The lock of a run, with and without a file system that knows locks."""

from __future__ import annotations

import errno
import fcntl
import os
import socket
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from recart.problems import InputError
from recart.training.run_lock import locked


@pytest.fixture
def no_locks(monkeypatch: pytest.MonkeyPatch) -> None:
    """As on Lustre without -o flock: the call itself can't be had here."""

    def refuse(*_: Any) -> None:
        raise OSError(errno.ENOSYS, os.strerror(errno.ENOSYS))

    monkeypatch.setattr(fcntl, "flock", refuse)


def gone() -> int:
    """The number of a process that is no more."""
    process = subprocess.Popen([sys.executable, "-c", ""])
    process.wait()
    return process.pid


def test_a_lock_that_went_with_its_process_is_explained(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "run.lock").write_text("process 12 on elsewhere")
    with locked(tmp_path):
        pass
    assert "process 12 on elsewhere ended without giving this run back" in capsys.readouterr().err
    with locked(tmp_path):
        assert not capsys.readouterr().err
    assert not (tmp_path / "run.lock").read_text()


@pytest.mark.usefixtures("no_locks")
def test_without_locks_a_file_stands_in(tmp_path: Path) -> None:
    with (
        locked(tmp_path),
        pytest.raises(InputError, match=f"E-RUN-005.*process {os.getpid()} on .*is writing"),
        locked(tmp_path),
    ):
        pass
    with pytest.raises(KeyError), locked(tmp_path):
        raise KeyError
    with locked(tmp_path):
        pass
    assert not (tmp_path / "run.lock.held").exists()


@pytest.mark.usefixtures("no_locks")
@pytest.mark.parametrize("here", [True, False])
def test_what_a_killed_process_left_is_explained(tmp_path: Path, *, here: bool) -> None:
    host = socket.gethostname() if here else "elsewhere"
    (tmp_path / "run.lock.held").write_text(f"process {gone()} on {host}")
    words = "is gone and has left" if here else "if it does not run any more, delete"
    with pytest.raises(InputError, match=rf"(?s)E-RUN-005.*{words}"), locked(tmp_path):
        pass
    assert (tmp_path / "run.lock.held").exists()
