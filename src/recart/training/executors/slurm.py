"""Jobs on a cluster that SLURM divides: each is submitted as a job of its own, through submitit.

Submitit writes a job into a folder and a process on another machine unpickles it there; so that
nobody else can put anything into it, the folder is its owner's alone, and goes when all have ended.
"""

from __future__ import annotations

import importlib
import importlib.util
import os
import secrets
import shutil
import threading
import time
from collections.abc import Generator, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, final

from recart.problems import InputError, Problem
from recart.training.executors.executor import (
    Elsewhere,
    Executor,
    Failure,
    Job,
    JobReport,
    Outcome,
    failure_of,
)
from recart.training.executors.job_letters import LetterBox, write_letter

__all__ = ["Slurm"]

_CLUSTERS: Final = ("slurm", "local")
_LOOK: Final = 0.5  # seconds between looks at jobs
_LATE: Final = {"slurm": 30.0, "local": 1.0}  # seconds until a file of another machine is seen
_BEAT: Final = 10.0  # seconds between signs of life
_GRACE: Final = 5.0  # seconds for cancelled jobs to be gone
_RULE: Final = 22 * "-"  # around a trace in what submitit says
_LINES: Final = 5  # of a job's last words


@final
class Slurm(Executor):
    """One SLURM job a job.

    A job whose driver has given no sign of life for ten minutes ends itself: started again, the
    driver would submit the same work.

    Parameters
    ----------
    folder
        Where jobs and their logs lie while they run, on a file system that all machines share.
    cluster
        `slurm`, or `local`: processes of this machine through the same machinery, to try it.
    at_once
        Jobs in the queue at a time.
    minutes, memory_gb, cpus, gpus
        What a job asks for.
    options
        Further options of sbatch by their long names: partition, account, qos, constraint.

    Raises
    ------
    InputError
        If submitit is not installed, or there is no SLURM here.
    """

    lease: float = 600.0  # seconds without a sign of life after which a job ends itself

    def __init__(
        self,
        folder: str,
        cluster: str,
        at_once: int,
        minutes: int,
        memory_gb: float,
        cpus: int,
        gpus: int,
        options: Mapping[str, Any],
    ) -> None:
        if cluster not in _CLUSTERS:
            raise ValueError(f"cluster {cluster}; use one of {', '.join(_CLUSTERS)}")
        if min(at_once, minutes, cpus) < 1 or not memory_gb > 0 or gpus < 0:
            asked = f"at_once={at_once}, minutes={minutes}, memory_gb={memory_gb}, cpus={cpus}"
            raise ValueError(f"{asked}, gpus={gpus}: more is needed")
        self.folder = folder
        self.cluster = cluster
        self.at_once = at_once
        self.minutes = minutes
        self.memory_gb = memory_gb
        self.cpus = cpus
        self.gpus = gpus
        self.options = {name: value for name, value in options.items() if value is not None}
        _require(cluster)

    @property
    def places(self) -> int:
        """Jobs in the queue at a time."""
        return self.at_once

    @property
    def elsewhere(self) -> Elsewhere:
        """SLURM gives a job memory of its own; processes of one machine share what it has."""
        return Elsewhere(gpus=self.gpus, jobs=1 if self.cluster == "slurm" else self.at_once)

    def prepare(self, imports: Sequence[str]) -> None:
        """Nothing: machines are SLURM's."""

    def forget(self) -> None:
        """Nothing."""

    def run(self, jobs: Iterable[Job], report: JobReport) -> Generator[Outcome]:
        """Yield what becomes of the jobs, in the order in which they end."""
        waiting, running, number = iter(jobs), list[_Submitted](), 0
        with self._place() as place:
            submit = self.submitter(place).submit
            try:
                while True:
                    while len(running) < self.places and (job := next(waiting, None)):
                        errand = _Errand(job, place, number, self.cpus, self.lease)
                        letters = LetterBox(errand.letters)
                        running.append(_Submitted(job, submit(errand), letters, self.cluster))
                        number += 1
                    if not running:
                        return
                    time.sleep(_LOOK)
                    for own in list(running):
                        outcome = own.look()
                        for content in own.letters.take():
                            report(own.job, content)
                        if outcome is not None:
                            running.remove(own)
                            yield outcome
            finally:
                _end(running)

    def submitter(self, place: Path) -> Any:
        """Submitit's executor, which writes into `place`."""
        import submitit

        executor = submitit.AutoExecutor(folder=place, cluster=self.cluster)
        own = {"slurm_additional_parameters": self.options} if self.cluster == "slurm" else {}
        executor.update_parameters(
            name="recart",
            timeout_min=self.minutes,
            mem_gb=self.memory_gb,
            cpus_per_task=self.cpus,
            gpus_per_node=self.gpus,
            **own,
        )
        return executor

    @contextmanager
    def _place(self) -> Iterator[Path]:
        """A folder of this user's alone, with a file that is touched as long as it is there."""
        place = Path(self.folder).absolute() / f"jobs-{secrets.token_hex(4)}"
        place.parent.mkdir(parents=True, exist_ok=True)
        place.mkdir(mode=0o700)
        beat, over = place / "alive", threading.Event()
        beat.touch()

        def live() -> None:
            while not over.wait(min(_BEAT, self.lease / 4)):
                beat.touch()

        thread = threading.Thread(target=live, daemon=True)
        thread.start()
        try:
            yield place
        finally:
            over.set()
            thread.join()
            shutil.rmtree(place, ignore_errors=True)


