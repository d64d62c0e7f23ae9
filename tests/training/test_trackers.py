from __future__ import annotations

import csv
import json
import os
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
from omegaconf import DictConfig, OmegaConf

from recart.config.build import build_each
from recart.config.compose import compose
from recart.contracts import Member, MemberSettings
from recart.problems import InputError
from recart.training.epoch_reports import EpochReport, EpochWatcher
from recart.training.redactor import HIDDEN, redact, redact_metrics, redact_rows
from recart.training.trackers import (
    CsvTracker,
    Table,
    TensorBoardTracker,
    Tracked,
    Tracker,
    tracked,
    tracking,
)
from recart.training.wandb_tracker import WandbTracker

SECRETS = {
    "patient": "SMITH-JOHN-1957",
    "path": "zzsecretfolder",
    "host": "zzsecrethost",
    "user": "zzsecretuser",
    "argv": "zzsecretargument",
    "column": "zz_secret_column",
    "environment": "zzsecrettoken",
    "run name": "zzsecretname",
    "number of a patient": "19570312",
}
TABLES: dict[str, Table] = {
    "metrics": [{"model": "recart", "auroc": 0.75}, {"model": "composition", "auroc": 0.5}],
    "curve_roc": [{"share": 0.0, "found": 0.25}, {"share": 0.5, "found": 1.0}],
}


@pytest.fixture
def config() -> DictConfig:
    """A configuration that holds as many secrets as a user could put into one."""
    return compose(
        [
            f"name={SECRETS['run name']}",
            f"data.path=/{SECRETS['path']}/{SECRETS['user']}/cohort.h5mu",
            f"data.endpoint={SECRETS['column']}",
            f"data.positive=[{SECRETS['patient']},{SECRETS['number of a patient']}]",
            "data/folds=external",
            f"data.folds.column={SECRETS['column']}",
            f"data.folds.values=[{SECRETS['number of a patient']}]",
            f"+data.columns={{patient: {SECRETS['column']}, {SECRETS['host']}: x}}",
            f"paths.prepared=/{SECRETS['path']}/stores",
            f"+model.{SECRETS['user']}=3",
            f"+callbacks.{SECRETS['user']}={{_target_: zz.{SECRETS['host']}}}",
            f"features.exclude=[{SECRETS['patient']}]",
        ]
    )


def members() -> dict[str, Member]:
    own = {"train": (0,), "validation": (1,), "held_out": (2,)}
    return {
        f"r0f{i}": Member(
            name=f"r0f{i}", fold=i, repeat=0, seed=98760 + i, settings=MemberSettings(lr=0.5), **own
        )
        for i in range(2)
    }


def run_of(folder: Path, config: DictConfig, say: Callable[[str], None] | None = None) -> Tracked:
    return tracked(folder, config, members(), say or (lambda _: None))


def follow(
    tracker: Tracker,
    folder: Path,
    config: DictConfig,
    say: Callable[[str], None] | None = None,
    epochs: int = 3,
) -> None:
    """Two jobs of a member each report three epochs."""
    with tracking({"only": tracker}, run_of(folder, config, say)) as (watcher,):
        watcher.start({"r0f0": 1, "r0f1": 1}, epochs)
        for epoch in range(epochs):
            for job in ("r0f0", "r0f1"):
                means = {"validation/rna": 1.0 / (epoch + 1), "members_done": 0.0}
                watcher.advance(job, EpochReport(epoch=epoch, step=epoch, means=means))
        watcher.end("r0f0")
        watcher.end("r0f1")
        watcher.stop()


def hits(folder: Path) -> dict[str, list[str]]:
    """Secrets in the names, the bytes and the targets of links of all files below a folder."""
    found: dict[str, list[str]] = {}
    for path in folder.rglob("*"):
        content = path.read_bytes() if path.is_file() else b""
        link = os.readlink(path) if path.is_symlink() else ""
        for what, secret in SECRETS.items():
            if secret.encode() in content or secret in f"{path.relative_to(folder)} {link}":
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


