"""A sweep whose trials lie in a PostgreSQL server: whole, once, and its password nowhere else."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import tempfile
import time
from collections.abc import Iterator
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
    *("data.reader.patients=10", "data.reader.cells_per_sample=30", "data.reader.genes=170"),
    *("data.limits.min_cells=2", "data.limits.min_per_class=3", "data/receptors=none"),
    *("data.folds.k=2", "features.prior_cells=5", "training.epochs=1"),
    *("training.warmup_epochs=1", "model.hidden=8", "model.latent=4", "head.inner_folds=2"),
    "trainer.accelerator=cpu",
]


def programs() -> Path | None:
    """The folder of PostgreSQL's programs, which Debian keeps out of PATH."""
    there = shutil.which("initdb")
    if there is not None:
        return Path(there).parent
    return max(Path("/usr/lib/postgresql").glob("*/bin"), default=None)


@pytest.fixture(scope="module")
def url() -> Iterator[str]:
    """Of a server that listens on a socket in a folder of its own."""
    pytest.importorskip("psycopg", reason="the extra postgresql is not installed")
    where = programs()
    if where is None:
        pytest.skip("PostgreSQL is not installed")
    folder = Path(tempfile.mkdtemp(prefix="pg"))  # a socket's path is at most 107 characters
    (folder / "word").write_text(PASSWORD)
    own = {}
    if os.geteuid() == 0:  # it does not run as root
        own = {"user": "postgres"}
        for path in (folder, folder / "word"):
            shutil.chown(path, "postgres")
    quiet = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL, "cwd": folder, **own}
    data = str(folder / "data")
    made = ["-U", "sweeper", f"--pwfile={folder / 'word'}", "--auth=scram-sha-256", "--no-sync"]
    subprocess.run([str(where / "initdb"), "-D", data, *made], check=True, **quiet)
    options = ["-k", str(folder), "-c", "listen_addresses=", "-c", "fsync=off"]
    server = subprocess.Popen([str(where / "postgres"), "-D", data, *options], **quiet)
    try:
        while not (folder / ".s.PGSQL.5432").exists():
            assert server.poll() is None
            time.sleep(0.05)
        yield f"postgresql+psycopg://sweeper:{PASSWORD}@/postgres?host={folder}"
    finally:
        server.send_signal(signal.SIGINT)
        server.wait()
        shutil.rmtree(folder)


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
    studies = optuna.get_all_study_names(url)
    assert sorted(studies) == ["swept/r0f0", "swept/r0f1"]
    for name in studies:
        trials = optuna.load_study(study_name=name, storage=url).trials
        assert [trial.state.name for trial in trials] == ["COMPLETE"] * 2
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
