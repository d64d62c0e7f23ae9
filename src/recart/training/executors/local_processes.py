"""Jobs in processes of this machine, one process a job, each on one thread.

Processes are forked from a server that has imported what jobs need and has done nothing else. The
imports are then made once and their memory is shared, and no process is forked from one that has
used a pool of OpenMP threads, which can hang.
"""

from __future__ import annotations

import gc
import importlib
import multiprocessing
import os
import signal
import sys
import threading
import time
from collections.abc import Generator, Iterable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from functools import partial
from multiprocessing import forkserver
from multiprocessing.connection import Connection, wait
from multiprocessing.context import ForkServerProcess
from types import FrameType, ModuleType
from typing import Any, Final, final

from recart.training.executors.cores import allowed_cores
from recart.training.executors.executor import (
    Executor,
    Failure,
    Job,
    JobReport,
    Outcome,
    failure_of,
)

__all__ = ["LocalProcesses"]

_ONE_THREAD: Final = {
    **dict.fromkeys(("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS"), "1"),
    "OMP_WAIT_POLICY": "PASSIVE",
}
_SERVER_START: Final = "recart.training.executors.server_start"
# seconds between asking a process to end, which writes a state, and killing it
_GRACE: Final = 25.0
_REPORT, _VALUE, _FAILURE = range(3)  # what a process sends


@final
class LocalProcesses(Executor):
    """One process a job.

    A process that dies is told from one that failed, by its exit code or signal. Interrupting or
    terminating this process ends the others at once; they also end by themselves when it is killed.

    Parameters
    ----------
    processes
        At a time; None starts one for each core that this process may use.

    Raises
    ------
    ValueError
        If it is less than 1.
    """

    def __init__(self, processes: int | None) -> None:
        if processes is not None and processes < 1:
            raise ValueError(f"{processes} processes; at least 1, or null for one a core")
        self.processes = processes

    @property
    def places(self) -> int:
        """Processes at a time."""
        return self.processes or allowed_cores()

    @property
    def elsewhere(self) -> None:
        """Here."""
        return None

    def prepare(self, imports: Sequence[str]) -> None:
        """Start the server of processes. It is heard once: one that runs imports nothing more."""
        # a module that can't be imported is left to the job that needs it
        names = [_SERVER_START, __name__, "torch", "threadpoolctl", *imports]
        multiprocessing.set_forkserver_preload(names)
        with _environment(), _without_main():
            forkserver.ensure_running()

    def forget(self) -> None:
        """End the server of processes; another is started when it is needed."""
        # multiprocessing ends it by closing a pipe, which it reads when it has imported everything
        server = getattr(forkserver, "_forkserver", None)
        number = getattr(server, "_forkserver_pid", None)
        if number is not None:
            with suppress(ProcessLookupError, ChildProcessError):
                os.kill(number, signal.SIGTERM)
                # until it is gone, and still there for multiprocessing to see that it is
                os.waitid(os.P_PID, number, os.WEXITED | os.WNOWAIT)

    def run(self, jobs: Iterable[Job], report: JobReport) -> Generator[Outcome]:
        """Yield what becomes of the jobs, in the order in which they end."""
        waiting, running = iter(jobs), list[_Running]()
        with _terminating():
            try:
                while True:
                    while len(running) < self.places and (job := next(waiting, None)):
                        self.prepare(job.imports)
                        running.append(_start(job))
                    if not running:
                        return
                    ready = wait([own.connection for own in running])
                    for own in [own for own in running if own.connection in ready]:
                        outcome = own.receive(report)
                        if outcome is not None:
                            running.remove(own)
                            own.close()
                            yield outcome
            finally:
                _end(running)


@dataclass(frozen=True, kw_only=True)
class _Running:
    """A job, its process, and where what it sends is read."""

    job: Job
    process: ForkServerProcess
    connection: Connection[Any, Any]

    def receive(self, report: JobReport) -> Outcome | None:
        """Read one object; what became of the job, if that is what it says."""
        try:
            kind, content = self.connection.recv()
        except (EOFError, OSError):  # it ended without a word
            self.process.join()
            return Outcome(job=self.job, failure=_of_exit(self.process.exitcode))
        if kind == _REPORT:
            report(self.job, content)
            return None
        self.process.join()
        if kind == _FAILURE:
            return Outcome(job=self.job, failure=content)
        return Outcome(job=self.job, value=content)

    def close(self) -> None:
        self.connection.close()
        self.process.close()


def _start(job: Job) -> _Running:
    context = multiprocessing.get_context("forkserver")
    here, there = context.Pipe(duplex=False)
    process = context.Process(target=_work, args=(job, there), name=job.name, daemon=True)
    with _environment(), _without_main():
        process.start()
    there.close()
    return _Running(job=job, process=process, connection=here)


def _end(running: list[_Running]) -> None:
    """End processes: ask, wait a moment, kill."""
    for own in running:
        own.process.terminate()
    until = time.monotonic() + _GRACE
    for own in running:
        own.process.join(max(0.0, until - time.monotonic()))
        if own.process.is_alive():
            own.process.kill()
            own.process.join()
        own.close()


def _of_exit(code: int | None) -> Failure:
    if code is None or code >= 0:
        return Failure(how=f"its process ended with exit code {code}")
    name = signal.Signals(-code).name
    said = "often a sign that memory ran out" if name == "SIGKILL" else ""
    return Failure(how=f"its process was ended by {name}", said=said)


def _work(job: Job, connection: Connection[Any, Any]) -> None:
    """What a process does."""
    gc.freeze()  # the collector would write into every page that is shared with the server
    gc.enable()
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the parent hears it too, and ends this process
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    threading.Thread(target=_end_with_parent, daemon=True).start()
    import torch
    from threadpoolctl import threadpool_limits

    torch.set_num_threads(1)
    lock = threading.Lock()  # a job may report from its threads

    def send(kind: int, content: Any) -> None:
        with lock:
            connection.send((kind, content))

    for name in job.imports:
        importlib.import_module(name)
    with threadpool_limits(1):
        try:
            value = job.work(partial(send, _REPORT))
        except Exception as error:
            send(_FAILURE, failure_of(error))
        else:
            send(_VALUE, value)
    connection.close()


def _end_with_parent() -> None:
    """Wait until the parent is gone, however it went, and end this process."""
    parent = multiprocessing.parent_process()
    if parent is not None:
        wait([parent.sentinel])
        os._exit(1)


@contextmanager
def _environment() -> Iterator[None]:
    """One thread for the libraries that ask the environment when they are imported."""
    before = {name: os.environ.get(name) for name in _ONE_THREAD}
    os.environ.update(_ONE_THREAD)
    try:
        yield
    finally:
        for name, value in before.items():
            if value is None:
                del os.environ[name]
            else:
                os.environ[name] = value


@contextmanager
def _without_main() -> Iterator[None]:
    """Keep `multiprocessing` from running the user's script again in every process.

    Jobs are made of importable things; the script may be a notebook's, or be without a guard.
    """
    main = sys.modules["__main__"]
    sys.modules["__main__"] = ModuleType("__main__")
    try:
        yield
    finally:
        sys.modules["__main__"] = main


@contextmanager
def _terminating() -> Iterator[None]:
    """Unwind on SIGTERM, so that processes are ended and files closed; signal 15 gives 143."""

    def unwind(number: int, _frame: FrameType | None) -> None:
        raise SystemExit(128 + number)

    here = threading.current_thread() is threading.main_thread()
    if not here or signal.getsignal(signal.SIGTERM) is not signal.SIG_DFL:  # somebody does already
        yield
        return
    before = signal.signal(signal.SIGTERM, unwind)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)
