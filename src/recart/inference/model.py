"""A trained model as new patients need it, from a run's folder or from a bundle."""

from __future__ import annotations

import json
import tempfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, final

import pandas as pd

from recart.config.build import build
from recart.data.bags import Admission, Bags, admitted_samples, make_bags
from recart.data.checks import Limits
from recart.data.cohort import Cohort
from recart.data.covariates import check_of_new
from recart.data.prepare import Endpoint, Preparation, read_checked, to_store
from recart.data.pseudonyms import Pseudonyms
from recart.data.readers.reader import Reader
from recart.data.store import CohortStore
from recart.inference.about_model import about_model, claim_level
from recart.inference.bundle.read import read_bundle
from recart.inference.model_words import in_model_words, present_car_genes, warn_of_absent
from recart.inference.new_patients import NewPatients, embed_new_patients
from recart.inference.own_names import OwnNames
from recart.inference.trust.fit import read_trust
from recart.inference.trust.trust import Trust
from recart.problems import InputError, Problem
from recart.training.cohort_setup import admission, prepared_folder, whole_reading
from recart.training.launch import load_members
from recart.training.member_file import LoadedMember
from recart.training.readouts import build_endpoint
from recart.training.receptor_version import check_receptors
from recart.training.run_directory import RunDirectory

__all__ = ["Model", "NewCohort"]

Progress = Callable[[str], None]


@final
@dataclass(frozen=True, kw_only=True)
class NewCohort:
    """New patients as they were read, and as a model sees them.

    `cohort` has the model's names of genes and proteins; `matched` tells how each was found.
    `late`: no sample is one that the model predicts from; `bags` then hold all of them.
    """

    cohort: Cohort
    store: CohortStore
    bags: Bags
    matched: pd.DataFrame
    late: bool = False


@final
@dataclass(frozen=True, kw_only=True)
class Receptors:
    """Fingerprint of the receptor encoder that a model began with, and versions of packages."""

    fingerprint: str | None
    versions: dict[str, Any]


