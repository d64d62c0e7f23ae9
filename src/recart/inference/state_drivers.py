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


def state_drivers(
    head: FittedHead, rule: DecisionRule, bags: BagLatents, names: pd.Index[Any]
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

    Returns
    -------
    One row a bag, one column a coarse prototype, by `state_words`; in log-odds, or the log hazard
    of a survival endpoint. None for a head without prototypes.
    """
    parts = score_parts(head)
    if not parts.linear:
        return None
    own, weight = parts.linear[0]
    told = explain_head(own, rule, bags)
    added = np.zeros((len(names), len(own.prototypes.centres_kl)))
    for group, name, of_bags in zip(told.groups, told.names, told.contributions.T, strict=True):
        if (state := _state(group, name)) is not None:
            added[:, state] += of_bags
    slope = 1.0 if parts.hazard else rule.slope
    told_of_all = weight * (added + slope * _of_mean(own, bags))
    return pd.DataFrame(told_of_all, index=names, columns=state_words(own))


def state_words(head: FittedPrototypeHead) -> list[str]:
    """The coarse prototypes by number and by the markers that are high there, against the rest."""
    own = head.features
    latents = own.usual_kf.shape[1] - len(own.marker_names)
    usual = own.usual_kf[:, latents:].numpy()
    names = [name.split(":", 1)[-1] for name in own.marker_names]
    if not names:
        return [f"state {k}" for k in range(len(usual))]
    spread = np.maximum(usual.std(axis=0), 1e-9)
    # a marker that hardly varies between states tells none apart
    telling = (usual - usual.mean(axis=0)) / spread * (spread > 0.1 * np.median(spread))
    words = []
    for k, row in enumerate(telling):
        order = np.argsort(-row, kind="stable")
        # a protein and its gene have one name
        high = list(dict.fromkeys(names[i] for i in order if row[i] > _TELLING))[:_MARKERS]
        words.append(f"state {k}" + (f": {', '.join(high)}" if high else ""))
    return words


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
