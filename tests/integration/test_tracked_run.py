"""What leaves a run through its trackers: numbers, and none of eight secrets; and nothing waits.

Trackers are real; W&B's servers are stood in for by ones that refuse, fail or hang.
"""

from __future__ import annotations

import hashlib
import importlib.util
import os
import socket
import sys
import threading
import time
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

from recart.config.compose import compose
from recart.evaluation.launch import evaluate_run
from recart.report.tracked_evaluation import track_evaluation
from recart.training.launch import train_run
from recart.training.run_directory import RunDirectory

pytestmark = [
    pytest.mark.slow,  # trains
    # MLflow's own on SQLAlchemy and pydantic
    pytest.mark.filterwarnings("ignore"),
]

HOST, USER, FOLDER = "QQHOSTNAME", "QQUSERNAME", "QQFOLDER"
ARGUMENT, TOKEN = "QQARGUMENT", "QQTOKEN"
HERE = ["executor=in_process", "trainer.accelerator=cpu"]
LOGGERS = ["wandb", *(["mlflow"] if importlib.util.find_spec("mlflow") else [])]


@pytest.fixture
def secrets(place: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> dict[str, str]:
    """Nine secrets that surround a training; its folder's and its user's names are among them."""
    home = tmp_path / USER
    home.mkdir()
    for name in [n for n in os.environ if n.startswith("WANDB_")]:
        monkeypatch.delenv(name)
    for name in ("USER", "LOGNAME", "USERNAME"):
        monkeypatch.setenv(name, USER)
    monkeypatch.setenv("HOME", str(home))
    monkeypatch.setenv("HOSTNAME", HOST)
    monkeypatch.setenv("SECRET_TOKEN", TOKEN)
    monkeypatch.setattr(socket, "gethostname", lambda: HOST)
    monkeypatch.setattr(sys, "argv", ["train.py", f"data.path={ARGUMENT}"])
    chains = place.simulate(16, seed=3).chains  # those of the file
    patient, sample, batch = place.secrets
    return {
        "patient": patient,
        "sample": sample,
        "batch": batch,
        "sequence": str(chains["junction_aa"].iloc[0]),
        "path": FOLDER,
        "host": HOST,
        "user": USER,
        "argument": ARGUMENT,
        "token": TOKEN,
    }


def found_in(folder: Path, secrets: dict[str, str]) -> dict[str, list[str]]:
    """Secrets in bytes, names and links of all files below a folder, and where."""
    found: dict[str, list[str]] = {}
    for path in sorted(folder.rglob("*")):
        content = path.read_bytes() if path.is_file() else b""
        link = os.readlink(path) if path.is_symlink() else ""
        for what, secret in secrets.items():
            if secret.encode() in content or secret in f"{path.relative_to(folder)} {link}":
                found.setdefault(what, []).append(path.name)
    return found


@pytest.mark.parametrize("logger", LOGGERS)
def test_no_secret_leaves_through_a_tracker(
    logger: str,
    place: Any,
    secrets: dict[str, str],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    study = tmp_path / FOLDER
    study.mkdir()
    monkeypatch.chdir(study)
    settings = place.settings("run", *HERE, f"logger={logger}", f"name={USER}")
    settings += [f"paths.run={study / 'run'}", f"paths.prepared={study / 'prepared'}"]
    train_run(compose(settings))
    run = RunDirectory.open(study / "run")
    track_evaluation(evaluate_run(run), run)
    written = {path.suffix or path.name.split(".")[0] for path in run.logs.rglob("*")}
    assert {".csv", ".recart"} <= written  # TensorBoard's file ends so
    assert found_in(run.logs, secrets) == {}
    if logger == "wandb":
        # three members and the evaluation, with its tables beside it
        assert len(list((run.logs / "wandb").rglob("*.wandb"))) == 4
        (metrics,) = (run.logs / "wandb").rglob("metrics.csv")
        assert {"recart", "composition"} <= set(metrics.read_text().replace("\n", ",").split(","))
        (decision,) = (run.logs / "wandb").rglob("curve_decision.csv")
        assert len(decision.read_text().splitlines()) == 92
    else:
        store = (study / "prepared" / "mlflow.db").read_bytes()
        assert b"recart/auroc" in store
        assert not [what for what, secret in secrets.items() if secret.encode() in store]
    assert not [path for path in (tmp_path / USER).rglob("*") if logger in str(path).lower()]
    # the search would have found them: they are what the run was made of
    assert set(found_in(place.folder, secrets)) >= {"patient", "sample", "sequence"}
    assert "path" in found_in(study / "run", secrets)  # in its own configuration


def _serve(answer: Callable[[BaseHTTPRequestHandler], None]) -> Iterator[str]:
    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            answer(self)

        def do_POST(self) -> None:
            answer(self)

        def log_message(self, *_: Any) -> None: ...

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{server.server_port}"
    server.shutdown()
    server.server_close()


@pytest.fixture
def asked() -> list[str]:
    """What a server was asked for."""
    return []


@pytest.fixture(params=["refuses", "answers 500", "hangs"])
def bad_server(
    request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch, asked: list[str]
) -> Iterator[str]:
    """A server that W&B is told is its own, with an account there; how it behaves."""
    monkeypatch.setenv("WANDB_API_KEY", 40 * "0")
    over = threading.Event()

    def answer(own: BaseHTTPRequestHandler) -> None:
        asked.append(own.path)
        if request.param == "hangs":
            over.wait(600)
        else:
            own.send_error(500)

    if request.param == "refuses":
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            monkeypatch.setenv("WANDB_BASE_URL", f"http://127.0.0.1:{free.getsockname()[1]}")
        yield request.param
        return
    for address in _serve(answer):
        monkeypatch.setenv("WANDB_BASE_URL", address)
        yield request.param
        over.set()


def members(folder: Path, place: Any, *more: str) -> dict[str, str]:
    """Train; hashes of the members' files."""
    train_run(compose(place.settings("run", *HERE, f"paths.run={folder}", *more)))
    files = sorted((folder / "checkpoints").iterdir())
    return {path.name: hashlib.sha256(path.read_bytes()).hexdigest() for path in files}


@pytest.fixture(scope="module")
def untracked(place: Any, tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """The members of a training that no server is told of."""
    return members(tmp_path_factory.mktemp("untracked") / "run", place, "logger=csv")


def test_a_server_that_does_not_answer_changes_nothing(
    bad_server: str,
    place: Any,
    untracked: dict[str, str],
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    capsys.readouterr()
    started = time.monotonic()
    online = ["logger=wandb", "logger.wandb.mode=online", "logger.wandb.patience=5"]
    assert members(tmp_path / bad_server, place, *online) == untracked
    assert time.monotonic() - started < 300
    said = capsys.readouterr().err
    assert said.count("Weights & Biases") == 1, said
    assert "did not take in 3 of 3 runs" in said
    runs = list((tmp_path / bad_server / "logs" / "wandb").glob("offline-run-*"))
    assert len(runs) == 3  # they can be sent later


def test_no_upload_outlives_its_patience(
    bad_server: str, asked: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Bounded in time, named once, no process left, and no log of W&B's."""
    import psutil

    from recart.training.trackers import tracked
    from recart.training.wandb_tracker import WandbTracker
    from recart.training.wandb_upload import Uploads

    here = tmp_path / "here"
    here.mkdir()
    monkeypatch.chdir(here)
    WandbTracker("recart", None, "offline", 5).record(
        tracked(tmp_path, compose([]), {}, print), {"metrics": [{"model": "recart", "auroc": 0.5}]}
    )
    (run,) = (tmp_path / "wandb").glob("offline-run-*")
    for _ in range(2):
        before, said = len(asked), list[str]()
        uploads = Uploads(tmp_path, 8, said.append, online=True)
        started = time.monotonic()
        uploads.send(run)
        uploads.close()
        assert time.monotonic() - started < 300
        assert len(said) == 1
        assert bad_server == "refuses" or len(asked) > before  # it was really tried
        assert not [p for p in psutil.Process().children(True) if "sync" in " ".join(p.cmdline())]
        assert list(here.iterdir()) == []  # they would name user and folders
        assert not list(tmp_path.rglob("*debug*"))