def offline() -> WandbTracker:
    return WandbTracker("recart", None, "offline", 5)


def events(folder: Path) -> list[tuple[str, int, float]]:
    """Tag, step and value of all that TensorBoard reads below a folder."""
    from tensorboard.backend.event_processing.event_file_loader import LegacyEventFileLoader

    found = []
    for path in sorted(folder.rglob("*tfevents*")):
        for event in LegacyEventFileLoader(str(path)).Load():
            found += [(own.tag, event.step, own.simple_value) for own in event.summary.value]
    return found


def test_nine_secrets_leave_no_trace_in_wandbs_runs(
    surroundings: Path, config: DictConfig, tmp_path: Path
) -> None:
    tracker = offline()
    follow(tracker, surroundings / "logs", config)
    tracker.record(run_of(surroundings / "logs", config), TABLES)
    written = [p for p in (surroundings / "logs").rglob("*") if p.is_file()]
    # a run for each job and one for the evaluation
    assert sum(p.suffix == ".wandb" and p.stat().st_size > 500 for p in written) == 3
    assert hits(surroundings / "logs") == {}
    assert not [p for p in (tmp_path / "home").rglob("*") if p.is_file()]
    assert not [name for name in os.environ if name.startswith("WANDB_") and "DIR" in name]


def test_the_search_for_secrets_finds_them(tmp_path: Path) -> None:
    (tmp_path / "a.log").write_text(f"reading /{SECRETS['path']}/x for {SECRETS['patient']}")
    (tmp_path / "b").symlink_to(f"/{SECRETS['user']}")
    assert set(hits(tmp_path)) == {"path", "patient", "user"}


def test_jobs_are_one_group_and_their_folds_stand_in_their_configuration(
    surroundings: Path, config: DictConfig
) -> None:
    config.model.latent = 7654321
    follow(offline(), surroundings, config)
    group = json.loads((surroundings / "group.json").read_text())["group"].encode()
    paths = sorted(surroundings.rglob("*.wandb"))
    assert len(paths) == 2
    for path in paths:
        content = path.read_bytes()
        assert b"recart-" + group in content
        for word in (b"validation/rna", b"7654321", b"recart.models.totalvi.TotalVI"):
            assert word in content
        assert b"fold" in content
        assert (b"98760" in content) != (b"98761" in content)  # the seed of its own member


def test_what_a_member_is_told_by(config: DictConfig, tmp_path: Path) -> None:
    run = run_of(tmp_path, config)
    assert run.places_of("r0f1") == {"fold": 1, "repeat": 0, "seed": 98761, "lr": 0.5}
    both = {"fold": [0, 1], "repeat": [0, 0], "seed": [98760, 98761], "lr": [0.5, 0.5]}
    assert run.places_of("r0f0, r0f1") == both


def test_the_evaluations_tables_lie_in_the_run(surroundings: Path, config: DictConfig) -> None:
    offline().record(run_of(surroundings, config), TABLES)
    (place,) = (surroundings / "wandb").glob("offline-run-*")
    with (place / "files" / "curve_roc.csv").open() as file:
        assert list(csv.DictReader(file))[1] == {"share": "0.5", "found": "1.0"}
    assert (place / "files" / "metrics.csv").exists()


def interrupted(folder: Path, config: DictConfig) -> None:
    with tracking({"w": offline()}, run_of(folder, config)) as (own,):
        own.start({"r0f0": 1}, 3)
        own.advance("r0f0", EpochReport(epoch=0, step=0, means={"members_done": 0.0}))
        raise KeyError


def test_runs_are_finished_also_after_an_error(surroundings: Path, config: DictConfig) -> None:
    for _ in range(2):
        with pytest.raises(KeyError):
            interrupted(surroundings, config)
    assert len(list(surroundings.rglob("*.wandb"))) == 2


