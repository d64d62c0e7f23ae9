"""MLflow: runs in a SQLite file of this machine or on a tracking server, for its page of them."""

from __future__ import annotations

import importlib.util
import logging
import os
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final, final

from recart.problems import InputError, Problem
from recart.training.epoch_means import EpochMeans
from recart.training.epoch_reports import EpochWatcher
from recart.training.redactor import redact_metrics
from recart.training.trackers import Configuration, Table, Tracked, Tracker

__all__ = ["MlflowTracker"]

_NEEDED: Final = ("mlflow", "sqlalchemy", "alembic", "cryptography")
_NEEDED_FOR_A_SERVER: Final = ("mlflow",)
_SERVER: Final = ("http://", "https://")
# MLflow's own patience with a server is a quarter of an hour a call
_PATIENCE: Final = {"MLFLOW_HTTP_REQUEST_TIMEOUT": "10", "MLFLOW_HTTP_REQUEST_MAX_RETRIES": "2"}
# Else MLflow writes the working directory into the store as where files would go; recart logs none.
_NO_FILES: Final = "mlflow-artifacts:/"
_LONGEST: Final = 500  # characters of a parameter


@final
class MlflowTracker(Tracker):
    """A run for each training and each evaluation, with metrics and the redacted configuration.

    What a server is sent is what the file would hold. Its account comes from the environment, as
    MLflow reads it (`MLFLOW_TRACKING_TOKEN`, or `MLFLOW_TRACKING_USERNAME` and `_PASSWORD`).

    Parameters
    ----------
    store
        The SQLite file, made where it is not there, or the address of a tracking server
        (`https://...`); all runs that name it can be compared.
    experiment
        Name of the experiment in it.
    """

    limit = 60.0  # MLflow takes its time to make a new file

    def __init__(self, store: str, experiment: str) -> None:
        self.store = store
        self.experiment = experiment

    def check(self) -> None:
        """MLflow is an extra.

        Raises
        ------
        InputError
            If it is not installed.
        """
        needed = _NEEDED_FOR_A_SERVER if self._on_server else _NEEDED
        lacking = [name for name in needed if importlib.util.find_spec(name) is None]
        if lacking:
            problem = Problem(
                code="E-LOG-004",
                column="logger.mlflow",
                what=f"{', '.join(lacking)}, which MLflow needs here, is not installed",
                mend="pip install -e '.[mlflow]' in recart's checkout, or use logger=default",
            )
            raise InputError([problem])

    @property
    def _on_server(self) -> bool:
        return self.store.startswith(_SERVER)

    @contextmanager
    def follow(self, run: Tracked) -> Iterator[EpochWatcher]:
        """Metrics are means over all members."""
        with self._run(run, "training") as log:
            log.parameters(run.settings)
            yield EpochMeans([log])

    def record(self, run: Tracked, tables: Mapping[str, Table]) -> None:
        """The numbers of each model, and its curves point by point."""
        with self._run(run, run.kind) as log:
            for row in tables.get("metrics", ()):
                own = {f"{row['model']}/{k}": v for k, v in row.items() if isinstance(v, float)}
                log.log_metrics(own)
            for table, rows in tables.items():
                if table.startswith("curve_"):
                    for step, row in enumerate(rows):
                        own = {f"{table}/{k}": v for k, v in row.items() if isinstance(v, float)}
                        log.log_metrics(own, step)

    def compare(self, run: Tracked, tried: Sequence[Configuration]) -> None:
        """A run for each: its values as parameters, its scores as metrics."""
        for one in tried:
            with self._run(run, "trial") as log:
                log.parameters(one.values)
                log.log_metrics(one.scores)

    @contextmanager
    def _run(self, run: Tracked, kind: str) -> Iterator[_RunLog]:
        # MLflow would tell its makers how it is used
        os.environ |= {"MLFLOW_DISABLE_TELEMETRY": "true", "DO_NOT_TRACK": "true"}
        logging.getLogger("mlflow").setLevel(logging.WARNING)
        os.environ |= {**_PATIENCE, **os.environ}
        from mlflow.tracking import MlflowClient

        client = MlflowClient(tracking_uri=self.store if self._on_server else self._file())
        there = client.get_experiment_by_name(self.experiment)
        # a server knows where its files go
        files = None if self._on_server else _NO_FILES
        number = (
            client.create_experiment(self.experiment, artifact_location=files)
            if there is None
            else there.experiment_id
        )
        tags = {"mlflow.user": "hidden", "group": run.group, "kind": kind}
        if run.part:
            tags["run"] = run.part
        made = client.create_run(number, tags=tags, run_name=f"recart-{run.group}-{kind}")
        state = "FAILED"
        try:
            yield _RunLog(client, made.info.run_id)
            state = "FINISHED"
        finally:
            client.set_terminated(made.info.run_id, state)

    def _file(self) -> str:
        """The address of the SQLite file, which is made."""
        from mlflow.store.tracking.sqlalchemy_store import SqlAlchemyStore

        path = Path(self.store).absolute()
        path.parent.mkdir(parents=True, exist_ok=True)
        address = f"sqlite:///{path}"
        SqlAlchemyStore(address, _NO_FILES)
        return address


@final
class _RunLog:
    """Rows of one run."""

    def __init__(self, client: Any, number: str) -> None:
        self._client = client
        self._number = number

    def log_metrics(self, metrics: Mapping[str, float], step: int | None = None) -> None:
        """Write a row."""
        from mlflow.entities import Metric

        now = int(1000 * time.time())
        rows = [Metric(k, v, now, step or 0) for k, v in redact_metrics(metrics).items()]
        self._client.log_batch(self._number, metrics=rows)

    def save(self) -> None:
        """Nothing: rows are written at once."""

    def parameters(self, settings: Mapping[str, Any]) -> None:
        """Write the configuration, a parameter a key."""
        from mlflow.entities import Param

        rows = [Param(k, str(v)[:_LONGEST]) for k, v in _flat(settings, "")]
        for start in range(0, len(rows), 100):  # MLflow takes a hundred at a time
            self._client.log_batch(self._number, params=rows[start : start + 100])


def _flat(tree: Any, place: str) -> Iterator[tuple[str, Any]]:
    if isinstance(tree, Mapping):
        for key, value in tree.items():
            yield from _flat(value, f"{place}.{key}" if place else str(key))
    else:
        yield place, tree
