"""What a user sees who types something wrong: one message, exit status 2, no traceback."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from recart.config.compose import config_folder

ENTRY = """
import os
import signal
import hydra
from omegaconf import DictConfig
from recart.config.check import check_config
from recart.config.command import run_command
from recart.config.compose import again, run_folder
from recart.interruption import goes_on_with

@hydra.main(config_path={configs!r}, config_name="train", version_base="1.3")
def main(config: DictConfig) -> None:
    if os.environ.get("CHECK"):
        check_config(config)
    if config.seed == 99:
        raise RuntimeError("a defect")
    if config.seed == 97:
        raise UnicodeError("a defect")
    if config.seed == 98:
        raise KeyboardInterrupt
    if config.seed == 96:
        with goes_on_with(again("grid/0")):
            os.kill(os.getpid(), signal.SIGTERM)
    with open({told!r}, "a") as file:
        file.write(f"{{config.seed}} {{config.model.latent}} {{run_folder(config)}}\\n")

if __name__ == "__main__":
    run_command(main, "train")
"""


class Entry:
    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.told = folder / "told.txt"
        self.script = folder / "train.py"
        self.script.write_text(ENTRY.format(configs=str(config_folder()), told=str(self.told)))

    def run(self, *arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [sys.executable, str(self.script), *arguments],
            cwd=self.folder,
            env={"PATH": "/usr/bin:/bin", "OMP_NUM_THREADS": "1", **environment},
            capture_output=True,
            text=True,
            check=False,
        )


@pytest.fixture
def entry(tmp_path: Path) -> Entry:
    return Entry(tmp_path)


@pytest.mark.parametrize(
    ("argument", "said"),
    [
        ("model.latnt=3", "did you mean model.latent?"),
        ("seed=abc", "column=seed"),
        ("experiment=null", "leave the group out"),
        ("endpoint={a: 1}", "set endpoint.<key>=... one by one, or write configs/endpoint/"),
    ],
)
def test_bad_input_ends_with_status_2_and_one_message(
    entry: Entry, argument: str, said: str
) -> None:
    done = entry.run(argument)
    assert done.returncode == 2
    assert said in done.stderr
    assert "Traceback" not in done.stderr
    assert not entry.told.exists()


def test_the_traceback_is_there_for_who_asks(entry: Entry) -> None:
    done = entry.run("model.latnt=3", HYDRA_FULL_ERROR="1")
    assert done.returncode == 1
    assert "Traceback" in done.stderr


@pytest.mark.parametrize(("seed", "kind"), [(99, "RuntimeError"), (97, "UnicodeError")])
def test_a_defect_is_not_dressed_as_bad_input(entry: Entry, seed: int, kind: str) -> None:
    done = entry.run(f"seed={seed}")
    assert done.returncode == 1
    assert f"{kind}: a defect" in done.stderr
    assert "Traceback" in done.stderr


@pytest.mark.parametrize("place", ["told", "told/run"])
def test_a_place_that_can_not_be_used_is_named(entry: Entry, place: str) -> None:
    (entry.folder / "told").write_text("a file")
    done = entry.run(f"paths.run={place}")
    assert done.returncode == 2
    assert "E-RUN-016" in done.stderr
    assert place in done.stderr
    assert "Traceback" not in done.stderr


def test_an_interruption_says_how_to_go_on(entry: Entry) -> None:
    done = entry.run("seed=98")
    assert done.returncode == 130
    assert "paths.run=" in done.stderr


def test_a_run_goes_into_the_folder_it_names(entry: Entry) -> None:
    assert entry.run("seed=3", "paths.run=outputs/mine").returncode == 0
    seed, _, folder = entry.told.read_text().split()
    assert seed == "3"
    assert Path(folder) == entry.folder / "outputs" / "mine"
    assert (entry.folder / "outputs" / "mine").is_dir()


def test_a_multirun_numbers_its_folders(entry: Entry) -> None:
    done = entry.run("-m", "model.latent=10,20", "seed=0,1", "paths.sweep=grid")
    assert done.returncode == 0, done.stderr
    rows = [line.split() for line in entry.told.read_text().splitlines()]
    assert [(seed, latent) for seed, latent, _ in rows] == [
        ("0", "10"),
        ("1", "10"),
        ("0", "20"),
        ("1", "20"),
    ]
    assert [Path(row[2]).name for row in rows] == ["0", "1", "2", "3"]
    assert len({row[2] for row in rows}) == 4


def test_a_multirun_does_not_pass_over_the_folder_of_one_run(entry: Entry) -> None:
    done = entry.run("-m", "seed=0,1", "paths.run=mine", "paths.sweep=grid")
    assert done.returncode == 2
    assert "paths.sweep=..." in done.stderr
    assert not entry.told.read_text()


def test_a_multirun_goes_on_with_the_folder_of_all(entry: Entry) -> None:
    done = entry.run("-m", "seed=96", "paths.sweep=grid")
    assert done.returncode == 143
    assert "same command with paths.sweep=grid" in done.stderr


@pytest.mark.slow
def test_a_bad_job_of_a_multirun_fails_the_multirun(entry: Entry) -> None:
    done = entry.run("-m", "model.latent=10,ten", "paths.sweep=grid", CHECK="1")
    assert done.returncode == 2
    assert "'ten' is not of type int" in done.stderr


def test_help_shows_the_configuration(entry: Entry) -> None:
    done = entry.run("--help")
    assert done.returncode == 0
    assert "latent: 10" in done.stdout
