"""Weights & Biases: a group a run, in it a W&B run for each job and one for each evaluation.

Everything is written as W&B's offline runs, also online: what is ever sent is what lies in the
run's folder, and a server that hangs or fails is met by another process than the one that trains.
"""

from __future__ import annotations

import csv
import os
import secrets
import shutil
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final, final

from recart.problems import InputError, Problem
from recart.training.epoch_reports import EpochReport, EpochWatcher
from recart.training.redactor import redact_metrics
from recart.training.trackers import Configuration, Table, Tracked, Tracker
from recart.training.wandb_upload import Uploads

__all__ = ["WandbTracker"]

_MODES: Final = ("offline", "online")
_SETTLES: Final = 5.0  # seconds
_HEADER: Final = 7  # bytes of a run in which nothing is written yet


@final
class WandbTracker(Tracker):
    """W&B runs that hold metrics, the redacted configuration and tables of numbers, nothing else.

    A job's run has its member's fold, repeat, seed and settings in its configuration, under
    `member`. Console, code, git state, command line, host, packages and hardware are not recorded.
    Offline, nothing leaves the machine until `wandb sync` is called on the runs' folders.

    Tables and curves of an evaluation are files of its run, in the folder that is synced, and no
    artifacts of W&B's: an artifact's manifest holds the name by which `wandb sync` will open each
    file. An absolute one tells user and folders to the server and is wrong once the run is copied;
    a relative one is looked for where the command is called (wandb 0.31, `Artifact.add_file` with
    and without staging). The files need nothing else.

    Parameters
    ----------
    project
        Project on the server; sent as it is.
    entity
        User or team on the server, sent as it is; None for the account's own.
    mode
        `offline`, or `online`: a run is sent, by another process, when its job has ended.
    patience
        Seconds that the end of a run waits for a server that takes nothing more in.

    Raises
    ------
    InputError
        If the mode is another one.
    """

    def __init__(self, project: str, entity: str | None, mode: str, patience: float) -> None:
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
        self.patience = patience
        self.limit = 3600.0 if mode == "online" else 20.0  # `patience` ends it where nothing moves

    def check(self) -> None:
        """Online needs an account.

        Raises
        ------
        InputError
            If none is known on this machine.
        """
        if self.mode == "offline":
            return
        with _quiet():
            import wandb

        if not wandb.api.api_key:
            problem = Problem(
                code="E-LOG-003",
                column="logger.wandb",
                what="no account of Weights & Biases is known on this machine",
                mend="log in with `wandb login`, or use logger.wandb.mode=offline",
            )
            raise InputError([problem])

    @contextmanager
    def follow(self, run: Tracked) -> Iterator[EpochWatcher]:
        """Opens a W&B run when a job first reports."""
        with self._uploads(run) as uploads:
            jobs = _Jobs(self, run, uploads)
            try:
                yield jobs
            finally:
                jobs.stop()

    def record(self, run: Tracked, tables: Mapping[str, Table]) -> None:
        """A run of its own, with the tables as CSV files, the curves also as W&B's own."""
        with self._uploads(run) as uploads:
            own = self.begin(run, run.kind, {})
            place = Path(own.dir)
            for name, rows in tables.items():
                _write_table(place / f"{name}.csv", rows)
                # W&B's artifacts would write the folder's absolute path into the run
                own.save(str(place / f"{name}.csv"), base_path=str(place), policy="end")
                if name.startswith("curve_"):
                    axis = next(iter(rows[0]), "") if rows else ""
                    own.define_metric(f"{name}/*", step_metric=f"{name}/{axis}")
                    for row in rows:
                        own.log({f"{name}/{key}": value for key, value in row.items()})
            for row in tables.get("metrics", ()):
                own.summary.update({f"{row['model']}/{k}": v for k, v in row.items()})
            end(own, uploads, well=True)

    def compare(self, run: Tracked, tried: Sequence[Configuration]) -> None:
        """A W&B run for each: its values in the configuration, its scores in the summary."""
        with self._uploads(run) as uploads:
            for one in tried:
                own = self.begin(run, "trial", {"trial": dict(one.values)})
                own.summary.update(dict(one.scores))
                end(own, uploads, well=True)

    @contextmanager
    def _uploads(self, run: Tracked) -> Iterator[Uploads]:
        uploads = Uploads(run.folder, self.patience, run.say, online=self.mode == "online")
        try:
            yield uploads
        finally:
            uploads.close()

    def begin(self, run: Tracked, kind: str, more: Mapping[str, Any]) -> Any:
        """An offline W&B run in the group of `run`; `kind` is its type, `more` its configuration.

        W&B's staging area, cache and settings stay in the run's folder, not in the user's home.
        """
        part = {"run": run.part} if run.part else {}  # of a sweep, whose group they share
        with _quiet(run.folder):
            import wandb

            word = f"{run.group}-{secrets.token_hex(3)}"
            return wandb.init(
                project=self.project,
                entity=self.entity,
                id=word,
                name=f"recart-{word}",
                group=f"recart-{run.group}",
                job_type=kind,
                dir=run.folder,
                config={**run.settings, **part, **more},
                reinit="create_new",
                settings=_settings(run.folder),
            )


