"""Experiment trackers: where metrics go while members train."""

from __future__ import annotations

import os
import secrets
from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping
from contextlib import AbstractContextManager, ExitStack, contextmanager
from pathlib import Path
from typing import Any, Final, final

from omegaconf import DictConfig

from recart.problems import InputError, Problem
from recart.training.csv_metrics import CsvMetrics
from recart.training.epoch_means import MetricLog
from recart.training.redactor import redact

__all__ = ["CsvTracker", "TensorBoardTracker", "Tracker", "WandbTracker", "tracking"]

_MODES: Final = ("offline", "online")


class Tracker(ABC):
    """Opens a log of metrics for one run and closes it again."""

    @abstractmethod
    def open(self, folder: Path, settings: Mapping[str, Any]) -> AbstractContextManager[MetricLog]:
        """A log that is written below `folder`, for as long as the context is open.

        Parameters
        ----------
        folder
            Folder of the run's logs.
        settings
            The run's configuration, redacted already.
        """


@contextmanager
def tracking(
    trackers: Mapping[str, Tracker], folder: Path, config: DictConfig
) -> Iterator[list[MetricLog]]:
    """Loggers of all trackers, closed at the end whatever happens.

    The configuration passes the redactor first: no tracker gets to see the original.
    """
    settings = redact(config)
    folder.mkdir(parents=True, exist_ok=True)
    with ExitStack() as stack:
        yield [stack.enter_context(t.open(folder, settings)) for t in trackers.values()]


@final
class CsvTracker(Tracker):
    """Writes `csv/version_<n>/metrics.csv`; a run that goes on adds a version."""

    @contextmanager
    def open(self, folder: Path, settings: Mapping[str, Any]) -> Iterator[MetricLog]:  # noqa: ARG002
        """Open the file; the configuration stands in the run's folder already."""
        log = CsvMetrics(folder / "csv")
        try:
            yield log
        finally:
            log.save()


@final
class TensorBoardTracker(Tracker):
    """Writes event files to `tensorboard/version_<n>`; TensorBoard names them after the host."""

    @contextmanager
    def open(self, folder: Path, settings: Mapping[str, Any]) -> Iterator[MetricLog]:  # noqa: ARG002
        """Open the event file.

        Raises
        ------
        InputError
            If TensorBoard is not installed.
        """
        from lightning.pytorch.loggers import TensorBoardLogger

        try:
            logger = TensorBoardLogger(folder, name="tensorboard", default_hp_metric=False)
        except ModuleNotFoundError as error:
            problem = Problem(
                code="E-LOG-001",
                what="TensorBoard is not installed",
                mend="pip install tensorboard, or use logger=csv",
            )
            raise InputError([problem]) from error
        try:
            yield logger
        finally:
            logger.finalize("success")


@final
class WandbTracker(Tracker):
    """A Weights & Biases run that holds metrics and the redacted configuration, nothing else.

    Console, code, git state, command line, host, packages and hardware are not recorded. Offline,
    nothing leaves the machine until `wandb sync` is called on the run's folder.

    Parameters
    ----------
    project
        Project on the server; sent as it is.
    entity
        User or team on the server, sent as it is; None for the account's own.
    mode
        `offline` or `online`.

    Raises
    ------
    InputError
        If the mode is another one.
    """

    def __init__(self, project: str, entity: str | None, mode: str) -> None:
        if mode not in _MODES:
            problem = Problem(
                code="E-LOG-002",
                column="logger.wandb.mode",
                what=f"mode {mode}",
                mend=f"use one of {', '.join(_MODES)}; ~logger.wandb or logger=csv turns it off",
            )
            raise InputError([problem])
        self.project = project
        self.entity = entity
        self.mode = mode

    @contextmanager
    def open(self, folder: Path, settings: Mapping[str, Any]) -> Iterator[MetricLog]:
        """Start the run, finish it at the end, and remove W&B's own log, which names the folder.

        Raises
        ------
        InputError
            If W&B cannot start the run, as online without an account.
        """
        import wandb
        from lightning.pytorch.loggers import WandbLogger

        name = secrets.token_hex(4)
        with _inside(folder):
            try:
                run = wandb.init(
                    project=self.project,
                    entity=self.entity,
                    id=name,
                    name=f"recart-{name}",
                    dir=folder,
                    config=dict(settings),
                    settings=self._settings(folder),
                )
            except wandb.Error as error:
                problem = Problem(
                    code="E-LOG-003",
                    column="logger.wandb",
                    what=f"Weights & Biases did not start the run: {error}",
                    mend="log in with `wandb login`, or use logger.wandb.mode=offline",
                )
                raise InputError([problem]) from error
            failed = True
            try:
                yield WandbLogger(experiment=run)
                failed = False
            finally:
                run.finish(exit_code=int(failed))
                for path in (folder / "wandb").rglob("*debug*.log"):
                    path.unlink(missing_ok=True)

    def _settings(self, folder: Path) -> Any:
        import wandb

        return wandb.Settings(
            mode="online" if self.mode == "online" else "offline",
            root_dir=str(folder),
            program="recart",
            host="hidden",
            username="hidden",
            console="off",
            silent=True,
            save_code=False,
            disable_code=True,
            disable_git=True,
            disable_job_creation=True,
            x_disable_meta=True,
            x_disable_machine_info=True,
            x_disable_stats=True,
            x_save_requirements=False,
        )


@contextmanager
def _inside(folder: Path) -> Iterator[None]:
    """Keep W&B's staging area, cache and settings in the run's folder, not in the user's home.

    W&B takes these three from the environment only.
    """
    folder.mkdir(parents=True, exist_ok=True)
    names = ("WANDB_DATA_DIR", "WANDB_CACHE_DIR", "WANDB_ARTIFACT_DIR")
    before = {name: os.environ.get(name) for name in names}
    os.environ.update(dict.fromkeys(names, str(folder)))
    try:
        yield
    finally:
        for name, value in before.items():
            if value is None:
                os.environ.pop(name, None)
            else:
                os.environ[name] = value
