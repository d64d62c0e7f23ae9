"""Lets the server of processes import what members need while this process still imports itself.

Both take seconds. So the server is started as soon as the configuration is known, before anything
that needs torch is imported here, and is ended at once where the run fails: it would hold the
terminal, or a pipe, until it had imported everything.
"""

from __future__ import annotations

import gc
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

from omegaconf import DictConfig

from recart.config.build import build
from recart.problems import InputError
from recart.training.executors.local_processes import LocalProcesses

__all__ = ["MEMBER_IMPORTS", "collector_at_rest", "head_start"]

# What the work of a job imports on its way, for a process that is to begin at once.
MEMBER_IMPORTS: Final = (
    *("recart.training.member_job", "recart.training.module", "recart.training.reporting_logger"),
    "recart.training.prototype_head",
    *("sklearn.cluster", "sklearn.mixture", "sklearn.model_selection"),
)
_DRIVER: Final = Path("/proc/driver/nvidia/version")  # there where NVIDIA's kernel module is loaded


@contextmanager
def head_start(config: DictConfig) -> Iterator[None]:
    """Prepare the executor of this configuration if its processes will be used.

    A configuration that can't be built is left to who checks it as a whole.
    """
    try:
        executor = build(config.executor)
    except InputError:
        executor = None
    if not (isinstance(executor, LocalProcesses) and executor.places > 1 and _on_cpu(config)):
        yield
        return
    executor.prepare(MEMBER_IMPORTS)
    try:
        yield
    except BaseException:
        executor.forget()
        raise


@contextmanager
def collector_at_rest() -> Iterator[None]:
    """Without Python's collector, for imports: its passes over them take a third of the time."""
    there = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if there:
            gc.enable()


def _on_cpu(config: DictConfig) -> bool:
    """Whether members will train in processes on the CPU, as far as can be said without torch."""
    accelerator, devices = config.trainer.get("accelerator"), config.trainer.get("devices")
    return devices == 1 and (
        accelerator == "cpu" or (accelerator == "auto" and not _DRIVER.exists())
    )