@final
class _Jobs(EpochWatcher):
    """A W&B run for each job that reports."""

    def __init__(self, tracker: WandbTracker, run: Tracked, uploads: Uploads) -> None:
        self._tracker = tracker
        self._run = run
        self._uploads = uploads
        self._open: dict[str, Any] = {}

    def start(self, members: Mapping[str, int], epochs: int) -> None:
        """Wait for reports."""

    def advance(self, job: str, report: EpochReport) -> None:
        """Log an epoch."""
        if job not in self._open:
            own = {"member": self._run.places_of(job)}
            self._open[job] = self._tracker.begin(self._run, "training", own)
        row = {**redact_metrics(report.means), "epoch": report.epoch}
        self._open[job].log(row, step=report.epoch)

    def end(self, job: str) -> None:
        """Finish the job's run."""
        if job in self._open:
            end(self._open.pop(job), self._uploads, well=True)

    def stop(self) -> None:
        """Finish the runs of jobs that were interrupted."""
        for job in list(self._open):
            end(self._open.pop(job), self._uploads, well=False)


def end(own: Any, uploads: Uploads, *, well: bool) -> None:
    """Finish a W&B run, remove W&B's own logs, which name folders, and hand it on."""
    place = Path(own.dir).parent
    own.finish(exit_code=int(not well))
    _settle(place)
    for logs in (place / "logs", place.parent / "logs"):
        shutil.rmtree(logs, ignore_errors=True)
    for link in place.parent.glob("*"):
        if link.is_symlink():
            link.unlink()
    uploads.send(place)


def _settle(place: Path) -> None:
    """Wait, seconds at most, until W&B's own process has written the run; `finish` does not."""
    until, size = time.monotonic() + _SETTLES, _HEADER
    while time.monotonic() < until:
        now = sum(path.stat().st_size for path in place.glob("*.wandb"))
        if now == size > _HEADER:
            return
        size = max(now, _HEADER)
        time.sleep(0.05)


def _write_table(path: Path, rows: Table) -> None:
    columns = list(dict.fromkeys(key for row in rows for key in row))
    with path.open("w", newline="") as file:
        writer = csv.DictWriter(file, fieldnames=columns)
        writer.writeheader()
        writer.writerows(rows)


def _settings(folder: Path) -> Any:
    import wandb

    return wandb.Settings(
        mode="offline",
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
def _quiet(folder: Path | None = None) -> Iterator[None]:
    """W&B's folders where they belong, and no reports of its own errors to its makers.

    It takes these from the environment only.
    """
    own = {"WANDB_ERROR_REPORTING": "false"}
    if folder is not None:
        names = ("WANDB_DATA_DIR", "WANDB_CACHE_DIR", "WANDB_ARTIFACT_DIR", "WANDB_CONFIG_DIR")
        own |= dict.fromkeys(names, str(folder.absolute()))
    before = {name: os.environ.get(name) for name in own}
    os.environ.update(own)
    try:
        yield
    finally:
        for name, value in before.items():
            if value is None:
                os.environ.pop(name, None)
            else:
                os.environ[name] = value
