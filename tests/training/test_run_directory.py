from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from omegaconf import DictConfig, OmegaConf

from recart.config.build import build
from recart.problems import InputError
from recart.training.atomic_files import write_atomically
from recart.training.run_directory import RunDirectory


@pytest.fixture
def config() -> DictConfig:
    return OmegaConf.create(
        {
            "seed": 3,
            "name": "r",
            "paths": {"run": "here"},
            "logger": {},
            "model": {"latent": 10, "seed": "${seed}", "hidden": [1, 2]},
        }
    )


def test_what_was_created_is_opened_again(tmp_path: Path, config: DictConfig) -> None:
    made = RunDirectory.create(tmp_path / "run", config, {"seed": 3})
    opened = RunDirectory.open(tmp_path / "run")
    assert opened.config == made.config
    assert opened.seeds == {"seed": 3}
    assert opened.config.model.seed == 3  # resolved: the file stands alone
    assert "${" not in (tmp_path / "run" / "config.yaml").read_text()
    assert opened.checkpoints.is_dir()
    assert opened.split == tmp_path / "run" / "split.json"


def test_versions_are_those_that_run(tmp_path: Path, config: DictConfig) -> None:
    import torch

    RunDirectory.create(tmp_path, config, {})
    versions = json.loads((tmp_path / "versions.json").read_text())
    assert versions["python"] == sys.version.split()[0]
    assert torch.__version__.startswith(versions["torch"].split("+")[0])
    assert {"recart", "lightning", "scvi-tools", "anndata", "commit"} <= set(versions)


def test_the_same_run_goes_on_whatever_watches_it(tmp_path: Path, config: DictConfig) -> None:
    RunDirectory.create(tmp_path, config, {"seed": 3})
    config.logger = {"csv": {"a": 1}}
    config.paths.run = "elsewhere"
    again = RunDirectory.create(tmp_path, config, {"seed": 3})
    assert again.config.paths.run == "here"


def test_a_run_goes_on_with_its_cohort_on_disk(tmp_path: Path, config: DictConfig) -> None:
    config.data = {"in_memory": "auto", "path": "a.h5mu"}
    RunDirectory.create(tmp_path, config, {})
    config.data.in_memory = False
    config.data.reread = True  # a key that the run does not know yet
    RunDirectory.create(tmp_path, config, {})
    config.data.path = "b.h5mu"
    config.model.in_memory = True  # free under `data` only
    with pytest.raises(InputError) as caught:
        RunDirectory.create(tmp_path, config, {})
    assert caught.value.problems[0].examples == ("data.path", "model.in_memory")


def test_members_of_one_run_are_rounded_alike(tmp_path: Path, config: DictConfig) -> None:
    config.trainer = {"precision": "32-true", "checkpoint_every": 30.0}
    RunDirectory.create(tmp_path / "run", config, {})
    config.trainer.checkpoint_every = 5.0
    RunDirectory.create(tmp_path / "run", config, {})
    config.trainer.precision = "64-true"
    with pytest.raises(InputError, match=r"trainer\.precision"):
        RunDirectory.create(tmp_path / "run", config, {})


def test_another_run_is_refused_with_the_keys_that_differ(
    tmp_path: Path, config: DictConfig
) -> None:
    RunDirectory.create(tmp_path, config, {})
    config.model.latent = 20
    config.model.dropout = 0.1
    with pytest.raises(InputError) as caught:
        RunDirectory.create(tmp_path, config, {})
    (problem,) = caught.value.problems
    assert problem.code == "E-RUN-002"
    assert problem.examples == ("model.dropout", "model.latent")
    assert OmegaConf.load(tmp_path / "config.yaml").model.latent == 10


def test_an_edited_configuration_is_known(tmp_path: Path, config: DictConfig) -> None:
    RunDirectory.create(tmp_path, config, {})
    assert RunDirectory.open(tmp_path).was_edited is False
    there = OmegaConf.load(tmp_path / "config.yaml")
    there.paths.prepared = "/moved"
    OmegaConf.save(there, tmp_path / "config.yaml")
    assert RunDirectory.open(tmp_path).was_edited is False  # where it lies is not what it is
    there.model.latent += 1
    OmegaConf.save(there, tmp_path / "config.yaml")
    assert RunDirectory.open(tmp_path).was_edited is True