@final
@dataclass(frozen=True, kw_only=True)
class Model:
    """Members, and how data of new patients are read for them.

    `config` has `data`, the settings of the training data that new data follow. `pseudonyms` are
    those of the run, by which it knows batches and its own patients; None for a bundle, which
    holds no names: every batch is new to it. `folder` keeps receptor vectors; None keeps none.
    `trust` says whom to refuse; None where none was fitted. `about` is what every
    export says of the model: versions, a hash of the members, endpoint, claim level, use, and a
    `watermark` where the bundle was written against the audit.
    """

    members: Sequence[LoadedMember]
    config: Any
    name: str
    receptors: Receptors
    about: dict[str, str]
    trust: Trust | None = None
    pseudonyms: Pseudonyms | None = None
    folder: Path | None = field(default=None, repr=False)

    @classmethod
    def of_run(cls, run: RunDirectory) -> Model:
        """The model of a run, as its folder has it.

        Raises
        ------
        InputError
            If no member is trained.
        """
        members = load_members(run)
        if not members:
            problem = Problem(
                code="E-RUN-010",
                what="the run has no trained member",
                mend=f"python train.py paths.run={run.path} trains what is missing",
                file=run.path.name,
            )
            raise InputError([problem])
        folder, level = prepared_folder(run), claim_level(run)
        return cls(
            members=members,
            config=run.config,
            name=run.path.name,
            receptors=Receptors(
                fingerprint=run.receptors,
                versions=json.loads(run.versions.read_text(encoding="utf-8")),
            ),
            about=about_model(members, run.config.data.endpoint)
            | ({"claim_level": level} if level else {}),
            trust=read_trust(run),
            pseudonyms=Pseudonyms(folder / "pseudonym.key"),
            folder=folder,
        )

    @classmethod
    def of_bundle(cls, path: Path) -> Model:
        """The model of a bundle; neither run nor cohort is needed.

        Raises
        ------
        InputError
            If it is not a bundle as it was written; names the files that were changed.
        """
        bundle = read_bundle(path)
        watermark = bundle.claim["watermark"]
        return cls(
            members=bundle.members,
            config=bundle.config,
            name=path.name,
            receptors=Receptors(
                fingerprint=bundle.features["receptors"]["fingerprint"], versions=bundle.versions
            ),
            about={
                **about_model(bundle.members, bundle.claim["endpoint"]),
                "claim_level": str(bundle.claim["level"]),
                "bundle": bundle.digest[:16],
                **({"watermark": str(watermark)} if watermark else {}),
            },
            trust=None if bundle.trust is None else Trust.from_plain(bundle.trust),
        )

    @property
    def watermark(self) -> str:
        """What must stand on everything that comes from the model; empty for most models."""
        return self.about.get("watermark", "")

    @property
    def unit(self) -> str:
        """What is predicted for: `patient` or `sample`."""
        return str(self.config.data.unit)

    @property
    def classes(self) -> tuple[str, str]:
        """Names of yes and no of what is predicted."""
        return build_endpoint(self.config).classes

    def limits(self, given: Limits | None) -> Limits:
        """When a sample of new data has failed: as given, or as in training where nothing is."""
        own: Limits = build(self.config.data.limits)
        return own if given is None or given == Limits() else given

    def read(
        self,
        reader: Reader,
        progress: Progress,
        *,
        car_genes: Sequence[str] = (),
        limits: Limits | None = None,
        endpoint: Endpoint | None = None,
        may_be_late: bool = False,
    ) -> NewCohort:
        """Read and check new data, by the rules that the model was trained under.

        `car_genes` and `limits` of the new data stand before the model's own. Labels are not
        looked at, but where `endpoint` says which: then they are checked, and nothing else.
        `may_be_late`: no sample need be one that the model predicts from.

        Raises
        ------
        InputError
            With every problem of the new data; or if receptors would be embedded by another
            version than the model's.
        """
        with self._folder() as folder:
            made = self._preparation(reader, folder, car_genes, limits, endpoint)
            cohort = read_checked(made, progress)
            dims = [own.features.spec.receptor_dim for own in self.members]
            if cohort.chains is not None and any(dims):
                own = self.receptors
                check_receptors(self.config, own.fingerprint, own.versions, self.name, progress)
            words = in_model_words(self.members, self.config.data, cohort, progress)
            car = present_car_genes(made.car_genes, words.cohort, progress)
            made = replace(made, car_genes=car)
            store = to_store(words.cohort, made, OwnNames(self.pseudonyms))
        data = self.config.data
        names = store.patients.index if self.unit == "patient" else store.samples.index
        admitted = admission(data)
        late = may_be_late and not admitted_samples(store, admitted).any()
        bags = make_bags(
            store,
            pd.Series(float("nan"), index=names),
            unit=self.unit,
            admission=Admission() if late else admitted,
            reading=whole_reading(data),
        )
        warn_of_absent(check_of_new(store, bags.reading.covariates), progress)
        return NewCohort(
            cohort=words.exported(cohort),
            store=store,
            bags=bags,
            matched=self._marked(words.table(cohort)),
            late=late,
        )

    def embed(
        self,
        new: NewCohort,
        *,
        attribute: bool = False,
        picture: bool = False,
        workers: int = 1,
        advance: Callable[[int], None] | None = None,
    ) -> NewPatients:
        """Embed and predict; every table bears the watermark, where there is one.

        `attribute`, `picture`, `workers` and `advance` as in `embed_new_patients`.
        """
        found = embed_new_patients(
            self.members,
            new.store,
            new.bags,
            self._known(new.store),
            self.trust,
            attribute=attribute,
            picture=picture,
            workers=workers,
            advance=advance,
        )
        return replace(
            found, patients=self._marked(found.patients), embedding=self._marked(found.embedding)
        )

    def _marked(self, table: pd.DataFrame) -> pd.DataFrame:
        return table.assign(watermark=self.watermark) if self.watermark else table

    def _known(self, store: CohortStore) -> frozenset[str]:
        """Patients of the new data whose pseudonym is among those of the run."""
        own = self.pseudonyms
        if own is None:
            return frozenset()
        of_run = {name for m in self.members for name in m.held_out.union(*m.fitted_on.values())}
        return frozenset(name for name in store.patients.index if own.patient(name) in of_run)

    def _preparation(
        self,
        reader: Reader,
        folder: Path,
        car_genes: Sequence[str],
        limits: Limits | None,
        endpoint: Endpoint | None,
    ) -> Preparation:
        data = self.config.data
        own = self.limits(limits)
        unknown = Endpoint(column=None, positive=None, negative=None, exclude=[], unit=self.unit)
        return Preparation(
            reader=reader,
            endpoint=endpoint or unknown,
            car_genes=list(car_genes or data.car_genes),
            normalised=bool(data.normalised),
            # nothing is fitted to the classes: one patient of each is enough to read them, and
            # levels and times are measured where one side of the cut is empty, too
            limits=own
            if endpoint is None
            else replace(own, min_per_class=1 if endpoint.outcome is None else 0),
            receptors=build(data.receptors),
            folder=folder,
            in_memory=True,
            reread=False,
        )

    @contextmanager
    def _folder(self) -> Iterator[Path]:
        """Where receptor vectors are kept, for the time of one reading where there is no place."""
        if self.folder is not None:
            yield self.folder
            return
        with tempfile.TemporaryDirectory(prefix="recart-") as folder:
            yield Path(folder)
