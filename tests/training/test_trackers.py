from __future__ import annotations

import json
import os
import sys
from pathlib import Path
from typing import Any

import pytest
from lightning.pytorch.loggers import Logger
from omegaconf import DictConfig, OmegaConf

from recart.config.compose import compose
from recart.problems import InputError
from recart.training.redactor import HIDDEN, redact
from recart.training.trackers import (
    CsvTracker,
    TensorBoardTracker,
    Tracker,
    WandbTracker,
    tracking,
)

SECRETS = {
    "patient": "SMITH-JOHN-1957",
    "path": "zzsecretfolder",
    "host": "zzsecrethost",
    "user": "zzsecretuser",
    "argv": "zzsecretargument",
    "column": "zz_secret_column",
    "environment": "zzsecrettoken",
    "run name": "zzsecretname",
}


@pytest.fixture
def config() -> DictConfig:
    """A configuration that holds as many secrets as a user could put into one."""
    return compose(
        [
            f"name={SECRETS['run name']}",
            f"data.path=/{SECRETS['path']}/{SECRETS['user']}/cohort.h5mu",
            f"data.endpoint={SECRETS['column']}",
            f"data.positive=[{SECRETS['patient']},19570312]",
            f"+data.columns={{patient: {SECRETS['column']}, {SECRETS['host']}: x}}",
            f"paths.prepared=/{SECRETS['path']}/stores",
            f"+model.{SECRETS['user']}=3",
            f"+callbacks.{SECRETS['user']}={{_target_: zz.{SECRETS['host']}}}",
            f"features.exclude=[{SECRETS['patient']}]",
        ]
    )


def metrics(logger: Logger) -> None:
    for step in range(3):
        logger.log_metrics({"validation/rna": 1.0 / (step + 1)}, step=step)


def hits(folder: Path) -> dict[str, list[str]]:
    found: dict[str, list[str]] = {}
    for path in folder.rglob("*"):
        content = path.read_bytes() if path.is_file() else b""
        for what, secret in SECRETS.items():
            if secret.encode() in content or secret in str(path.relative_to(folder)):
                found.setdefault(what, []).append(path.name)
    return found


