from __future__ import annotations

import shutil
from pathlib import Path

import pytest
from omegaconf import OmegaConf

from recart.config.check import check_config
from recart.config.compose import compose, config_folder, run_folder
from recart.config.schema import EmbedConfig
from recart.problems import InputError


def told(overrides: list[str], entry: str = "train") -> str:
    with pytest.raises(InputError) as caught:
        check_config(compose(overrides, entry))
    return str(caught.value)


@pytest.mark.parametrize(
    ("override", "nearest"),
    [
        ("model.latnt=3", "model.latent"),
        ("modell=totalvi", "model"),
        ("model=totalvii", "totalvi"),
        ("model/rna=poison", "poisson"),
        ("data=h5m", "h5mu"),
        ("data/fold=stratified", "data/folds"),
        ("data/folds=stratfied", "stratified"),
        ("data.pth=x.h5mu", "data.path"),
        ("data.folds.kk=4", "data.folds.k"),
        ("callbacks.progres.every=3", "callbacks.progress"),
        ("+callbacks.progres.every=3", "progress"),
        ("~callbacks.progres", "callbacks.progress"),
        ("logger=wandbb", "wandb"),
        ("experiment=quik", "quick"),
        ("latent=3", "model.latent"),
        ("sed=1", "seed"),
        ("+sed=1", "seed"),
        ("+data.pth=1", "path"),
        ("+model.latnt=1", "latent"),
        ("model.weights._target_=recart.models.objective.TermWeight", "TermWeights"),
    ],
)
def test_a_misspelt_override_names_the_nearest(override: str, nearest: str) -> None:
    message = told([override])
    assert f"did you mean {nearest}?" in message or f".{nearest}?" in message
    assert message.count("\n") == 1  # one problem, one line


@pytest.mark.parametrize(
    ("overrides", "mend"),
    [
        (["sweep=default", "sweep.budgt=3"], "did you mean sweep.budget?"),
        (["sweep=default", "sweep/sampler=tpe", "sweep.sampler.batc=3"], "sweep.sampler.batch?"),
        (["head=attention", "head.epoch=5"], "did you mean head.epochs?"),
        (["head=attention", "head.prototypes=5"], "did you mean head.base.prototypes?"),
        (["executor=slurm", "executor.options.partion=x"], "did you mean executor.options.part"),
        (["data/folds=external", "data.folds.colum=site"], "did you mean data.folds.column?"),
        (["experiment=quick", "endpoint=survival", "endpoint.evnt=x"], "endpoint.event?"),
        (["sweep.budget=3"], "sweep=default, sweep=encoder, sweep=heads"),
        (["logger.wandb.mode=online"], "a key of logger=wandb: choose that as well"),
    ],
)
def test_keys_are_looked_for_in_the_options_that_were_chosen(
    overrides: list[str], mend: str
) -> None:
    assert mend in told(overrides)


@pytest.mark.parametrize(
    ("override", "key"),
    [
        ("seed=abc", "seed"),
        ("seed=1.5", "seed"),
        ("data.normalised=maybe", "data.normalised"),
        ("data.decision_day=soon", "data.decision_day"),
        ("model.latent=ten", "model.latent"),
        ("data.folds.k=a", "data.folds.k"),
        ("members_per_job=all", "members_per_job"),
        ("members_per_job=0", "members_per_job"),
    ],
)
def test_a_value_of_a_wrong_type_names_its_key(override: str, key: str) -> None:
    message = told([override])
    assert f"column={key} " in message
    assert override.split("=")[1] in message


def test_an_override_without_value_is_explained() -> None:
    assert "an override is key=value" in told(["model.latent"])


def test_a_reference_to_nothing_is_named() -> None:
    assert "column=name" in told(["name=${nope}"])


def test_mandatory_values_are_asked_for_together() -> None:
    message = told(["data=h5mu"])
    assert "data.path has no value" in message
    assert "data.endpoint has no value" in message


def test_new_patients_need_no_endpoint() -> None:
    config = compose(["run=r", "output=o.h5ad", "data.path=new.h5mu"], "embed")
    check_config(config, EmbedConfig)
    with pytest.raises(InputError, match=r"data\.path has no value"):
        check_config(compose(["run=r", "output=o.h5ad"], "embed"), EmbedConfig)


