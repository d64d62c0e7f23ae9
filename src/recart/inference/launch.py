"""`embed.py`'s work: new patients through the members of a run, and out into files."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, final

import pandas as pd
from omegaconf import DictConfig

from recart import __version__
from recart.config.build import build
from recart.config.check import check_config
from recart.config.schema import EmbedConfig
from recart.data.bags import make_bags
from recart.data.checks import Limits
from recart.data.prepare import read_checked, to_store
from recart.data.pseudonyms import Pseudonyms
from recart.data.store import CohortStore
from recart.inference.export import check_output, export
from recart.inference.model_words import in_model_words
from recart.inference.new_patients import NewPatients, embed_new_patients
from recart.inference.outputs.exported import ExportedOutputs, check_outputs
from recart.inference.outputs.of_members import all_outputs
from recart.inference.trust.fit import read_trust
from recart.inference.trust.trust import Trust
from recart.problems import InputError, Problem
from recart.training.cohort_setup import admission, preparation, prepared_folder, reading_of
from recart.training.launch import load_members
from recart.training.member_file import LoadedMember
from recart.training.progress import say
from recart.training.receptor_version import check_receptor_version
from recart.training.run_directory import RunDirectory

__all__ = ["embed_run"]


@final
class _OwnNames:
    """Ids as they are: an export for the user's own patients speaks of them by their names.

    Batches get the run's pseudonyms, by which its members know them.
    """

    def __init__(self, of_run: Pseudonyms) -> None:
        self._of_run = of_run

    def patient(self, patient: str) -> str:
        return patient

    def sample(self, sample: str) -> str:
        return sample

    def batch(self, batch: str) -> str:
        return self._of_run.batch(batch)

    def receptor(self, sequence: str) -> str:
        return self._of_run.receptor(sequence)


def embed_run(config: DictConfig) -> NewPatients:
    """Embed and predict the patients of `config.data` with the run `config.run`.

    Model, features, decision time and receptor embedding come from the run's directory; of the
    new data only the place and the names of columns are asked. Labels are not looked at.

    Raises
    ------
    InputError
        With every problem of the new data, before anything is written; or if receptors would be
        embedded by another version than the run's.
    """
    check_config(config, EmbedConfig)
    output = Path(config.output)
    check_output(output)
    asked = list(config.get("outputs") or ["latents"])
    check_outputs(asked)
    run = RunDirectory.open(Path(config.run))
    trained = run.config
    members = load_members(run)
    if not members:
        problem = Problem(
            code="E-RUN-010",
            what="the run has no trained member",
            mend=f"python train.py paths.run={run.path} trains what is missing",
            file=run.path.name,
        )
        raise InputError([problem])
    folder = prepared_folder(run)
    _same_columns(config.data, trained.data)
    made = replace(
        preparation(config.data, folder, receptors=trained.data.receptors, labelled=False),
        normalised=bool(trained.data.normalised),
        car_genes=list(config.data.car_genes or trained.data.car_genes),
    )
    if made.limits == Limits():  # none was set: the rules that the model was trained under
        made = replace(made, limits=build(trained.data.limits))
    cohort = read_checked(made, say)
    if cohort.chains is not None and any(m.features.spec.receptor_dim for m in members):
        check_receptor_version(run, say)
    words = in_model_words(members, trained.data, cohort, say)
    present = set(words.cohort.genes.index.astype(str))
    made = replace(made, car_genes=[gene for gene in made.car_genes if gene in present])
    pseudonyms = Pseudonyms(folder / "pseudonym.key")
    store = to_store(words.cohort, made, _OwnNames(pseudonyms))
    unit = trained.data.unit
    names = store.patients.index if unit == "patient" else store.samples.index
    labels = pd.Series(float("nan"), index=names)
    bags = make_bags(
        store,
        labels,
        unit=unit,
        admission=admission(trained.data),
        reading=reading_of(store, trained.data),
    )
    say(f"embedding {len(store.cells):,} cells of {len(bags)} {unit}s with {len(members)} members")
    trust = _trust(run, config.refusal)
    known = _known(pseudonyms, members, store)
    new = embed_new_patients(members, store, bags, known, trust)
    if trust is not None:
        _tell(trust, new, unit)
    model = {
        "recart": __version__,
        "members": _members_digest(members),
        "use": "research use only: not for decisions on patients",
    }
    exported = None
    if asked != ["latents"]:
        say(f"decoding {', '.join(asked)}: the mean over {len(members)} members")
        exported = ExportedOutputs(all_outputs(members, store), asked)
    for path in export(words.exported(cohort), new, output, model, exported):
        say(f"wrote {path}")
    matched = output.with_name(f"{output.stem}.features.csv")
    words.table(cohort).to_csv(matched, index=False)
    say(f"wrote {matched}")
    return new


def _trust(run: RunDirectory, refusal: Any) -> Trust | None:
    """The run's, under another policy where one is asked for."""
    trust = read_trust(run)
    if trust is None:
        say(
            "no prediction sets, and nobody is refused for being unlike the training patients: "
            f"trust.ckpt is missing; python evaluate.py run={run.path} makes it"
        )
        return None
    return trust if refusal is None else replace(trust, policy=build(refusal))


def _tell(trust: Trust, new: NewPatients, unit: str) -> None:
    """Who is refused and why, on the screen."""
    for line in (*trust.notes(), *trust.policy.summary(new.patients["reasons"].tolist(), unit)):
        say(line)


def _same_columns(new: Any, trained: Any) -> None:
    """Where no column is named for the new data, those of the training data are tried."""
    if new.columns and trained.columns:
        for role, name in trained.columns.items():
            if role in new.columns and new.columns[role] is None:
                new.columns[role] = name


def _known(
    pseudonyms: Pseudonyms, members: Sequence[LoadedMember], store: CohortStore
) -> frozenset[str]:
    """Patients of the new data whose pseudonym is among those of the run."""
    of_run = {name for m in members for name in m.held_out | m.fitted_on["head"]}
    return frozenset(name for name in store.patients.index if pseudonyms.patient(name) in of_run)


def _members_digest(members: Sequence[LoadedMember]) -> str:
    """One hash over the weights of all members."""
    digest = hashlib.sha256()
    for member in members:
        for name, tensor in sorted(member.stack.state_dict().items()):
            digest.update(name.encode())
            digest.update(tensor.contiguous().numpy().tobytes())
    return digest.hexdigest()[:16]
