"""`embed.py`'s work: new patients through a trained model, and out into files."""

from __future__ import annotations

from pathlib import Path

from omegaconf import DictConfig

from recart.config.build import build
from recart.config.check import check_config
from recart.config.schema import EmbedConfig
from recart.inference.export import check_output
from recart.inference.in_parts import Embedding, embed_in_parts
from recart.inference.model import Model
from recart.inference.new_patients import NewPatients
from recart.inference.outputs.exported import check_outputs
from recart.problems import InputError, Problem
from recart.training.cohort_setup import reader_of
from recart.training.progress import say
from recart.training.run_directory import RunDirectory

__all__ = ["embed_run", "open_model"]


def embed_run(config: DictConfig) -> NewPatients:
    """Embed and predict the patients of `config.data` with `config.run` or `config.bundle`.

    Model, features, decision time and receptor embedding come from the run or the bundle; of the
    new data only the place and the names of columns are asked. Labels are not looked at.

    Raises
    ------
    InputError
        With every problem of the new data, before anything is written; or if receptors would be
        embedded by another version than the model's.
    """
    check_config(config, EmbedConfig)
    output = Path(config.output)
    check_output(output)
    asked = list(config.get("outputs") or ["latents"])
    check_outputs(asked)
    model = open_model(config.get("run"), config.get("bundle"))
    if model.watermark:
        say(f"[bold red]{model.watermark}[/bold red]")
    _same_columns(config.data, model)
    wanted = Embedding(
        outputs=asked,
        car_genes=list(config.data.car_genes),
        limits=build(config.data.limits),
        say=say,
    )
    say(f"embedding {model.unit}s with {len(model.members)} members")
    new, files = embed_in_parts(model, reader_of(config.data), output, wanted)
    for path in files:
        say(f"wrote {path}")
    return new


def open_model(run: str | None, bundle: str | None) -> Model:
    """The model of a run or of a bundle, whichever is named.

    Raises
    ------
    InputError
        If both are named, or neither; or as `Model.of_run` and `Model.of_bundle`.
    """
    if run is not None and bundle is None:
        return Model.of_run(RunDirectory.open(Path(run)))
    if bundle is not None and run is None:
        return Model.of_bundle(Path(bundle))
    problem = Problem(
        code="E-CONFIG-006",
        column="run, bundle",
        what="both are named" if run is not None else "neither run nor bundle has a value",
        mend="give one: run=outputs/<run>, or bundle=<folder of a bundle>",
    )
    raise InputError([problem])


def _same_columns(new: DictConfig, model: Model) -> None:
    """Where no column is named for the new data, those of the training data are tried.

    A bundle has no names of columns.
    """
    trained = model.config.data.get("columns")
    if new.columns and trained:
        for role, name in trained.items():
            if role in new.columns and new.columns[role] is None:
                new.columns[role] = name
