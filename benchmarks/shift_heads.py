"""Heads for the members of the benchmark of shifts, and what they say as a bundle would."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np
from shift_members import Settings

from recart.config.compose import compose
from recart.data.features import bind
from recart.data.store import CohortStore
from recart.training.bag_latents import bag_latents
from recart.training.cohort_setup import PreparedCohort, with_bags
from recart.training.decision_rule import fit_decision_rule
from recart.training.jobs import labelled_bags
from recart.training.member_file import LoadedMember
from recart.training.readouts import build_head

Array = np.ndarray[Any, np.dtype[Any]]


def labelled(store: CohortStore) -> PreparedCohort:
    """The store with bags before infusion and responses."""
    return with_bags(store, "benchmark", compose(["data=simulated", "data/receptors=none"]).data)


def nameless(store: CohortStore) -> CohortStore:
    """Without names of libraries, as a bundle meets all patients."""
    return replace(store, samples=store.samples.assign(batch="nameless"))


def with_heads(
    given: Settings, members: Sequence[LoadedMember], store: CohortStore
) -> list[LoadedMember]:
    """The members with a head each, fitted to all that they do not hold out."""
    head, cohort = build_head(compose(["data=simulated", "data/receptors=none"])), labelled(store)
    code = {name: number for number, name in enumerate(store.patients.index)}
    fitted = []
    for member in members:
        held_out = {code[name] for name in member.held_out}
        rows = labelled_bags(cohort.bags, sorted(set(range(given.patients)) - held_out))
        labels = cohort.bags.table["label"].to_numpy()[rows]
        bound = bind(member.features, store)
        seen = bag_latents(member.stack, bound, store, cohort.bags, rows, cohort.extras)
        own = head.fit(seen, labels, member.seed)
        rule = fit_decision_rule(own.inner_logits, labels, seen.patients)
        fitted.append(replace(member, head=own, rule=rule))
    return fitted


def log_odds(members: Sequence[LoadedMember], store: CohortStore) -> Array:
    """(m, n) calibrated log-odds of the bags of `labelled`."""
    cohort = labelled(store)
    rows = range(len(cohort.bags))
    found = []
    for member in members:
        bound = bind(member.features, store)
        seen = bag_latents(member.stack, bound, store, cohort.bags, rows, cohort.extras)
        found.append(member.rule.log_odds(member.head.logits(seen)))
    return np.stack(found)
