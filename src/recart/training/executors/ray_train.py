"""One training over workers of a Ray cluster, on as many machines as it takes, through Ray Train.

Ray Train places the workers together, makes their process group and ends all when one fails; what
is trained in each is recart's own, as on one machine.
"""

from __future__ import annotations

import importlib
import logging
import tempfile
import threading
from collections.abc import Generator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, final

from recart.interruption import heard_after
from recart.training.executors.executor import Failure, Job, JobReport, Outcome, failure_of
from recart.training.executors.ray_cluster import Mailbox, RayCluster

__all__ = ["RayTrain"]

_LOOK: Final = 0.2  # seconds between looks for reports
_REPORT, _VALUE, _FAILURE = range(3)  # what a worker says


@final
@dataclass(frozen=True)
class RayTrain:
    """Runs jobs all at once, each as a worker of one training.

    `prepared` is where the cohort is prepared, for workers to read.
    """

    cluster: RayCluster
    prepared: Path

    def run(self, jobs: Sequence[Job], report: JobReport) -> Generator[Outcome]:
        """Yield what became of the jobs, when all have ended; one that fails ends the others."""
        ray = self.cluster.connected()
        from ray.train import RunConfig, ScalingConfig
        from ray.train.torch import TorchConfig, TorchTrainer

        logging.getLogger("ray.train").setLevel(logging.ERROR)
        mailbox = ray.remote(num_cpus=0)(Mailbox).remote()
        gpus = self.cluster.gpus
        found: dict[int, Outcome] = {}
        errors: list[BaseException] = []

        def deliver() -> None:
            with heard_after():
                said = ray.get(mailbox.take.remote())
            for number, (kind, content) in said:
                if kind == _REPORT:
                    report(jobs[number], content)
                elif kind == _VALUE:
                    found[number] = Outcome(job=jobs[number], value=content)
                else:
                    found[number] = Outcome(job=jobs[number], failure=content)

        with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as folder:
            trainer = TorchTrainer(
                _work,
                train_loop_config={"jobs": list(jobs), "mailbox": mailbox},
                torch_config=TorchConfig(backend="nccl" if gpus else "gloo"),
                scaling_config=ScalingConfig(
                    num_workers=len(jobs),
                    use_gpu=gpus > 0,
                    resources_per_worker={"CPU": self.cluster.cpus, "GPU": gpus},
                ),
                run_config=RunConfig(storage_path=folder),
            )

            def fit() -> None:
                try:
                    trainer.fit()
                except BaseException as error:
                    errors.append(error)

            # not in the main thread, where Ray would put its own handler of Ctrl-C, and leave it
            fitting = threading.Thread(target=fit, daemon=True)
            fitting.start()
            try:
                while fitting.is_alive():
                    fitting.join(_LOOK)
                    deliver()
                deliver()
            finally:
                ray.kill(mailbox)  # workers that go on fail when they next report
        failed: Failure | None = None
        for error in errors:
            if not isinstance(error, ray.train.TrainingFailedError):
                raise error
            failed = failure_of(error)
        # the first that failed of itself comes first; others were ended with it
        yield from sorted(found.values(), key=lambda own: own.failure is None)
        for number, job in enumerate(jobs):
            if number not in found:
                yield Outcome(job=job, failure=failed or Failure(how="its worker said nothing"))


def _work(config: dict[str, Any]) -> None:
    """What a worker does."""
    import ray
    import torch
    from threadpoolctl import threadpool_limits

    number = ray.train.get_context().get_world_rank()
    job, mailbox = config["jobs"][number], config["mailbox"]
    lock = threading.Lock()

    def send(kind: int, content: Any) -> None:
        with lock:
            ray.get(mailbox.put.remote(number, (kind, content)))

    torch.set_num_threads(1)
    for name in job.imports:
        importlib.import_module(name)
    with threadpool_limits(1):
        try:
            value = job.work(lambda content: send(_REPORT, content))
        except Exception as error:
            send(_FAILURE, failure_of(error))
            raise
    send(_VALUE, value)
