"""`embed.py`'s work: new patients through a trained model, and out into files."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from omegaconf import DictConfig

from recart.config.build import build
from recart.config.check import check_config
from recart.config.schema import EmbedConfig
from recart.data.pseudonyms import Pseudonyms
from recart.inference.export import check_apart, check_output
from recart.inference.in_parts import Embedding, embed_in_parts
from recart.inference.model import Model
from recart.inference.new_patients import NewPatients
from recart.inference.outputs.exported import check_outputs
from recart.inference.records.input_digest import ContentDigest, digest_of
from recart.inference.records.patient_record import (
    Asked,
    check_kinds,
    patient_records,
)
from recart.inference.records.subjects import owners_of, subjects_of
from recart.inference.trust.trust import Trust
from recart.problems import InputError, Problem
from recart.training.cohort_setup import reader_of
from recart.training.endpoints import SeveralEndpoints
from recart.training.progress import say
from recart.training.readouts import build_endpoint
from recart.training.run_directory import RunDirectory

__all__ = ["Embedded", "embed_new", "embed_run", "open_model", "same_columns"]


@dataclass(frozen=True, kw_only=True)
class Embedded:
    """New patients, embedded and written; `records` are by name of the bag, see `patient_records`.

    Attributes
    ----------
    new, model
        What was found, and by which model.
    records
        What is told of each of them.
    folder
        Where reports on patients go.
    """

    new: NewPatients
    model: Model
    records: dict[str, dict[str, Any]]
    folder: Path


def embed_run(config: DictConfig) -> NewPatients:
    """Embed and predict, and write cells and tables; see `embed_new`."""
    return embed_new(config).new


def embed_new(config: DictConfig) -> Embedded:
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
    asked, reports = list(config.get("outputs") or ["latents"]), list(config.get("reports") or [])
    check_outputs(asked)
    check_kinds(reports)
    model = open_model(config.get("run"), config.get("bundle"))
    if model.watermark:
        say(f"[bold red]{model.watermark}[/bold red]")
    model = _trusted(model, config.get("refusal"))
    same_columns(config.data, model)
    reader, content = reader_of(config.data), ContentDigest()
    check_apart(output, reader.files())
    no_file = bool(reports) and not reader.files()
    wanted = Embedding(
        outputs=asked,
        reports=reports,
        car_genes=list(config.data.car_genes),
        limits=build(config.data.limits),
        say=say,
        see=content.add if no_file else lambda _: None,
    )
    say(f"embedding {model.unit}s with {len(model.members)} members")
    new, files = embed_in_parts(model, reader, output, wanted)
    if model.trust is not None:
        for line in (*model.trust.notes(), *_refusals(model.trust, new, model.unit)):
            say(line)
    for path in files:
        say(f"wrote {path}")
    records = {}
    if reports:
        read = content.hexdigest() if no_file else digest_of(reader.files())
        records = _records(config, model, new, read)
    return Embedded(
        new=new,
        model=model,
        records=records,
        folder=output.with_name(f"{output.stem}.reports"),
    )


def _records(
    config: DictConfig, model: Model, new: NewPatients, input_sha256: str
) -> dict[str, dict[str, Any]]:
    output = Path(config.output)
    private = model.folder or output.parent / ".recart"
    pseudonyms = model.pseudonyms or Pseudonyms(private / "pseudonym.key")
    id_map, how = private / f"{output.stem}.ids.csv", config.subjects
    names = [str(bag) for bag in new.patients.index]
    subjects = subjects_of(names, how, model.unit, pseudonyms, id_map)
    owners: dict[str, str | None] = {}
    if model.unit == "sample":
        patients = dict(zip(names, new.patients["patient"].astype(str), strict=True))
        owners = owners_of(patients, how, pseudonyms, id_map)
    endpoint = build_endpoint(model.config)
    further = {}
    if isinstance(endpoint, SeveralEndpoints):
        further = {name: own.classes for name, own in list(endpoint.parts.items())[1:]}
    positive, negative = endpoint.classes
    asked = Asked(
        about=model.about,
        positive=positive,
        negative=negative,
        unit=model.unit,
        input_sha256=input_sha256,
        made=datetime.now(UTC).isoformat(timespec="seconds"),
        further=further,
        owners=owners,
    )
    return patient_records(new, asked, subjects)


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


def _trusted(model: Model, refusal: Any) -> Model:
    """The model, under another policy of refusal where one is asked for."""
    if model.trust is None:
        say(
            "no prediction sets, and nobody is refused for being unlike the training patients: "
            "trust.ckpt is missing; python evaluate.py run=outputs/<run> makes it"
        )
        return model
    if refusal is None:
        return model
    return replace(model, trust=replace(model.trust, policy=build(refusal)))


def _refusals(trust: Trust, new: NewPatients, unit: str) -> Sequence[str]:
    """Who is refused and why, for the screen."""
    return trust.policy.summary(new.patients["reasons"].tolist(), unit)


def same_columns(new: DictConfig, model: Model) -> None:
    """Where no column is named for the new data, those of the training data are tried.

    A bundle has no names of columns.
    """
    trained = model.config.data.get("columns")
    if new.columns and trained:
        for role, name in trained.items():
            if role in new.columns and new.columns[role] is None:
                new.columns[role] = name
