"""From the `data` part of a configuration to store, bags and bag features."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pandas as pd

from recart.config.build import build
from recart.data.bag_features import bag_features
from recart.data.bag_markers import check_marker_genes
from recart.data.bags import Admission, Bags, Reading, make_bags
from recart.data.checks.labels import is_missing
from recart.data.checks.two_classes import TwoClasses
from recart.data.covariates import check_covariates
from recart.data.gates import PREFIX, GatedReader
from recart.data.gene_panels import is_panel, named_genes, panel_genes
from recart.data.outcome import LABEL, Outcome
from recart.data.prepare import Endpoint as AsWritten
from recart.data.prepare import Preparation, prepare
from recart.data.readers.reader import Reader
from recart.data.selection import check_selection, without_order
from recart.data.store import CohortStore, open_store
from recart.problems import InputError, Problem
from recart.training.endpoints import BinaryEndpoint, Endpoint
from recart.training.heads import Head
from recart.training.run_directory import RunDirectory

__all__ = [
    "PreparedCohort",
    "admission",
    "left_unread",
    "outcome_bags",
    "preparation",
    "prepare_cohort",
    "prepared_folder",
    "reader_of",
    "reading",
    "reading_of",
    "reopen_cohort",
    "values_of",
    "whole_reading",
    "with_bags",
]


_UNITS = ("patient", "sample")


@dataclass(frozen=True, kw_only=True)
class PreparedCohort:
    """A cohort ready for training or evaluation; `key` names its store.

    `extras` (n, f) are bag features: of each patient's own clones, and its covariates.
    """

    store: CohortStore
    key: str
    bags: Bags
    extras: pd.DataFrame


def preparation(data: Any, folder: Path, *, receptors: Any, labelled: bool = True) -> Preparation:
    """What `data` says about reading, checking and storing.

    `receptors` is the node of the receptor embedding. `labelled=False`: new patients, without an
    endpoint.

    Raises
    ------
    InputError
        If `data.unit` or `data.in_memory` is none of its values.
    """
    return Preparation(
        reader=reader_of(data),
        endpoint=AsWritten(
            column=data.endpoint if labelled else None,
            positive=data.positive,
            negative=data.negative,
            exclude=list(data.exclude),
            unit=_unit(data),
            outcome=_other_than_binary(data) if labelled else None,
        ),
        car_genes=list(data.car_genes),
        normalised=bool(data.normalised),
        limits=build(data.limits),
        receptors=build(receptors),
        folder=folder,
        in_memory=_in_memory(data),
        reread=bool(data.get("reread")),  # runs that are older than the key lack it
    )


def reader_of(data: Any) -> Reader:
    """The reader that `data` describes, with its gates."""
    reader: Reader = build(data.reader)
    return GatedReader(reader, build(data.gates)) if data.get("gates") else reader


def prepare_cohort(data: Any, folder: Path, progress: Callable[[str], None]) -> PreparedCohort:
    """Read, check and store the cohort, or open it where it is stored already.

    Raises
    ------
    InputError
        With every problem of the input, or of what is named of it: time points and tissues, genes,
        covariates.
    """
    store, key = prepare(preparation(data, folder, receptors=data.receptors), progress)
    check_selection(store, admission(data), reading(data).stages)
    if data.unit == "patient" and (
        why := without_order(store, admission(data), reading(data).stages)
    ):
        progress(f"warning: {why}")
    check_marker_genes(store, named_genes(store, reading(data).marker_genes))
    cohort = with_bags(store, key, data)
    check_covariates(store, cohort.bags, str(data.endpoint))
    return cohort


def left_unread(data: Any, head: Head) -> list[str]:
    """What the configuration names and nothing of this head will read, in words."""
    named = reading(data).covariates
    lines = []
    if named and not head.reads_extras:
        lines.append(f"warning: {type(head).__name__} reads no covariates: {', '.join(named)}")
    genes = [name for name in reading(data).marker_genes if not is_panel(name)]
    if genes and not head.reads_markers:
        lines.append(f"warning: {type(head).__name__} reads no named genes: {', '.join(genes)}")
    if data.get("gates") and not any(name.startswith(PREFIX) for name in named):
        lines.append(
            "warning: gate fractions are columns of the samples that nothing reads; name them: "
            f"'data.covariates=[\"{PREFIX}NAME\"]'"
        )
    return lines


def reopen_cohort(data: Any, folder: Path, key: str) -> PreparedCohort:
    """The cohort that a run was trained on, by its key; no input file is read."""
    store = open_store(folder / f"{key}.zarr", in_memory=_in_memory(data))
    return with_bags(store, key, data)


def prepared_folder(run: RunDirectory) -> Path:
    """Where the run's prepared cohort lies, also when called from another working directory.

    A relative `paths.prepared` starts at the directory that train.py was called from: it is looked
    for here, then in the folders above the run.
    """
    named = Path(run.config.paths.prepared)
    places = [named, *(parent / named for parent in run.path.resolve().parents)]
    return next((place for place in places if (place / "pseudonym.key").exists()), named)


def admission(data: Any) -> Admission:
    """Which samples may enter a prediction."""
    return Admission(
        decision_day=data.decision_day,
        timepoints=list(data.timepoints or ()),
        tissues=list(data.tissues or ()),
    )


def reading(data: Any) -> Reading:
    """What heads may read besides latents and clones; runs that are older than the keys lack it."""
    return Reading(
        marker_genes=tuple(data.get("marker_genes") or ()),
        stages=tuple(data.get("stages") or ()),
        covariates=tuple(data.get("covariates") or ()),
    )


def reading_of(store: CohortStore, data: Any) -> Reading:
    """What heads may read of this store: panels stand for those of their genes that it has."""
    own = reading(data)
    return replace(own, marker_genes=named_genes(store, own.marker_genes))


def whole_reading(data: Any) -> Reading:
    """What heads may read of any store: every gene of a panel, whether a store has it or not."""
    own = reading(data)
    return replace(own, marker_genes=panel_genes(own.marker_genes))


def _unit(data: Any) -> str:
    """`data.unit`."""
    if data.unit not in _UNITS:
        problem = Problem(
            code="E-CONFIG-018",
            column="data.unit",
            what=f"data.unit is {data.unit!r}",
            mend=f"set it to one of {', '.join(_UNITS)}: what is predicted",
        )
        raise InputError([problem])
    return str(data.unit)


def _in_memory(data: Any) -> bool | None:
    """`data.in_memory`; None, the same as `auto`, where a run is older than the key."""
    value = data.get("in_memory")
    if value in (None, "auto"):
        return None
    if not isinstance(value, bool):
        problem = Problem(
            code="E-CONFIG-014",
            column="data.in_memory",
            what=f"data.in_memory is {value!r}",
            mend="set it to auto, true or false",
        )
        raise InputError([problem])
    return value


def with_bags(store: CohortStore, key: str, data: Any) -> PreparedCohort:
    """The store with its bags and their features, as `data` says; `key` names the store."""
    own = reading_of(store, data)
    outcome = _other_than_binary(data) or TwoClasses(
        column=data.endpoint,
        positive=data.positive,
        negative=data.negative,
        exclude=list(data.exclude),
    )
    bags = outcome_bags(store, outcome, data.unit, admission(data), own)
    return PreparedCohort(store=store, key=key, bags=bags, extras=bag_features(store, bags))


def outcome_bags(
    store: CohortStore, outcome: Outcome, unit: str, admitted: Admission, own: Reading
) -> Bags:
    """Bags labelled with an outcome; one of two classes is what bags without an `outcome` have."""
    table = {name: values_of(store, unit, name) for name in outcome.columns}
    resolved = outcome.resolve(pd.DataFrame(table))
    return make_bags(
        store,
        resolved[LABEL],
        unit=unit,
        admission=admitted,
        reading=own,
        outcome=None if isinstance(outcome, TwoClasses) else outcome,
        resolved=resolved,
    )


def _other_than_binary(data: Any) -> Endpoint | None:
    """The endpoint of `data` where it is not response or none; runs of before have no other."""
    node = data.get("outcome")
    outcome: Endpoint | None = None if node is None else build(node)
    return None if isinstance(outcome, BinaryEndpoint) else outcome


def values_of(store: CohortStore, unit: str, name: str) -> pd.Series[Any]:
    """Values of a column by patient or by sample, wherever it stands."""
    table = store.patients if unit == "patient" else store.samples
    return table[name] if name in table else _of_samples(store, name)


def _of_samples(store: CohortStore, endpoint: str) -> pd.Series[Any]:
    """A patient's value of a sample-level endpoint, or a sample's value of a patient-level one.

    The checks have made sure that a patient's samples agree, as far as they have a value.
    """
    if endpoint in store.samples:
        given = store.samples[endpoint]
        given = given.mask(is_missing(given))
        first = given.groupby(store.samples["patient"]).first()
        values = first.reindex(range(len(store.patients)))
        values.index = store.patients.index
        return values.rename(endpoint)
    of_patients = store.patients[endpoint].to_numpy()[store.samples["patient"].to_numpy()]
    return pd.Series(of_patients, index=store.samples.index, name=endpoint)