def test_a_component_can_not_be_taken_away() -> None:
    assert "model has no _target_" in told(["~model._target_"])


def test_a_callback_is_turned_off_with_null() -> None:
    check_config(compose(["callbacks.progress=null"]))


def test_several_loggers_are_given_as_a_list() -> None:
    config = compose(["logger=[csv,tensorboard,wandb]"])
    check_config(config)
    assert list(config.logger) == ["csv", "tensorboard", "wandb"]
    assert config.logger.wandb.mode == "offline"


def experiment(folder: Path, text: str) -> list[str]:
    (folder / "experiment").mkdir()
    (folder / "experiment" / "mine.yaml").write_text(text)
    return [f"hydra.searchpath=[file://{folder}]", "experiment=mine"]


def test_an_experiment_overrides_every_group(tmp_path: Path) -> None:
    text = """# @package _global_
defaults:
  - override /model/rna: poisson
seed: 7
model: {latent: 3}
training: {epochs: 2}
"""
    config = compose(experiment(tmp_path, text))
    check_config(config)
    assert (config.seed, config.model.latent, config.training.epochs) == (7, 3, 2)
    assert config.model.rna._target_.endswith("Poisson")
    assert compose().seed == 0


def test_the_command_line_overrides_an_experiment(tmp_path: Path) -> None:
    arguments = experiment(tmp_path, "# @package _global_\nseed: 7\n")
    assert compose([*arguments, "seed=8"]).seed == 8


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("# @package _global_\ntrainr: {devices: 2}\n", "did you mean trainer?"),
        ("seed: 7\n", "begin the file with the line `# @package _global_`"),
        ("# @package _global_\ndata: {pth: x}\n", "did you mean data.path?"),
        ("# @package _global_\nmodel: {latnt: 3}\n", "did you mean latent?"),
        ("# @package _global_\ncallbacks: {progres: {every: 1}}\n", "did you mean progress?"),
        ("# @package _global_\nseed: abc\n", "column=seed"),
    ],
)
def test_a_mistake_in_an_experiment_is_not_silent(tmp_path: Path, text: str, expected: str) -> None:
    assert expected in told(experiment(tmp_path, text))


@pytest.mark.parametrize(
    ("file", "line", "expected"),
    [
        ("train.yaml", "seeed: 1", "did you mean seed?"),
        ("paths/default.yaml", "runn: x", "did you mean paths.run?"),
    ],
)
def test_a_mistake_in_the_shipped_files_is_told_as_any_other(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, file: str, line: str, expected: str
) -> None:
    """The default configuration can't be composed then: the schema alone says what there is."""
    folder = tmp_path / "configs"
    shutil.copytree(config_folder(), folder)
    with (folder / file).open("a", encoding="utf-8") as spoilt:
        spoilt.write(f"\n{line}\n")
    monkeypatch.setattr("recart.config.compose.config_folder", lambda: folder)
    assert expected in told([])


def test_a_class_that_has_moved_is_told_where_it_is() -> None:
    old, new = "recart.models.totalvi.TermWeights", "recart.models.objective.TermWeights"
    message = told([f"model.weights._target_={old}"])
    assert f"{old} is not where TermWeights is defined" in message
    assert f"mend: write {new}" in message


def test_composing_works_from_any_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    here = OmegaConf.to_container(compose(["paths.run=r", "paths.sweep=s"]))
    monkeypatch.chdir(tmp_path)
    assert OmegaConf.to_container(compose(["paths.run=r", "paths.sweep=s"])) == here


def test_outside_hydra_the_run_folder_is_the_one_of_the_configuration() -> None:
    config = compose(["paths.run=outputs/mine"])
    assert run_folder(config) == Path("outputs/mine")
    assert str(run_folder(compose(["name=tiny"]))).startswith("outputs/tiny-")


def test_the_local_file_is_not_tracked() -> None:
    assert "!example.yaml" in (config_folder() / "local" / ".gitignore").read_text()
