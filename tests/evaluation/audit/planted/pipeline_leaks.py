"""Leaks of the pipeline: each trains a member by a way that looks at what it must not see.

A leak takes the honest way to train one member (recipes, head, settings, folder; called with a
cohort and a member it gives the member and the content of its file) and gives a leaky one, called
alike. None of them admits whom it looked at: `fitted_on` names the development patients only.
"""

from __future__ import annotations

import tempfile
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from scipy import sparse

from recart.contracts import Member
from recart.data.features import FeatureChoice, bind
from recart.data.store import CohortStore
from recart.training.bag_latents import bag_latents
from recart.training.checkpoints import load_checkpoint
from recart.training.cohort_setup import PreparedCohort
from recart.training.heads import Head
from recart.training.jobs import Recipes, labelled_bags
from recart.training.member_file import LoadedMember, load_member, member_path
from recart.training.member_job import MemberJob, Trainers
from recart.training.shared_store import SharedStore
from recart.training.trainer import TrainerSettings


class Trained(NamedTuple):
    member: LoadedMember
    content: dict[str, Any]


Train = Callable[[PreparedCohort, Member], Trained]


@dataclass(frozen=True, kw_only=True)
class Honest:
    """One member through the job that trains it in a run."""

    recipes: Recipes
    head: Head
    settings: TrainerSettings
    folder: Path

    def __call__(self, cohort: PreparedCohort, member: Member) -> Trained:
        with tempfile.TemporaryDirectory(dir=self.folder) as name:
            place = Path(name)
            MemberJob(
                members=[member],
                shared=SharedStore(cohort.store, place),
                bags=cohort.bags,
                extras=cohort.extras,
                recipes=self.recipes,
                head=self.head,
                trainers=Trainers(settings=self.settings, callbacks=[], folder=place),
                folder=place,
            )(lambda _: None)
            path = member_path(place, member.name)
            return Trained(load_member(path, self.recipes.model, self.head), load_checkpoint(path))


def _with_features(honest: Any, kind: type[FeatureChoice]) -> Any:
    own = honest.recipes.features
    leaky = kind(n_genes=own.n_genes, exclude=own.exclude, prior_cells=own.prior_cells)
    return replace(honest, recipes=replace(honest.recipes, features=leaky))


class _GenesByLabel(FeatureChoice):
    def _genes(self, store: CohortStore, cells: np.ndarray) -> list[str]:  # noqa: ARG002
        yes = (store.patients["response"] == "CR").to_numpy()
        owner = store.cells["patient"].to_numpy()
        member = sparse.csr_matrix(
            (np.ones(len(owner)), (owner, np.arange(len(owner)))),
            shape=(len(yes), len(owner)),
        )
        sums = np.asarray((member @ store.rna[:].astype(float)).todense())
        profile = np.log1p(1e4 * sums / np.maximum(sums.sum(axis=1, keepdims=True), 1))
        gap = profile[yes].mean(axis=0) - profile[~yes].mean(axis=0)
        spread = profile.std(axis=0) + 1e-3
        best = np.sort(np.argsort(-np.abs(gap / spread))[: self.n_genes])
        return [store.genes[g] for g in best]


def genes_by_label_of_all(honest: Any) -> Train:
    """L01: genes chosen by how they differ between the classes, over all patients."""
    return _with_features(honest, _GenesByLabel)


class _GenesOfAll(FeatureChoice):
    def _genes(self, store: CohortStore, cells: np.ndarray) -> list[str]:  # noqa: ARG002
        return super()._genes(store, np.arange(len(store.cells)))


def variable_genes_of_all(honest: Any) -> Train:
    """L02: variable genes chosen over all patients, without labels."""
    return _with_features(honest, _GenesOfAll)


def epoch_on_held_out(honest: Any) -> Train:
    """L08: the held-out patients choose the epoch, and so the head is fitted on them as well."""

    def train(cohort: PreparedCohort, member: Member) -> Trained:
        swapped = replace(member, validation=member.held_out, held_out=member.validation)
        own, content = honest(cohort, swapped)
        names = [str(cohort.store.patients.index[code]) for code in member.validation]
        seen = content["fitted_on"]
        claimed = {**seen, "epoch": names, "head": [*seen["encoder"], *names]}
        said = {part: frozenset(patients) for part, patients in claimed.items()}
        return Trained(replace(own, fitted_on=said), {**content, "fitted_on": claimed})

    return train


def threshold_on_all(honest: Any) -> Train:
    """L09: the threshold is the mean log odds of all responders, held out or not."""

    def train(cohort: PreparedCohort, member: Member) -> Trained:
        own, content = honest(cohort, member)
        everyone = (*member.train, *member.validation, *member.held_out)
        rows = labelled_bags(cohort.bags, everyone)
        bound = bind(own.features, cohort.store)
        seen = bag_latents(own.stack, bound, cohort.store, cohort.bags, rows, cohort.extras)
        logits = own.head.logits(seen)
        y = cohort.bags.table["label"].to_numpy()[rows]
        return Trained(own, {**content, "threshold": float(logits[y == 1].mean())})

    return train


def batches_removed_with_target(honest: Any) -> Train:
    """L17: batch means are set equal over all patients, while differences between classes stay."""

    def train(cohort: PreparedCohort, member: Member) -> Trained:
        store = cohort.store
        sample = store.cells["sample"].to_numpy()
        batch = store.samples["batch"].astype(str).to_numpy()[sample]
        yes = (store.patients["response"] == "CR").to_numpy()[store.cells["patient"].to_numpy()]
        counts = store.rna[:].astype(float).toarray()
        target = np.stack([counts[yes == own].mean(axis=0) for own in (False, True)]) + 1e-3
        for level in np.unique(batch):
            for own in (False, True):
                rows = (batch == level) & (yes == own)
                if rows.any():
                    counts[rows] *= target[int(own)] / (counts[rows].mean(axis=0) + 1e-3)
        corrected = sparse.csr_matrix(np.rint(counts).astype(np.int32))
        return honest(replace(cohort, store=replace(store, rna=corrected)), member)

    return train
