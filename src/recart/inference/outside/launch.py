"""`evaluate.py`'s work where a finished model meets labelled patients: read, predict, measure."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Final

from omegaconf import DictConfig

from recart.config.build import build
from recart.config.check import check_config
from recart.config.schema import EvaluateConfig
from recart.data.checks import Limits
from recart.data.prepare import Endpoint
from recart.evaluation.outcomes import endpoint_words
from recart.inference.bundle.manifest import MANIFEST
from recart.inference.launch import open_model, same_columns
from recart.inference.model import Model, NewCohort
from recart.inference.new_folder import check_new_folder
from recart.inference.new_patients import NewPatients
from recart.inference.outside.measures import Measured, measure
from recart.inference.outside.outcome import Had, asked_endpoint, had_of, values_by_class
from recart.inference.outside.shown_before import ShownBefore, shown_before
from recart.inference.progress import CellProgress
from recart.inference.records.input_digest import ContentDigest, digest_of
from recart.problems import InputError, Problem
from recart.training.cohort_setup import reader_of
from recart.training.executors.cores import allowed_cores
from recart.training.one_thread import one_thread_of_torch
from recart.training.progress import say

__all__ = ["EvaluatedOutside", "check_folder", "evaluate_outside"]

# columns whose values are names that a laboratory gave, and that the page is not to tell
_OWN_NAMES: Final = ("batch", "patient", "sample")


@dataclass(frozen=True, kw_only=True)
class EvaluatedOutside:
    """A model on labelled patients.

    Attributes
    ----------
    model, before
        The model, and what its own evaluation had found.
    new, found, measured
        The patients as they were read, what was predicted, and what that is worth.
    endpoint, had, values
        Column of the outcome, what each bag had, and how often each value stands there by class.
    limits, seed
        Below which samples have failed, and of the patient resamples.
    input_sha256
        Of the files that were read, or of the counts where there was none.
    """

    model: Model
    before: ShownBefore | None
    new: NewCohort
    found: NewPatients
    measured: Measured
    endpoint: Endpoint
    had: Had
    values: dict[str, dict[str, int]]
    limits: Limits
    seed: int
    input_sha256: str

    @property
    def names(self) -> tuple[str, str]:
        """What the values that are positive and negative here are called."""
        return _names(self.endpoint, self.had, self.values)


def evaluate_outside(config: DictConfig) -> EvaluatedOutside:
    """Predict the patients of `config.data` with a run or a bundle, and measure by their outcomes.

    Nothing of the model is touched, and outcomes reach nothing that predicts: predictions are those
    of `embed.py`, its refusals among them. Patients who were in training are left out.

    Raises
    ------
    InputError
        With every problem of the data, of their outcomes too; or of the folder that is to be made.
    """
    _check_asked(config)
    check_config(config, EvaluateConfig)
    check_folder(config.output)
    folder = Path(config.run)
    sealed = (folder / MANIFEST).is_file()
    model = open_model(*((None, str(folder)) if sealed else (str(folder), None)))
    if model.watermark:
        say(f"[bold red]{model.watermark}[/bold red]")
    endpoint = asked_endpoint(config.data, model)
    same_columns(config.data, model)
    reader = reader_of(config.data)
    genes, limits = list(config.data.car_genes), model.limits(build(config.data.limits))
    new = model.read(reader, say, car_genes=genes, limits=limits, endpoint=endpoint)
    say(f"predicting {len(new.bags)} {model.unit}s with {len(model.members)} members")
    with one_thread_of_torch(), CellProgress(None, len(model.members)) as bar:
        bar.begin(len(new.store.cells), None)
        found = model.embed(new, workers=allowed_cores(), advance=bar.advance)
    had = had_of(new, endpoint, model.config.data)
    values = values_by_class(new, endpoint, had)
    measured = measure(
        found.patients,
        had,
        [member.rule for member in model.members],
        endpoint=endpoint_words(model.about["endpoint"], had.endpoint),
        names=_names(endpoint, had, values),
        trained=None if model.trust is None else model.trust.sets,
        by=[name for name in config.subgroups if name not in _OWN_NAMES],
        seed=config.seed,
    )
    content = ContentDigest()
    if not reader.files():
        content.add(new.cohort)
    return EvaluatedOutside(
        model=model,
        before=shown_before(folder),
        new=new,
        found=found,
        measured=measured,
        endpoint=endpoint,
        had=had,
        values=values,
        limits=limits,
        seed=config.seed,
        input_sha256=digest_of(reader.files()) or content.hexdigest(),
    )


def check_folder(output: str | None) -> None:
    """Refuse a folder that could not be made, before any work.

    Raises
    ------
    InputError
        If none is named, something is there already, or the folder above it is not.
    """
    if output is None:
        what, mend = "output has no value", "name the folder that is to be made: output=..."
        raise InputError([Problem(code="E-CONFIG-006", column="output", what=what, mend=mend)])
    check_new_folder(Path(output), ("E-OUT-013", "E-OUT-014"), "output")


def _check_asked(config: DictConfig) -> None:
    """A bundle that is to be written is of a run and its own patients."""
    if config.bundle is not None:
        problem = Problem(
            code="E-CONFIG-016",
            column="bundle",
            what="bundle names a folder to be written, and here a finished model is evaluated",
            mend=f"where {config.bundle} is the model, write run={config.bundle}",
        )
        raise InputError([problem])


def _names(endpoint: Endpoint, had: Had, values: dict[str, dict[str, int]]) -> tuple[str, str]:
    if endpoint.outcome is not None:
        return had.endpoint.classes
    named = {"positive": endpoint.positive, "negative": endpoint.negative}
    yes, no = (", ".join(map(str, own or values[of])) or f"{of} class" for of, own in named.items())
    return yes, no