@pytest.fixture
def surroundings(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A run folder, a host, a user, a command line and an environment with secrets in them."""
    import socket

    home = tmp_path / "home"
    home.mkdir()
    monkeypatch.setenv("HOME", str(home))
    monkeypatch.setenv("SECRET_TOKEN", SECRETS["environment"])
    monkeypatch.setenv("USER", SECRETS["user"])
    monkeypatch.setenv("LOGNAME", SECRETS["user"])
    monkeypatch.setenv("HOSTNAME", SECRETS["host"])
    for name in [n for n in os.environ if n.startswith("WANDB_")]:
        monkeypatch.delenv(name)
    monkeypatch.setattr(socket, "gethostname", lambda: SECRETS["host"])
    monkeypatch.setattr(sys, "argv", ["train.py", f"data.path={SECRETS['argv']}"])
    run = tmp_path / SECRETS["path"] / "run"
    run.mkdir(parents=True)
    monkeypatch.chdir(run)
    return run


def test_eight_secrets_leave_no_trace_in_a_wandb_run(
    surroundings: Path, config: DictConfig, tmp_path: Path
) -> None:
    trackers = {"wandb": WandbTracker("recart", None, "offline")}
    with tracking(trackers, surroundings / "logs", config) as (logger,):
        metrics(logger)
    written = [p for p in (surroundings / "logs" / "wandb").rglob("*") if p.is_file()]
    assert sum(p.suffix == ".wandb" and p.stat().st_size > 500 for p in written) == 1
    assert hits(surroundings / "logs" / "wandb") == {}
    assert not [p for p in (tmp_path / "home").rglob("*") if p.is_file()]
    assert not [name for name in os.environ if name.startswith("WANDB_") and "DIR" in name]


def test_the_search_for_secrets_finds_them(tmp_path: Path) -> None:
    (tmp_path / "a.log").write_text(f"reading /{SECRETS['path']}/x for {SECRETS['patient']}")
    assert set(hits(tmp_path)) == {"path", "patient"}


def test_a_wandb_run_holds_the_metrics_and_the_numbers_of_the_configuration(
    surroundings: Path, config: DictConfig
) -> None:
    config.model.latent = 7654321
    trackers = {"wandb": WandbTracker("recart", None, "offline")}
    with tracking(trackers, surroundings, config) as (logger,):
        logger.log_metrics({"validation/rna_marker": 0.125}, step=0)
    (path,) = surroundings.rglob("*.wandb")
    content = path.read_bytes()
    assert b"validation/rna_marker" in content
    assert b"7654321" in content
    assert b"recart.models.totalvi.TotalVI" in content


def test_each_run_is_finished_also_after_an_error(surroundings: Path, config: DictConfig) -> None:
    import wandb

    trackers = {"wandb": WandbTracker("recart", None, "offline")}
    for _ in range(2):
        with pytest.raises(KeyError), tracking(trackers, surroundings, config):
            raise KeyError
        assert wandb.run is None
    assert len(list(surroundings.rglob("*.wandb"))) == 2


def test_offline_stands_against_the_environment(
    surroundings: Path, config: DictConfig, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("WANDB_MODE", "online")
    trackers = {"wandb": WandbTracker("recart", None, "offline")}
    with tracking(trackers, surroundings, config) as (logger,):
        assert logger.experiment.offline


def test_an_unknown_mode_is_refused() -> None:
    with pytest.raises(InputError, match="use one of offline, online"):
        WandbTracker("recart", None, "onlin")


@pytest.mark.parametrize("tracker", [CsvTracker(), TensorBoardTracker()])
def test_local_trackers_write_metrics_and_no_secret(
    tracker: Tracker, surroundings: Path, config: DictConfig
) -> None:
    with tracking({"only": tracker}, surroundings, config) as (logger,):
        metrics(logger)
    found = hits(surroundings)
    found.pop("host", None)  # TensorBoard names its file after the host; it stays on the machine
    assert found == {}
    assert [p for p in surroundings.rglob("*") if p.is_file() and p.stat().st_size > 0]


def test_csv_holds_every_step_and_a_second_run_keeps_the_first(
    tmp_path: Path, config: DictConfig
) -> None:
    for _ in range(2):
        with tracking({"csv": CsvTracker()}, tmp_path, config) as (logger,):
            metrics(logger)
    files = sorted(tmp_path.rglob("metrics.csv"))
    assert [p.parent.name for p in files] == ["version_0", "version_1"]
    for file in files:
        lines = file.read_text().splitlines()
        assert lines[0] == "step,validation/rna"
        assert [float(line.split(",")[1]) for line in lines[1:]] == [1.0, 0.5, 1 / 3]


def test_redaction_keeps_numbers_and_own_words(config: DictConfig) -> None:
    redacted = redact(config)
    assert redacted["seed"] == 0
    assert redacted["model"]["latent"] == config.model.latent
    assert redacted["model"]["_target_"] == "recart.models.totalvi.TotalVI"
    assert redacted["data"]["unit"] == "patient"
    assert redacted["data"]["normalised"] is False
    assert redacted["data"]["folds"]["k"] == 5
    assert redacted["trainer"]["accelerator"] == "auto"
    assert redacted["logger"] == {"entry_0": {"_target_": "recart.training.trackers.CsvTracker"}}


def test_redaction_hides_whatever_belongs_to_the_cohort(config: DictConfig) -> None:
    redacted = redact(config)
    assert redacted["name"] == HIDDEN
    assert redacted["paths"] == HIDDEN
    assert redacted["data"]["path"] == HIDDEN
    assert redacted["data"]["endpoint"] == HIDDEN
    assert redacted["data"]["positive"] == HIDDEN  # numbers in it as well
    assert redacted["data"]["columns"] == HIDDEN
    text = json.dumps(redacted)
    assert not [what for what, secret in SECRETS.items() if secret in text]
    assert "19570312" not in text


@pytest.mark.parametrize(
    "value", ["patient-7", "/data", "R01", "deadbeef", "a b", "", "µ", ["x", 3], {"y": "x"}]
)
def test_an_unknown_string_never_passes(value: Any) -> None:
    config = OmegaConf.create({"model": {"_target_": "recart.models.totalvi.TotalVI"}})
    config.model.latent = value
    text = json.dumps(redact(config))
    strings = [value] if isinstance(value, str) else ["x", "y"]
    assert not [s for s in strings if f'"{s}"' in text]
