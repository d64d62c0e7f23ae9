"""Jobs on a Ray cluster: one that runs already, or one that is started here for this process.

A job is a task of Ray's, on as many cores and parts of GPUs as it is said to need. Workers import
recart themselves, so that it must be installed on every machine, at the same version.
"""

from __future__ import annotations

import importlib
import importlib.util
import logging
import os
import signal
import socket
import threading
from collections.abc import Generator, Iterable, Sequence
from contextlib import suppress
from typing import Any, Final, final

from recart.interruption import heard_after
from recart.problems import InputError, Problem
from recart.training.executors.cores import allowed_cores
from recart.training.executors.executor import (
    Elsewhere,
    Executor,
    Failure,
    Job,
    JobReport,
    Outcome,
    failure_of,
)

__all__ = ["Mailbox", "RayCluster"]

_LOOK: Final = 0.2  # seconds between looks for reports while no job ends
_KNOCK: Final = 10.0  # seconds for a cluster to take a connection
_GRACE: Final = 10.0  # seconds for cancelled jobs to be gone
# Jobs read the cohort from files: little goes through the memory that Ray shares.
_OBJECTS: Final = 100 * 2**20


@final
class RayCluster(Executor):
    """One task a job.

    Parameters
    ----------
    address
        Of a cluster that runs, `host:port`, or `auto` for one that `ray start` has started on this
        machine; None starts one here, which ends with this process.
    cpus, gpus
        Cores and GPUs of a job; a part of a GPU, such as 0.25, puts as many jobs on one.
    at_once
        Jobs at a time; None: as many as the cluster has room for.

    Raises
    ------
    InputError
        If Ray is not installed.
    """

    def __init__(self, address: str | None, cpus: float, gpus: float, at_once: int | None) -> None:
        if importlib.util.find_spec("ray") is None:
            problem = Problem(
                code="E-JOB-003",
                column="executor",
                what="Ray is not installed",
                mend="pip install -e '.[ray]' in recart's checkout, or choose another executor",
            )
            raise InputError([problem])
        if cpus <= 0 or gpus < 0 or (at_once is not None and at_once < 1):
            raise ValueError(f"cpus={cpus}, gpus={gpus}, at_once={at_once}: more is needed")
        self.address = address
        self.cpus = cpus
        self.gpus = gpus
        self.at_once = at_once

    @property
    def places(self) -> int:
        """Jobs at a time; connects to the cluster."""
        return self.at_once or sum(self._room())

    @property
    def elsewhere(self) -> Elsewhere:
        """Workers are processes of their own, even on this machine; connects to the cluster."""
        return Elsewhere(gpus=self.gpus, jobs=max(self._room()))

    def prepare(self, imports: Sequence[str]) -> None:
        """Nothing: Ray starts workers when there is work."""

    def forget(self) -> None:
        """Nothing."""

    def run(self, jobs: Iterable[Job], report: JobReport) -> Generator[Outcome]:
        """Yield what becomes of the jobs, in the order in which they end."""
        ray = self.connected()
        task = ray.remote(num_cpus=self.cpus, num_gpus=self.gpus, max_retries=0)(_work)
        waiting, running, known = iter(jobs), dict[Any, Job](), list[Job]()
        mailbox = ray.remote(num_cpus=0)(Mailbox).remote()
        try:
            while True:
                while len(running) < self.places and (job := next(waiting, None)):
                    running[task.remote(job, len(known), mailbox, self._threads)] = job
                    known.append(job)
                if not running:
                    return
                with heard_after():  # Ray makes a SystemError of what a signal's handler raises
                    ended, _ = ray.wait(list(running), num_returns=1, timeout=_LOOK)
                    # what a job said lies in the mailbox before the job has ended
                    said = ray.get(mailbox.take.remote())
                for number, content in said:
                    report(known[number], content)
                for reference in ended:
                    yield _outcome(running.pop(reference), reference)
        finally:
            _end(running)
            ray.kill(mailbox)

    def connected(self) -> Any:
        """The module `ray`, connected to the cluster.

        Raises
        ------
        InputError
            If the cluster does not answer.
        """
        # it would tell its makers of each cluster that it starts
        os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
        import ray

        if ray.is_initialized():
            return ray
        started_here = self.address is None
        self._require_answer()
        own: dict[str, Any] = {
            "num_cpus": allowed_cores(),
            "object_store_memory": _OBJECTS,
            "include_dashboard": False,
        }
        stops = signal.getsignal(signal.SIGTERM)
        try:
            ray.init(
                address="local" if started_here else self.address,
                log_to_driver=False,
                logging_level=logging.ERROR,
                **(own if started_here else {}),
            )
        except (ConnectionError, RuntimeError, ValueError) as error:
            raise self._silent(error) from error
        if threading.current_thread() is threading.main_thread():
            signal.signal(signal.SIGTERM, stops)  # Ray puts its own there, which would exit with 15
        return ray

    def _require_answer(self) -> None:
        """Knock first: Ray itself tries a port that nobody listens at for many minutes."""
        host, _, port = (self.address or "").removeprefix("ray://").rpartition(":")
        if not host or not port.isdigit():
            return
        try:
            socket.create_connection((host, int(port)), timeout=_KNOCK).close()
        except (OSError, OverflowError) as error:
            raise self._silent(error) from error

    def _silent(self, error: Exception) -> InputError:
        problem = Problem(
            code="E-JOB-004",
            column="executor.address",
            what=f"no Ray cluster answers at {self.address}: {str(error).splitlines()[0]}",
            mend="see that `ray status` shows it from this machine; a cluster that asks for a "
            "token needs RAY_AUTH_MODE=token here too; executor.address=null starts one here",
        )
        return InputError([problem])

    @property
    def _threads(self) -> int:
        return max(1, int(self.cpus))

    def _room(self) -> list[int]:
        """Jobs that each machine has room for, if it has room for any.

        Raises
        ------
        InputError
            If none has.
        """
        nodes = [node["Resources"] for node in self.connected().nodes() if node["Alive"]]
        room = []
        for node in nodes:
            jobs = int(node.get("CPU", 0) / self.cpus)
            if self.gpus:
                jobs = min(jobs, _on_gpus(node.get("GPU", 0), self.gpus))
            room.append(jobs)
        room = [jobs for jobs in room if jobs]
        if not room:
            problem = Problem(
                code="E-JOB-005",
                column="executor",
                what=f"none of the cluster's {len(nodes)} machines has {self.cpus:g} cores and "
                f"{self.gpus:g} GPUs for a job",
                mend="ask for less, executor.cpus and executor.gpus",
            )
            raise InputError([problem])
        return room