def test_offline_stands_against_the_environment(
    surroundings: Path, config: DictConfig, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("WANDB_MODE", "online")
    run = offline().begin(run_of(surroundings, config), "training", {})
    assert run.offline
    run.finish()


def test_an_unknown_mode_is_refused() -> None:
    with pytest.raises(InputError, match="use one of offline, online"):
        WandbTracker("recart", None, "onlin", 5)


def test_online_without_an_account_is_refused_before_anything_trains(
    surroundings: Path, config: DictConfig
) -> None:
    tracker = WandbTracker("recart", None, "online", 5)
    with (
        pytest.raises(InputError, match=r"E-LOG-003.*wandb login"),
        tracking({"wandb": tracker}, run_of(surroundings, config)),
    ):
        pass


@pytest.mark.parametrize("tracker", [CsvTracker(), TensorBoardTracker()])
def test_local_trackers_write_metrics_and_no_secret(
    tracker: Tracker, surroundings: Path, config: DictConfig
) -> None:
    follow(tracker, surroundings, config)
    tracker.record(run_of(surroundings, config), TABLES)
    assert hits(surroundings) == {}
    assert [p for p in surroundings.rglob("*") if p.is_file() and p.stat().st_size > 0]


@pytest.mark.slow  # MLflow makes a new store: 15 seconds
@pytest.mark.filterwarnings("ignore")  # MLflow's own on SQLAlchemy and pydantic
def test_mlflow_writes_metrics_and_no_secret(surroundings: Path, config: DictConfig) -> None:
    pytest.importorskip("mlflow", reason="the extra mlflow is not installed")
    import sqlite3

    tracker = build_each(compose(["logger=mlflow"]).logger)["mlflow"]
    tracker.store = str(surroundings / "store" / "mlflow.db")
    follow(tracker, surroundings / "logs", config)
    tracker.record(run_of(surroundings / "logs", config), TABLES)
    with sqlite3.connect(tracker.store) as store:
        rows = store.execute("select key, step, value from metrics").fetchall()
        parameters = dict(store.execute("select key, value from params").fetchall())
    assert ("validation/rna", 2, 1 / 3) in rows
    assert ("recart/auroc", 0, 0.75) in rows
    assert ("curve_roc/found", 1, 1.0) in rows
    assert parameters["data.path"] == HIDDEN
    assert parameters["model._target_"] == "recart.models.totalvi.TotalVI"
    assert hits(surroundings) == {}


@pytest.fixture
def mlflow_server() -> Iterator[tuple[str, list[tuple[str, str, bytes]]]]:
    """Stands in for MLflow's tracking server: keeps paths, headers and bodies."""
    got: list[tuple[str, str, bytes]] = []
    answers = {
        "experiments/create": {"experiment_id": "7"},
        "runs/create": {"run": {"info": {"run_id": "abc", "experiment_id": "7"}, "data": {}}},
        "runs/update": {"run_info": {"run_id": "abc"}},
    }

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
            got.append((self.path, str(self.headers), body))
            call = self.path.partition("/mlflow/")[2].partition("?")[0]
            missing = call == "experiments/get-by-name"
            reply = {"error_code": "RESOURCE_DOES_NOT_EXIST"} if missing else answers.get(call, {})
            content = json.dumps(reply).encode()
            self.send_response(404 if missing else 200)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(content)))
            self.end_headers()
            self.wfile.write(content)

        do_POST = do_GET  # noqa: N815

        def log_message(self, *_: Any) -> None: ...

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{server.server_port}", got
    server.shutdown()
    server.server_close()


