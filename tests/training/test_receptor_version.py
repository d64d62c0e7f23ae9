"""A run's receptors are embedded by the version that it began with, or not at all."""

from __future__ import annotations

import json
from importlib import metadata
from pathlib import Path

import pytest
from omegaconf import OmegaConf

from recart.problems import InputError, Problem
from recart.training.receptor_version import check_receptor_version, receptor_fingerprint
from recart.training.run_directory import RunDirectory

EMBEDDINGS = {
    "sceptr": ("recart.data.receptors.sceptr.Sceptr", "sceptr"),
    "landmarks": ("recart.data.receptors.landmarks.TCRdistLandmarks", "tcrdist-rs"),
}


def made(path: Path, target: str) -> RunDirectory:
    config = OmegaConf.create({"data": {"receptors": {"_target_": target}}})
    RunDirectory.create(path, config, {"seed": 1})
    return RunDirectory.open(path)


def refused(run: RunDirectory) -> Problem:
    said: list[str] = []
    with pytest.raises(InputError) as caught:
        check_receptor_version(run, said.append)
    assert not said
    (problem,) = caught.value.problems
    assert problem.code == "E-RUN-012"
    return problem


def change(path: Path, **values: object) -> None:
    """Other values of some keys of a JSON file; None takes the key away."""
    content = json.loads(path.read_text()) | values
    path.write_text(json.dumps({k: v for k, v in content.items() if v is not None}))


@pytest.mark.parametrize("name", EMBEDDINGS)
def test_the_version_that_the_run_began_with_goes_on(name: str, tmp_path: Path) -> None:
    run = made(tmp_path, EMBEDDINGS[name][0])
    assert run.receptors == receptor_fingerprint(run.config)
    said: list[str] = []
    check_receptor_version(run, said.append)
    assert said == []


@pytest.mark.parametrize("name", EMBEDDINGS)
def test_another_version_is_refused_with_both_versions(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    target, package = EMBEDDINGS[name]
    here = metadata.version(package)
    run = made(tmp_path, target)
    real = metadata.version

    def other(asked: str) -> str:
        return "0.0.9" if asked == package else real(asked)

    monkeypatch.setattr("recart.training.versions.version", other)
    monkeypatch.setattr(metadata, "version", other)
    problem = refused(run)
    assert f"embedded with {package} {here}, here is 0.0.9" in problem.what
    assert f"pip install {package}=={here}" in problem.mend


def test_another_construction_under_the_same_version_is_refused(tmp_path: Path) -> None:
    run = made(tmp_path, "recart.data.receptors.physicochemical.Physicochemical")
    here = str(run.receptors)
    change(tmp_path / "run.json", receptors="f" * 64)
    problem = refused(RunDirectory.open(tmp_path))
    assert f"fingerprint ffffffff, here {here[:8]}" in problem.what
    assert "versions.json" in problem.mend


def test_a_run_from_before_the_record_is_let_through_with_a_warning(tmp_path: Path) -> None:
    made(tmp_path, EMBEDDINGS["sceptr"][0])
    change(tmp_path / "run.json", receptors=None)
    change(tmp_path / "versions.json", sceptr="0.0.1")
    run = RunDirectory.open(tmp_path)
    assert run.receptors is None
    said: list[str] = []
    check_receptor_version(run, said.append)
    (line,) = said
    assert line.startswith("warning: ")
    assert "trained with sceptr 0.0.1" in line
    assert f"{metadata.version('sceptr')} is installed" in line


def test_a_configuration_without_receptors_has_none(tmp_path: Path) -> None:
    run = RunDirectory.create(tmp_path, OmegaConf.create({"seed": 1}), {})
    assert run.receptors is None
    check_receptor_version(run, pytest.fail)
