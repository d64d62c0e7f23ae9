"""A Lightning logger that reports each epoch to whoever follows the job, in whichever process."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, final

from lightning.pytorch.loggers import Logger

from recart.training.epoch_reports import EpochReport

__all__ = ["ReportingLogger"]


@final
class ReportingLogger(Logger):
    """Hands what Lightning logs to `report`, one `EpochReport` an epoch.

    What callbacks log between epochs goes with the next one.
    """

    def __init__(self, report: Callable[[Any], None]) -> None:
        super().__init__()
        self._report = report
        self._pending: dict[str, float] = {}

    @property
    def name(self) -> str:
        """Not used."""
        return ""

    @property
    def version(self) -> str:
        """Not used."""
        return ""

    def log_hyperparams(self, *_: Any, **__: Any) -> None:
        """Left out: trackers are given the configuration, redacted."""

    def log_metrics(self, metrics: Mapping[str, float], step: int | None = None) -> None:
        """Report, if the metrics are those of an epoch's end."""
        self._pending |= {name: float(value) for name, value in metrics.items() if name != "epoch"}
        if "members_done" in metrics:
            epoch = int(metrics["epoch"])
            self._report(EpochReport(epoch=epoch, step=step or 0, means=self._pending))
            self._pending = {}