@pytest.mark.slow  # imports MLflow
@pytest.mark.filterwarnings("ignore")
def test_a_tracking_server_gets_metrics_and_no_secret(
    surroundings: Path, config: DictConfig, mlflow_server: tuple[str, Any]
) -> None:
    pytest.importorskip("mlflow", reason="the extra mlflow is not installed")
    address, got = mlflow_server
    tracker = build_each(compose(["logger=mlflow", f"logger.mlflow.store={address}"]).logger)
    said: list[str] = []
    follow(tracker["mlflow"], surroundings / "logs", config, said.append)
    assert said == []
    sent = [json.loads(body) for path, _, body in got if "log-batch" in path]
    metrics = [(own["key"], own["value"]) for one in sent for own in one.get("metrics", ())]
    assert [value for key, value in metrics if key == "validation/rna"] == [1.0, 0.5, 1 / 3]
    parameters = {own["key"]: own["value"] for one in sent for own in one.get("params", ())}
    assert parameters["data.path"] == HIDDEN
    everything = "".join(f"{path} {headers} {body.decode()}" for path, headers, body in got)
    assert "RUNNING" in everything or "FINISHED" in everything
    assert not [what for what, secret in SECRETS.items() if secret in everything]
    assert str(surroundings) not in everything


def test_without_mlflow_the_mend_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    import importlib.util

    found = importlib.util.find_spec
    monkeypatch.setattr(
        importlib.util, "find_spec", lambda name: None if name == "mlflow" else found(name)
    )
    tracker = build_each(compose(["logger=mlflow"]).logger)["mlflow"]
    with pytest.raises(InputError, match=r"E-LOG-004.*pip install -e '\.\[mlflow\]'"):
        tracker.check()


def test_tensorboard_reads_every_epoch_and_the_evaluation(
    tmp_path: Path, config: DictConfig
) -> None:
    tracker = TensorBoardTracker()
    follow(tracker, tmp_path, config)
    tracker.record(run_of(tmp_path, config), TABLES)
    found = events(tmp_path)
    assert [own[1:] for own in found if own[0] == "validation/rna"] == [
        (0, 1.0),
        (1, 0.5),
        (2, pytest.approx(1 / 3)),
    ]
    assert ("evaluation/recart/auroc", 0, 0.75) in found
    assert ("curve_roc/found", 1, 1.0) in found


def test_csv_holds_every_step_and_a_second_run_keeps_the_first(
    tmp_path: Path, config: DictConfig
) -> None:
    for _ in range(2):
        follow(CsvTracker(), tmp_path, config)
    files = sorted(tmp_path.rglob("metrics.csv"))
    assert [p.parent.name for p in files] == ["version_0", "version_1"]
    for file in files:
        lines = file.read_text().splitlines()
        assert lines[0] == "epoch,members_done,step,validation/rna"
        assert [float(line.split(",")[-1]) for line in lines[1:]] == [1.0, 0.5, 1 / 3]


def test_csv_and_tensorboard_are_always_there() -> None:
    local = {"csv": CsvTracker, "tensorboard": TensorBoardTracker}
    for asked, more in (("", {}), ("wandb", {"wandb": WandbTracker}), ("mlflow", None)):
        made = build_each(compose([f"logger={asked}"] if asked else []).logger)
        if more is not None:
            assert {name: type(own) for name, own in made.items()} == {**local, **more}
        assert set(local) <= set(made)


class Wrong(Tracker):
    """Fails, or never comes back, where it is told to."""

    limit = 0.5

    def __init__(self, where: str, how: str) -> None:
        self.where = where
        self.how = how
        self.over = threading.Event()

    def now(self, where: str) -> None:
        if where == self.where:
            if self.how == "fails":
                raise OSError(28, "No space left on device")
            self.over.wait(60)

    @contextmanager
    def follow(self, run: Tracked) -> Iterator[EpochWatcher]:  # noqa: ARG002
        outer = self

        class Watcher(EpochWatcher):
            def start(self, *_: Any) -> None:
                outer.now("start")

            def advance(self, *_: Any) -> None:
                outer.now("advance")

            def end(self, *_: Any) -> None:
                outer.now("end")

            def stop(self) -> None:
                outer.now("stop")

        self.now("open")
        yield Watcher()
        self.now("close")

    def record(self, run: Tracked, tables: Any) -> None: ...