@final
class Mailbox:
    """What jobs have said and nobody has read yet; lives in a process of its own."""

    def __init__(self) -> None:
        self._letters: list[tuple[int, Any]] = []

    def put(self, number: int, content: Any) -> None:
        """Leave what job `number` says."""
        self._letters.append((number, content))

    def take(self) -> list[tuple[int, Any]]:
        """Empty it."""
        letters, self._letters = self._letters, []
        return letters


def _on_gpus(there: float, needed: float) -> int:
    """Jobs on the GPUs of one machine: a part of a GPU lies on one of them."""
    return int(there / needed) if needed >= 1 else int(there) * int(1 / needed)


def _work(job: Job, number: int, mailbox: Any, threads: int) -> tuple[bool, Any]:
    """What a worker does: whether the job went well, and its value or failure."""
    import ray
    import torch
    from threadpoolctl import threadpool_limits

    torch.set_num_threads(threads)
    lock = threading.Lock()  # a job may report from its threads

    def send(content: Any) -> None:
        with lock:
            ray.get(mailbox.put.remote(number, content))

    try:
        for name in job.imports:
            importlib.import_module(name)
        with threadpool_limits(threads):
            return True, job.work(send)
    except Exception as error:
        return False, failure_of(error)


def _outcome(job: Job, reference: Any) -> Outcome:
    import ray

    try:
        well, value = ray.get(reference)
    except ray.exceptions.OutOfMemoryError:
        said = "Ray ended it as memory ran out on its machine"
        return Outcome(job=job, failure=Failure(how="its worker was ended", said=said))
    except ray.exceptions.RayTaskError as error:  # it, or what it returns, can't be sent
        return Outcome(job=job, failure=failure_of(error))
    except ray.exceptions.RayError as error:
        said = "often a sign that memory ran out, or that its machine is gone"
        how = f"its worker died ({type(error).__name__})"
        return Outcome(job=job, failure=Failure(how=how, said=said))
    if well:
        return Outcome(job=job, value=value)
    return Outcome(job=job, failure=value)


def _end(running: dict[Any, Job]) -> None:
    """End tasks with their workers, and wait until they are gone."""
    import ray

    if not running:
        return
    for reference in running:
        with suppress(ray.exceptions.RayError):
            ray.cancel(reference, force=True)
    ray.wait(list(running), num_returns=len(running), timeout=_GRACE)