@dataclass(frozen=True)
class _Errand:
    """What submitit calls on the other machine."""

    job: Job
    place: Path
    number: int
    threads: int
    lease: float

    @property
    def letters(self) -> Path:
        return self.place / f"letters-{self.number}"

    def __call__(self) -> tuple[bool, Any]:
        """Whether the job went well, and its value or failure."""
        threading.Thread(target=self._end_without_driver, daemon=True).start()
        import torch
        from threadpoolctl import threadpool_limits

        torch.set_num_threads(self.threads)
        lock = threading.Lock()  # a job may report from its threads

        def send(content: Any) -> None:
            with lock:
                write_letter(self.letters, content)

        try:
            for name in self.job.imports:
                importlib.import_module(name)
            with threadpool_limits(self.threads):
                return True, self.job.work(send)
        except Exception as error:
            return False, failure_of(error)

    def _end_without_driver(self) -> None:
        """By this machine's clock alone: how long ago the file was last seen to have changed."""
        seen, since = -1, time.monotonic()
        while time.monotonic() - since < self.lease:
            time.sleep(min(_BEAT, self.lease / 4))
            try:
                now = (self.place / "alive").stat().st_mtime_ns
            except OSError:
                continue
            if now != seen:
                seen, since = now, time.monotonic()
        os._exit(1)


class _Submitted:
    """A job that SLURM has."""

    def __init__(self, job: Job, submitted: Any, letters: LetterBox, cluster: str) -> None:
        self.job = job
        self.submitted = submitted
        self.letters = letters
        self._late = _LATE[cluster]
        self._ended: float | None = None

    def look(self) -> Outcome | None:
        """What became of it, if that is known."""
        if not self.submitted.done():
            return None
        if self.submitted.paths.result_pickle.exists():
            return self._result()
        if self._ended is None:
            self._ended = time.monotonic()
        if time.monotonic() - self._ended < self._late:
            return None  # its last file may not be seen here yet
        how = f"its job {self.submitted.job_id} ended without a result ({self.submitted.state})"
        log = (self.submitted.stderr() or "").strip().splitlines()
        return Outcome(job=self.job, failure=Failure(how=how, said="\n".join(log[-_LINES:])))

    def _result(self) -> Outcome:
        import submitit

        try:
            well, value = self.submitted.result()
        except submitit.core.utils.FailedJobError as error:
            # before the work began, or when its value was to be written; the trace stands in the
            # middle of what submitit says
            _, _, trace = str(error).partition(f"{_RULE}\n")
            trace = trace.partition(f"\n{_RULE}")[0].strip()
            how = f"its job {self.submitted.job_id} could not be read, or its value not be written"
            said = trace.splitlines()[-1] if trace else ""
            return Outcome(job=self.job, failure=Failure(how=how, said=said, trace=trace))
        if well:
            return Outcome(job=self.job, value=value)
        return Outcome(job=self.job, failure=value)


def _end(running: list[_Submitted]) -> None:
    """Cancel, and wait a moment until they are gone, as their folder goes too."""
    for own in running:
        own.submitted.cancel(check=False)
    until = time.monotonic() + _GRACE
    while time.monotonic() < until and not all(own.submitted.done() for own in running):
        time.sleep(0.1)


def _require(cluster: str) -> None:
    problem = None
    if importlib.util.find_spec("submitit") is None:
        problem = Problem(
            code="E-JOB-003",
            column="executor",
            what="submitit, which submits to SLURM, is not installed",
            mend="pip install -e '.[slurm]' in recart's checkout, or choose another executor",
        )
    elif cluster == "slurm" and shutil.which("srun") is None:
        problem = Problem(
            code="E-JOB-006",
            column="executor.cluster",
            what="there is no SLURM on this machine: no srun",
            mend="call it where sbatch works, or choose another executor; executor.cluster=local "
            "runs the same jobs as processes of this machine",
        )
    if problem is not None:
        raise InputError([problem])
