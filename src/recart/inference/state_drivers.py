"""Which cell states carry a score: all that one model says of them, state by state."""

from __future__ import annotations

import re
from typing import Any, Final

import numpy as np
import pandas as pd
import torch

from recart.inference.explain import explain_head
from recart.inference.score_parts import score_parts
from recart.training.bag_sums import sum_bags
from recart.training.decision_rule import DecisionRule
from recart.training.heads import BagLatents, FittedHead
from recart.training.prototype_head import FittedPrototypeHead

__all__ = ["state_drivers", "state_words"]

# groups whose features name a coarse prototype, first or last in their names
_FIRST: Final = ("fractions", "means", "proteins", "genes")
_LAST: Final = ("sample fractions", "changes of fractions")
_MARKERS: Final = 3  # that name a state
_TELLING: Final = 0.75  # SD over states from which a marker names one
_COMMON: Final = 3  # markers that a correlation needs


def state_drivers(
    head: FittedHead,
    rule: DecisionRule,
    bags: BagLatents,
    names: pd.Index[Any],
    reference: FittedHead,
) -> pd.DataFrame | None:
    """What each cell state adds to the score of each bag, against the mean development patient.

    How many cells are in it, what they are like, and how far they pull the mean of all cells: what
    they add to it less what that state's cells usually do. Clones, covariates, finer states, and
    changes of cells over time are of no one state, nor is what a limit of the scaling takes off.

    Parameters
    ----------
    head, rule
        The member's head and its calibration. Of several heads in one, the first that has cell
        states is told, with its weight.
    bags, names
        Bags as the member sees them, and (n) their names.
    reference
        The head whose states are told of. States of another member count with the one of these
        whose usual markers are most like theirs, by correlation.

    Returns
    -------
    One row a bag, one column a coarse prototype of `reference`, by `state_words`; in log-odds, or
    the log hazard of a survival endpoint. None for a head without prototypes, or one with
    fewer than three markers in common with another `reference`.
    """
    parts, first = score_parts(head), score_parts(reference)
    if not (parts.linear and first.linear):
        return None
    (own, weight), (shown, _) = parts.linear[0], first.linear[0]
    nearest = _nearest(own, shown)
    if nearest is None:
        return None
    told = explain_head(own, rule, bags)
    added = np.zeros((len(names), len(own.prototypes.centres_kl)))
    for group, name, of_bags in zip(told.groups, told.names, told.contributions.T, strict=True):
        if (state := _state(group, name)) is not None:
            added[:, state] += of_bags
    slope = 1.0 if parts.hazard else rule.slope
    words = state_words(shown)
    told_of_all = np.zeros((len(names), len(words)))
    np.add.at(told_of_all.T, nearest, weight * (added + slope * _of_mean(own, bags)).T)
    return pd.DataFrame(told_of_all, index=names, columns=words)


def state_words(head: FittedPrototypeHead) -> list[str]:
    """The coarse prototypes by number and by the markers that are high there, against the rest."""
    telling = _telling(head)
    names = [name.split(":", 1)[-1] for name in head.features.marker_names]
    if not names:
        return [f"state {k}" for k in range(len(telling))]
    words = []
    for k, row in enumerate(telling):
        order = np.argsort(-row, kind="stable")
        # a protein and its gene have one name
        high = list(dict.fromkeys(names[i] for i in order if row[i] > _TELLING))[:_MARKERS]
        words.append(f"state {k}" + (f": {', '.join(high)}" if high else ""))
    return words


def _telling(head: FittedPrototypeHead) -> np.ndarray[Any, Any]:
    """(k, m) how far each marker of a state lies above the other states, in their SD."""
    own = head.features
    latents = own.usual_kf.shape[1] - len(own.marker_names)
    usual = own.usual_kf[:, latents:].numpy()
    if not own.marker_names:
        return np.zeros((len(usual), 0))
    spread = np.maximum(usual.std(axis=0), 1e-9)
    # a marker that hardly varies between states tells none apart
    told = spread > 0.1 * np.median(spread)
    found: np.ndarray[Any, Any] = (usual - usual.mean(axis=0)) / spread * told
    return found


def _nearest(
    own: FittedPrototypeHead, shown: FittedPrototypeHead
) -> np.ndarray[Any, np.dtype[np.intp]] | None:
    """(k) the state of `shown` whose markers are most like those of each state of `own`."""
    if own is shown:
        return np.arange(len(own.prototypes.centres_kl))
    mine, theirs = (
        pd.DataFrame(_telling(head), columns=list(head.features.marker_names))
        for head in (own, shown)
    )
    common = mine.columns.intersection(theirs.columns)
    if len(common) < _COMMON:
        return None
    with np.errstate(invalid="ignore"):  # a state that no marker tells from the others
        alike = np.corrcoef(mine[common].to_numpy(), theirs[common].to_numpy())
    nearest: np.ndarray[Any, np.dtype[np.intp]]
    nearest = np.nan_to_num(alike[: len(mine), len(mine) :]).argmax(axis=1)
    return nearest


def _state(group: str, name: str) -> int | None:
    if group in _FIRST:
        return int(name.split(":", 1)[0])
    if group in _LAST and (found := re.search(r"\d+$", name)):
        return int(found[0])
    return None


def _of_mean(head: FittedPrototypeHead, bags: BagLatents) -> np.ndarray[Any, np.dtype[np.float64]]:
    """(n, k) part of each prototype in what the mean of all cells adds, before calibration."""
    features = head.features
    mean = features.bag_mean
    if not len(mean.usual_kl):
        return np.zeros((len(bags.latents), 1))
    of_all = sum_bags(features.prototypes[0], features.view, bags, features.slots[:1], ())
    moved_nkl = mean.parts(of_all, features.shrinkage) - mean.usual_kl
    latents = slice(0, len(mean.usual_l))  # the first group
    slope_l = head.coefficients[latents] / head.scaling.scale[latents]
    found: np.ndarray[Any, np.dtype[np.float64]] = torch.matmul(moved_nkl, slope_l).numpy()
    return found