def test_a_folder_that_is_no_run_is_told_from_one_that_is_absent(
    tmp_path: Path, config: DictConfig, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    RunDirectory.create(tmp_path / "outputs" / "cohort-1", config, {})
    (tmp_path / "outputs" / "empty").mkdir()
    with pytest.raises(InputError) as absent:
        RunDirectory.open(Path("outputs/cohort-2"))
    assert "there is no such folder" in str(absent.value)
    assert absent.value.problems[0].mend == "run=outputs/cohort-1"
    with pytest.raises(InputError) as empty:
        RunDirectory.open(Path("outputs/empty"))
    for name in ("config.yaml", "run.json", "versions.json"):
        assert name in empty.value.problems[0].what
    with pytest.raises(InputError) as parent:
        RunDirectory.open(Path("outputs"))
    assert "outputs/cohort-1" in parent.value.problems[0].examples


def test_without_any_run_the_first_step_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(InputError, match=r"run train\.py first"):
        RunDirectory.open(tmp_path / "a" / "b")


@pytest.mark.parametrize(
    ("name", "content", "said"),
    [
        ("run.json", "{", "JSONDecodeError"),
        ("run.json", '{"schema": 99, "seeds": {}}', "layout 99"),
        ("run.json", "[]", "layout None"),
        ("config.yaml", "a: [", "ParserError"),
        ("config.yaml", "- a\n- b\n", "not a resolved configuration"),
        ("config.yaml", "a: ${oc.env:HOME}\n", "not a resolved configuration"),
        ("config.yaml", "a: {b: ['x${oc.env:HOME}']}\n", "not a resolved configuration"),
        ("config.yaml", "a: !!python/object/apply:os.getcwd []\n", "ConstructorError"),
    ],
)
def test_a_changed_run_is_refused(
    tmp_path: Path, config: DictConfig, name: str, content: str, said: str
) -> None:
    RunDirectory.create(tmp_path, config, {})
    (tmp_path / name).write_text(content)
    with pytest.raises(InputError) as caught:
        RunDirectory.open(tmp_path)
    assert caught.value.problems[0].code == "E-RUN-004"
    assert said in caught.value.problems[0].what


def test_the_config_of_a_run_is_no_door_for_other_classes(
    tmp_path: Path, config: DictConfig
) -> None:
    config.model = {"_target_": "os.system", "command": f"touch {tmp_path}/canary"}
    RunDirectory.create(tmp_path / "run", config, {})
    with pytest.raises(InputError, match="not on the list"):
        build(RunDirectory.open(tmp_path / "run").config.model)
    assert not (tmp_path / "canary").exists()


def test_writing_leaves_the_old_file_when_it_fails(
    tmp_path: Path, config: DictConfig, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = RunDirectory.create(tmp_path, config, {})
    run.write_json("metrics.json", {"auroc": 0.5})

    def full(_: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(InputError, match=r"E-DISK-001 file=metrics.json .*No space"):
        run.write_bytes("metrics.json", b"{")
    assert json.loads(run.metrics.read_text()) == {"auroc": 0.5}
    assert not list(tmp_path.glob(".*.part"))


def test_json_that_others_could_not_read_is_not_written(tmp_path: Path, config: DictConfig) -> None:
    run = RunDirectory.create(tmp_path, config, {})
    with pytest.raises(ValueError, match="JSON compliant"):
        run.write_json("metrics.json", {"auroc": float("nan")})
    assert not run.metrics.exists()


def test_a_run_that_died_before_it_was_complete_is_no_run(
    tmp_path: Path, config: DictConfig, monkeypatch: pytest.MonkeyPatch
) -> None:
    def die(*_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(RunDirectory, "write_json", die)
    with pytest.raises(KeyboardInterrupt):
        RunDirectory.create(tmp_path, config, {})
    monkeypatch.undo()
    with pytest.raises(InputError, match="E-RUN-001"):
        RunDirectory.open(tmp_path)
    RunDirectory.create(tmp_path, config, {})
    RunDirectory.open(tmp_path)


HOLD = """
import sys, time
from pathlib import Path
from omegaconf import OmegaConf
from recart.training.run_directory import RunDirectory
with RunDirectory(Path(sys.argv[1]), OmegaConf.create({}), {}).locked():
    sys.stdout.write("locked\\n")
    sys.stdout.flush()
    time.sleep(60)
"""


def test_two_processes_do_not_write_into_one_run(tmp_path: Path, config: DictConfig) -> None:
    run = RunDirectory.create(tmp_path, config, {})
    holder = subprocess.Popen(
        [sys.executable, "-c", HOLD, str(tmp_path)], stdout=subprocess.PIPE, text=True
    )
    try:
        assert holder.stdout is not None
        assert holder.stdout.readline() == "locked\n"
        with pytest.raises(InputError, match=f"process {holder.pid} on "), run.locked():
            pass
    finally:
        holder.send_signal(signal.SIGKILL)
        holder.communicate()
    # the lock of a process that was killed is gone with it
    with run.locked():
        assert str(os.getpid()) in (tmp_path / "run.lock").read_text()


def test_a_lock_ends_with_an_error_inside(tmp_path: Path, config: DictConfig) -> None:
    run = RunDirectory.create(tmp_path, config, {})
    with pytest.raises(KeyError), run.locked():
        raise KeyError
    with run.locked():
        pass


def test_atomic_writing_makes_folders(tmp_path: Path) -> None:
    path = write_atomically(tmp_path / "a" / "b.bin", b"\x00")
    assert path.read_bytes() == b"\x00"
