"""A sweep whose trials lie in a database server: whole, once, and its password nowhere else."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import optuna
import pytest

from recart.config.compose import compose
from recart.problems import InputError
from recart.sweep.launch import run_sweep
from recart.sweep.storages import Database

pytestmark = pytest.mark.slow  # starts a server, and sweeps

PASSWORD = "zzsecretpassword"
SMALL = [
    *("sweep=heads", "sweep.budget=2", "sweep/storage=database", "executor=in_process"),
    *("sweep.space.head.prototypes.low=2", "sweep.space.head.prototypes.high=6"),
    *("data.reader.patients=12", "data.reader.cells_per_sample=30", "data.reader.genes=170"),
    *("data.limits.min_cells=2", "data.limits.min_per_class=3", "data/receptors=none"),
    *("data.folds.k=2", "features.prior_cells=5", "training.epochs=1"),
    *("training.warmup_epochs=1", "model.hidden=8", "model.latent=4", "head.inner_folds=2"),
    "trainer.accelerator=cpu",
]


QUIET = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}


def programs() -> Path | None:
    """The folder of PostgreSQL's programs, which Debian keeps out of PATH."""
    there = shutil.which("initdb")
    if there is not None:
        return Path(there).parent
    return max(Path("/usr/lib/postgresql").glob("*/bin"), default=None)


@contextmanager
def server_folder(user: str) -> Iterator[tuple[Path, dict[str, str]]]:
    """A folder for a server and its socket, and as whom it runs: a server does not run as root."""
    folder = Path(tempfile.mkdtemp(prefix="db"))  # a socket's path is at most 107 characters
    own = {}
    if os.geteuid() == 0:
        own = {"user": user}
        shutil.chown(folder, user)
    try:
        yield folder, own
    finally:
        shutil.rmtree(folder)


@contextmanager
def started(command: list[str], socket: Path, own: dict[str, str]) -> Iterator[None]:
    """The server, from when its socket is there."""
    server = subprocess.Popen(command, cwd=socket.parent, **QUIET, **own)  # type: ignore[call-overload]
    try:
        while not socket.exists():
            assert server.poll() is None
            time.sleep(0.05)
        yield
    finally:
        server.send_signal(signal.SIGTERM)
        server.wait()


def postgresql() -> Iterator[str]:
    pytest.importorskip("psycopg", reason="the extra postgresql is not installed")
    where = programs()
    if where is None:
        pytest.skip("PostgreSQL is not installed")
    with server_folder("postgres") as (folder, own):
        word, data = folder / "word", str(folder / "data")
        word.write_text(PASSWORD)
        if own:
            shutil.chown(word, own["user"])
        made = ["-U", "sweeper", f"--pwfile={word}", "--auth=scram-sha-256", "--no-sync"]
        subprocess.run(
            [str(where / "initdb"), "-D", data, *made], check=True, cwd=folder, **QUIET, **own
        )
        options = ["-k", str(folder), "-c", "listen_addresses=", "-c", "fsync=off"]
        command = [str(where / "postgres"), "-D", data, *options]
        with started(command, folder / ".s.PGSQL.5432", own):
            yield f"postgresql+psycopg://sweeper:{PASSWORD}@/postgres?host={folder}"


def mysql() -> Iterator[str]:
    pymysql = pytest.importorskip("pymysql", reason="the extra mysql is not installed")
    where, make = shutil.which("mariadbd"), shutil.which("mariadb-install-db")
    if where is None or make is None:
        pytest.skip("MariaDB is not installed")
    with server_folder("mysql") as (folder, own):
        data, socket = str(folder / "data"), folder / "mysql.sock"
        made = ["--auth-root-authentication-method=normal", "--skip-test-db"]
        subprocess.run(
            [make, "--no-defaults", f"--datadir={data}", *made],
            check=True,
            cwd=folder,
            **QUIET,
            **own,
        )
        options = [f"--socket={socket}", "--skip-networking", f"--pid-file={folder / 'pid'}"]
        with started([where, "--no-defaults", f"--datadir={data}", *options], socket, own):
            with pymysql.connect(unix_socket=str(socket), user="root") as connection:
                cursor = connection.cursor()
                cursor.execute("CREATE DATABASE trials")
                cursor.execute(f"CREATE USER sweeper@localhost IDENTIFIED BY '{PASSWORD}'")
                cursor.execute("GRANT ALL ON trials.* TO sweeper@localhost")
            yield f"mysql+pymysql://sweeper:{PASSWORD}@localhost/trials?unix_socket={socket}"


@pytest.fixture(scope="module", params=[postgresql, mysql], ids=["postgresql", "mysql"])
def url(request: pytest.FixtureRequest) -> Iterator[str]:
    """Of a server that listens on a socket in a folder of its own."""
    yield from request.param()


def test_a_sweep_in_a_database(
    url: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capfd: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setenv("RECART_SWEEP_STORAGE", url)
    places = [f"paths.prepared={tmp_path / 'prepared'}", f"paths.run={tmp_path / 'swept'}"]
    for _ in range(2):  # the second finds everything there
        run_sweep(compose([*SMALL, *places]))
    storage = optuna.storages.RDBStorage(url)
    studies = {own.study_name: own._study_id for own in storage.get_all_studies()}
    assert sorted(studies) == ["swept/r0f0", "swept/r0f1"]
    for number in studies.values():
        trials = storage.get_all_trials(number)
        assert [trial.state.name for trial in trials] == ["COMPLETE"] * 2
    storage.remove_session()
    storage.engine.dispose()
    assert not (tmp_path / "swept" / "study.db").exists()
    written = [path for path in tmp_path.rglob("*") if path.is_file()]
    assert len(written) > 10
    assert not [path for path in written if PASSWORD.encode() in path.read_bytes()]
    assert PASSWORD not in "".join(capfd.readouterr())


def test_a_wrong_password_is_refused_and_not_repeated(url: str, tmp_path: Path) -> None:
    with pytest.raises(InputError, match="E-SWEEP-010") as caught:
        Database(url=url.replace(PASSWORD, "zzotherword")).open(tmp_path)
    assert "zzotherword" not in str(caught.value)
    assert caught.value.__suppress_context__
