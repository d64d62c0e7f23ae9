"""The AUROC on permuted labels: how it is taken over folds, and how far chance moves its mean."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
from scipy.stats import rankdata

from recart.contracts import Member
from recart.data.features import bind
from recart.training.bag_latents import bag_latents
from recart.training.cohort_setup import PreparedCohort
from recart.training.heads import BagLatents
from recart.training.jobs import labelled_bags
from recart.training.member_file import LoadedMember

__all__ = ["FoldBags", "band", "fold_bags", "null_auroc"]

Array = np.ndarray[Any, Any]

# Half-width of the band for the mean of 30 permutations, 2.5 standard deviations, by patients in
# two classes of one size (simulated: ridge regression in stratified five-fold cross-validation).
_BAND: Final = {20: 0.07, 40: 0.06, 80: 0.04, 150: 0.03}
_PERMUTATIONS: Final = 30
_DECIMALS: Final = 9  # a model that says the same of every bag is not ranked by rounding errors


@dataclass(frozen=True, kw_only=True)
class FoldBags:
    """The bags of one fold as its encoder gives them.

    `development` and `held_out` are their places among all labelled bags, in the order of `seen`
    and `unseen`. `seed` is that of the fold's head.
    """

    seed: int
    development: Array
    held_out: Array
    seen: BagLatents
    unseen: BagLatents


def fold_bags(
    loaded: LoadedMember, member: Member, cohort: PreparedCohort, place: Mapping[int, int]
) -> FoldBags:
    """Encode the labelled bags of one member; `place` is where each bag stands among them all."""
    bound = bind(loaded.features, cohort.store)
    parts = {}
    for name, patients in (
        ("development", (*member.train, *member.validation)),
        ("held_out", member.held_out),
    ):
        rows = labelled_bags(cohort.bags, patients)
        latents = bag_latents(loaded.stack, bound, cohort.store, cohort.bags, rows, cohort.extras)
        parts[name] = np.array([place[int(n)] for n in rows], dtype=np.intp), latents
    (development, seen), (held_out, unseen) = parts["development"], parts["held_out"]
    return FoldBags(
        seed=member.seed, development=development, held_out=held_out, seen=seen, unseen=unseen
    )


def null_auroc(folds: Iterable[tuple[Array, Array]]) -> float:
    """AUROC over all pairs of a positive and a negative bag of the same fold.

    Its mean over permutations is .5, exactly, where nothing leaks: neither label of a pair was in
    the training of their fold. Pairs across folds would pull it down, as each has trained the model
    that scores the other: pooled and centred by fold, 600 permutations of clean cohorts of 30 and
    40 patients read .476 and .482, these pairs .491 and .505 (standard error .005).

    Parameters
    ----------
    folds
        Labels (n) and logits (n) of the held-out bags of each fold. NaN is returned where no fold
        has both classes.
    """
    above = pairs = 0.0
    for y, logits in folds:
        positive = y == 1
        n1, n0 = int(positive.sum()), int((~positive).sum())
        rank = rankdata(logits.round(_DECIMALS))
        above += float(rank[positive].sum()) - n1 * (n1 + 1) / 2
        pairs += n1 * n0
    return above / pairs if pairs else float("nan")


def band(sizes: tuple[float, float], permutations: int) -> float:
    """Half-width around .5 that the mean AUROC of permutations stays in by chance.

    `sizes` are patients of the two classes: unequal ones are worth 4 n0 n1 / (n0 + n1) patients
    in equal ones, which is the number that gives an AUROC the same standard deviation. Between the
    sizes that were simulated the half-width is linear in the number of patients, outside it
    follows the square root; fewer permutations than 30 widen it.
    """
    n = 4 * sizes[0] * sizes[1] / sum(sizes)
    least, most = min(_BAND), max(_BAND)
    width = float(np.interp(n, list(_BAND), list(_BAND.values())))
    if n < least:
        width *= float(np.sqrt(least / n))
    elif n > most:
        width *= float(np.sqrt(most / n))
    return width * float(np.sqrt(max(1.0, _PERMUTATIONS / permutations)))
