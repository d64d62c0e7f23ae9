"""Permutation test: what the same pipeline finds when labels are dealt to patients at random."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import pandas as pd

from recart.evaluation.patient_codes import patient_codes
from recart.evaluation.ranked_bags import RankedBags, scored_bags

__all__ = ["Permutation", "RefitFold", "permutation_test", "permuted_outside", "permuted_sources"]

Array = np.ndarray[Any, np.dtype[Any]]

# patients of each class that a fold's development patients must keep, or the labels are drawn anew
_KEPT = 2
# draws for each permutation wanted before the test is given up
_PATIENCE = 50


@dataclass(frozen=True, kw_only=True)
class Permutation:
    """How the observed AUROC, or another measure, stands among those of permuted labels.

    Attributes
    ----------
    p
        (1 + permutations with at least the observed value) / (1 + k); None where refused.
    k
        Permutations.
    observed
        The measure of the given labels, over the same folds.
    null_mean, null_sd
        Mean and standard deviation of the measure under permuted labels.
    refusal
        Why there is no p; empty where there is one.
    measure
        What is measured.
    repeats
        Repeats of the cross-validation that all of this is of, the first ones; 0 is not known.
    refitted
        The measure of models fitted again to the given labels: `observed`, where it is of models
        that were fitted to these. None where nothing was fitted.
    """

    p: float | None
    k: int
    observed: float | None
    null_mean: float | None
    null_sd: float | None
    refusal: str = ""
    measure: str = "AUROC"
    repeats: int = 0
    refitted: float | None = None

    @classmethod
    def refused(cls, refusal: str) -> Permutation:
        """No p, and why."""
        return cls(p=None, k=0, observed=None, null_mean=None, null_sd=None, refusal=refusal)


@dataclass(frozen=True, kw_only=True)
class RefitFold:
    """One held-out fold whose label-dependent part can be fitted again.

    `development` and `held_out` are row numbers of the labelled bags. `refit` takes targets of the
    development bags, (n, ...) each, and returns (k, n) logits of the held-out bags; labels of
    others never reach it.
    """

    repeat: int
    fold: int
    development: Array
    held_out: Array
    refit: Callable[[Sequence[Array]], Array]


def permutation_test(
    folds: Iterable[RefitFold],
    members: Sequence[tuple[Array, Array]],
    observed: RankedBags,
    *,
    k: int,
    seed: int,
    blocks: Sequence[Any] | None = None,
    groups: Array | None = None,
) -> Permutation:
    """Refit every fold to the labels, and to `k` permutations of them; compare the statistic.

    Parameters
    ----------
    folds
        The folds, one after another; each is used once and let go.
    members
        Development and held-out rows of each of them, known beforehand.
    observed
        Held-out bags with the given labels over the same folds; rows number them.
    k
        Permutations.
    seed
        Seed of the permutations.
    blocks
        (n) of each bag: labels move within a block only, such as a site; None: among all patients.
    groups
        (n) what inner folds keep together, such as a library; None: each patient's bags.

    Notes
    -----
    All bags of a patient move together, and a time with its event: that patients are exchangeable
    then includes that who is censored, and when, has nothing to do with the cells. What no label
    enters (an encoder, prototypes) stays, and so do the outer folds, which were stratified by the
    given labels. Labels that leave the development patients of a fold without two patients (or
    groups) of each class are drawn anew; the given labels are of the same set, so the test stays
    exact for independent patients.
    """
    refusal = _refusal(members, observed)
    if refusal:
        return Permutation.refused(refusal)
    sources = permuted_sources(observed, members, k=k, seed=seed, blocks=blocks, groups=groups)
    if len(sources) < k:
        return Permutation.refused(
            f"Only {len(sources)} of {k} permutations leave the development patients of every "
            "fold two of each class (or groups that stay together): a class is too small."
        )
    as_given = np.arange(len(observed.bag))
    sources = [as_given, *sources]
    targets = [observed.targets[source] for source in sources]
    tables: list[list[pd.DataFrame]] = [[] for _ in sources]
    for own in folds:
        logits = own.refit([y[own.development] for y in targets])
        for table, row in zip(tables, logits, strict=True):
            table.append(
                pd.DataFrame(
                    {
                        "bag": observed.bag[own.held_out],
                        "patient": observed.patient[own.held_out],
                        "repeat": own.repeat,
                        "fold": own.fold,
                        "logit": row,
                    }
                )
            )
    found = []
    for source, parts in zip(sources, tables, strict=True):
        score = scored_bags(pd.concat(parts, ignore_index=True), observed.kind)["score"]
        placed = score.reindex(observed.bag.astype(str)).to_numpy(dtype=float)
        found.append(observed.statistic(observed.targets[source], placed))
    return replace(_against(np.array(found[1:]), observed), refitted=found[0])


def permuted_outside(observed: RankedBags, *, k: int, seed: int) -> Permutation:
    """The same for an outside cohort: nothing is fitted to its labels, so its scores stay."""
    sources = permuted_sources(observed, [], k=k, seed=seed)
    return _against(np.array([observed.relabelled(own).value for own in sources]), observed)


def permuted_sources(
    observed: RankedBags,
    members: Sequence[tuple[Array, Array]],
    *,
    k: int,
    seed: int,
    blocks: Sequence[Any] | None = None,
    groups: Array | None = None,
) -> list[Array]:
    """At most `k` permutations that every fold can be fitted to: (n) whose labels each bag gets."""
    rng = np.random.default_rng(np.random.SeedSequence([seed, 199]))
    owner = patient_codes(observed.patient, observed.score)
    rows = [np.flatnonzero(owner == patient) for patient in range(owner.max() + 1)]
    kept = owner if groups is None else pd.factorize(groups)[0]
    alike = _exchangeable(observed.targets, rows, blocks)
    found: list[Array] = []
    for _ in range(k * _PATIENCE):
        if len(found) == k:
            break
        new = np.empty(len(owner), dtype=np.int64)
        for own_kind in alike:
            for to, source in zip(own_kind, rng.permutation(own_kind), strict=True):
                own = rows[source]
                # one label a patient: it is given to all bags of the other, however many
                new[rows[to]] = own if len(own) == len(rows[to]) else own[0]
        classes = observed.classes[new]
        if all(_fits(classes[development], kept[development]) for development, _ in members):
            found.append(new)
    return found


def _exchangeable(
    targets: Array, rows: Sequence[Array], blocks: Sequence[Any] | None
) -> list[Array]:
    """Patients whose labels may change places: of one block and, if labels vary, of equal size."""
    varies = any(len(np.unique(targets[own], axis=0)) > 1 for own in rows)
    keys = [
        (None if blocks is None else str(blocks[own[0]]), len(own) if varies else 0) for own in rows
    ]
    return [np.flatnonzero([key == one for key in keys]) for one in dict.fromkeys(keys)]


def _fits(y: Array, kept: Array) -> bool:
    return all(len(np.unique(kept[y == label])) >= _KEPT for label in (0, 1))


def _refusal(members: Sequence[tuple[Array, Array]], observed: RankedBags) -> str:
    held_out = [rows for _, rows in members]
    times = np.bincount(np.concatenate(held_out), minlength=len(observed.bag))
    if (times != observed.repeats).any():
        return "Bags are not held out once a repeat: folds such as pairs follow the labels."
    if all(len(np.unique(observed.patient[rows])) == 1 for rows in held_out):
        return "Every fold holds a single patient: no AUROC is pooled over such folds."
    return ""


def _against(null: Array, observed: RankedBags) -> Permutation:
    return Permutation(
        p=float((1 + (null >= observed.value - 1e-12).sum()) / (1 + len(null))),
        k=len(null),
        observed=observed.value,
        null_mean=float(null.mean()),
        null_sd=float(null.std(ddof=1)),
        measure=observed.measure,
        repeats=observed.repeats,
    )
