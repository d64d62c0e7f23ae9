"""Refitting the heads of a run to other labels, their encoders as they are."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace
from functools import partial
from typing import Final

import numpy as np
import pandas as pd

from recart.data.bags import Bags
from recart.data.features import bind
from recart.data.store import CohortStore
from recart.evaluation.held_out import check_provenance
from recart.evaluation.permutation import (
    Array,
    Permutation,
    RefitFold,
    permutation_test,
    permuted_outside,
)
from recart.evaluation.ranked_bags import RankedBags
from recart.evaluation.refits import Refits
from recart.problems import InputError, Problem
from recart.training.bag_latents import bag_latents
from recart.training.cohort_setup import PreparedCohort
from recart.training.heads import BagLatents, Head
from recart.training.jobs import labelled_bags
from recart.training.member_file import ENCODER_LABELS, LoadedMember

__all__ = ["AT_ONCE", "member_rows", "permute_run", "refit_folds", "usual_permutations"]

# Permutations, and repeats of the cross-validation that they are refitted in: of heads whose
# refits take seconds each, as many as give a p of .025 at least.
_QUICK: Final = (199, 4)
_SLOW: Final = (39, 1)

AT_ONCE: Final = 10
"""Labellings that a head which shares much between them is given at once."""


def usual_permutations(heads: Iterable[Head]) -> tuple[int, int]:
    """Permutations and repeats of a test that refits `heads`, where nothing else is asked for."""
    return _QUICK if all(own.quickly_refitted for own in heads) else _SLOW


def permute_run(
    observed: RankedBags,
    members: Sequence[LoadedMember],
    head: Head,
    cohort: PreparedCohort,
    *,
    k: int,
    seed: int,
    within: str | None = None,
    outside: bool = False,
) -> Permutation:
    """The permutation test of a run.

    A bar tells the time left.

    Parameters
    ----------
    observed
        Held-out bags with the given labels.
    members, head
        Trained members and the recipe of their heads.
    cohort
        The cohort they were trained on.
    k, seed
        Permutations, and their seed. Members whose encoders saw labels are refused.
    within
        Column of samples or patients within whose values labels are permuted.
    outside
        Whether the held-out patients are a cohort of which no member saw a patient.

    Raises
    ------
    InputError
        If neither samples nor patients have the column `within`.
    """
    if not outside and any(member.fitted_on.get(ENCODER_LABELS) for member in members):
        return Permutation.refused(
            "Labels have shaped the encoders (joint training), which would have to be trained anew "
            "for each permutation; audit=full does so for a few (canary)."
        )
    store, bags = cohort.store, cohort.bags
    number_of = pd.Index(observed.bag.astype(str)).get_indexer(bags.table.index.astype(str))
    if outside:
        return permuted_outside(observed, k=k, seed=seed)
    rows = [(number_of[d], number_of[h]) for d, h in member_rows(members, store, bags)]
    row_of = np.argsort(number_of)[-len(observed.bag) :]
    blocks = None
    if within is not None:
        of_bag = _column(cohort, within)
        blocks = [of_bag[row] for row in row_of]
    with Refits((k + 1) * len(members), "permutations=0 leaves this test out") as refits:
        return permutation_test(
            refit_folds(members, head, cohort, number_of, refits),
            rows,
            observed,
            k=k,
            seed=seed,
            blocks=blocks,
            groups=bags.groups[row_of],
        )


def _column(cohort: PreparedCohort, name: str) -> list[str]:
    """Value of each bag: its patient's, or all those of its samples."""
    store, bags = cohort.store, cohort.bags
    if name in store.patients:
        return store.patients[name].astype(str).iloc[bags.table["patient"]].tolist()
    if name not in store.samples:
        raise InputError(
            [
                Problem(
                    code="E-EVAL-014",
                    column=name,
                    what="neither samples nor patients have the column of permute_within",
                    mend="name a column of the samples or the patients, such as site",
                )
            ]
        )
    sample, values = store.cells["sample"].to_numpy(), store.samples[name].astype(str).to_numpy()
    return [
        "; ".join(sorted({values[sample[part.start]] for part in parts})) for parts in bags.slices
    ]


def member_rows(
    members: Sequence[LoadedMember], store: CohortStore, bags: Bags
) -> list[tuple[Array, Array]]:
    """Development and held-out rows of `bags.table` of each member, bags with a label only."""
    code_of = {name: code for code, name in enumerate(store.patients.index)}
    return [
        (
            labelled_bags(bags, [code_of[name] for name in member.fitted_on["head"]]),
            labelled_bags(bags, [code_of[name] for name in member.held_out]),
        )
        for member in members
    ]


def refit_folds(
    members: Sequence[LoadedMember],
    head: Head,
    cohort: PreparedCohort,
    number_of: Array,
    refits: Refits,
) -> Iterator[RefitFold]:
    """Each member as a fold that can be fitted again; `number_of` renumbers the rows of the bags.

    Bags are encoded once for all labels. The encoder and the features have seen no label, so what
    is refitted is all that depends on one: the head, with its inner choice.
    """
    store, bags = cohort.store, cohort.bags
    for member, (development, held_out) in zip(
        members, member_rows(members, store, bags), strict=True
    ):
        check_provenance(member)
        bound = bind(member.features, store)
        both = np.concatenate([development, held_out])
        own = bag_latents(member.stack, bound, store, bags, both, cohort.extras)
        yield RefitFold(
            repeat=member.repeat,
            fold=member.fold,
            development=number_of[development],
            held_out=number_of[held_out],
            refit=partial(
                _refit,
                refits=refits,
                member=member,
                head=member.recipe or head,
                development=_part(own, slice(0, len(development))),
                held_out=_part(own, slice(len(development), None)),
            ),
        )


def _refit(
    labels: Sequence[Array],
    *,
    refits: Refits,
    member: LoadedMember,
    head: Head,
    development: BagLatents,
    held_out: BagLatents,
) -> Array:
    def fit(some: Sequence[Array]) -> Sequence[Array]:
        rows = head.relabelled_logits(member.head, development, held_out, some, member.seed)
        return list(rows)

    return np.stack(refits.of(fit, labels, at_once=AT_ONCE if head.quickly_refitted else 1))


def _part(bags: BagLatents, rows: slice) -> BagLatents:
    return replace(
        bags,
        latents=bags.latents[rows],
        extras=bags.extras[rows],
        patients=bags.patients[rows],
        token_of_cell=bags.token_of_cell[rows],
        markers=bags.markers[rows],
    )