@pytest.mark.parametrize("where", ["open", "start", "advance", "end", "stop", "close"])
@pytest.mark.parametrize("how", ["fails", "hangs"])
def test_a_tracker_that_fails_or_hangs_holds_up_nothing_and_is_named_once(
    how: str, where: str, tmp_path: Path, config: DictConfig
) -> None:
    said: list[str] = []
    tracker = Wrong(where, how)
    started = time.monotonic()
    follow(tracker, tmp_path, config, said.append)
    spent = time.monotonic() - started
    tracker.over.set()
    assert spent < 30
    (line,) = said
    assert line.startswith("only: ")
    assert ("No space left" in line) is (how == "fails")


def test_metrics_are_numbers_under_recarts_names() -> None:
    given = {
        "validation/rna": 1,
        "lr-Adam": 0.5,
        SECRETS["patient"]: 2.0,
        "note": SECRETS["argv"],
        "kl_weight": True,
    }
    found = redact_metrics(given)
    assert found == {"validation/rna": 1.0, "lr-Adam": 0.5, "entry_2": 2.0}


def test_tables_hold_numbers_and_listed_words() -> None:
    rows = [{"model": "recart", "auroc": 0.5, "patient": SECRETS["patient"], "P-17": 1}]
    assert redact_rows(rows, {"recart"}) == [
        {"model": "recart", "auroc": 0.5, "patient": HIDDEN, "entry_3": 1}
    ]


def test_redaction_keeps_numbers_and_own_words(config: DictConfig) -> None:
    redacted = redact(config)
    assert redacted["seed"] == 0
    assert redacted["model"]["latent"] == config.model.latent
    assert redacted["model"]["_target_"] == "recart.models.totalvi.TotalVI"
    assert redacted["data"]["unit"] == "patient"
    assert redacted["data"]["normalised"] is False
    assert redacted["data"]["folds"]["repeats"] == 10
    assert redacted["trainer"]["accelerator"] == "auto"
    assert redacted["logger"] == {
        "entry_0": {"_target_": "recart.training.trackers.CsvTracker"},
        "entry_1": {"_target_": "recart.training.trackers.TensorBoardTracker"},
    }


def test_redaction_hides_whatever_belongs_to_the_cohort(config: DictConfig) -> None:
    redacted = redact(config)
    assert redacted["name"] == HIDDEN
    assert redacted["paths"] == HIDDEN
    assert redacted["data"]["path"] == HIDDEN
    assert redacted["data"]["endpoint"] == HIDDEN
    assert redacted["data"]["positive"] == HIDDEN  # numbers in it as well
    assert redacted["data"]["columns"] == HIDDEN
    assert redacted["data"]["folds"]["values"] == [HIDDEN]
    text = json.dumps(redacted)
    assert not [what for what, secret in SECRETS.items() if secret in text]


def test_a_number_passes_only_where_a_class_takes_one() -> None:
    config = compose(["data/folds=external", "data.folds.column=7", "data.folds.values=[7]"])
    config.data.folds.block, config.data.folds.repeats = 7, 3
    slurm = "recart.training.executors.slurm.Slurm"
    config.executor = {"_target_": slurm, "options": {"a": 7}, "cpus": 2}
    redacted = redact(config)
    folds = redacted["data"]["folds"]
    assert (folds["column"], folds["values"], folds["block"]) == (HIDDEN, [HIDDEN], HIDDEN)
    assert (folds["repeats"], folds["validation"]) == (3, 0.2)
    assert redacted["executor"]["options"] == {"entry_0": HIDDEN}
    assert redacted["executor"]["cpus"] == 2


@pytest.mark.parametrize(
    "value", ["patient-7", "/data", "R01", "deadbeef", "a b", "", "µ", ["x", 3], {"y": "x"}]
)
def test_an_unknown_string_never_passes(value: Any) -> None:
    config = OmegaConf.create({"model": {"_target_": "recart.models.totalvi.TotalVI"}})
    config.model.latent = value
    text = json.dumps(redact(config))
    strings = [value] if isinstance(value, str) else ["x", "y"]
    assert not [s for s in strings if f'"{s}"' in text]
