"""What drives a score: how much each feature of a bag adds to its log-odds, over all members.

The default head is linear in its scaled features, so its contributions are exact and sum to the
score. They are told against the mean development patient: a feature at the mean, or one that was
not measured, adds nothing.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any, Final

import numpy as np
import pandas as pd
import torch

from recart.inference.cell_states import CellStates
from recart.inference.score_parts import score_parts
from recart.training.decision_rule import DecisionRule
from recart.training.heads import BagLatents, FittedHead
from recart.training.prototype_head import FittedPrototypeHead

__all__ = ["Drivers", "Explanation", "combine", "explain_head", "shared_name"]

Floats = np.ndarray[Any, np.dtype[np.float64]]

# groups whose features stand for prototypes or latents, which differ from member to member
_OF_MEMBER: Final = re.compile(r"fractions( of \d+)?|(bag )?means")


@dataclass(frozen=True, kw_only=True)
class Explanation:
    """Contributions of bag features to one member's score.

    Attributes
    ----------
    names, groups
        (f) name of each feature within its group, and its group.
    contributions
        (n, f) what each feature adds to the score of each bag.
    scaled
        (n, f) the feature as the head reads it: 0 at the mean development patient.
    base
        (n) score of the mean development patient.
    rest
        (n) what no feature accounts for: all that a head adds which is not linear in its features.
    scale
        `log-odds`, calibrated; or `log hazard` of a survival endpoint, whose log-odds are not
        linear in it.
    """

    names: tuple[str, ...]
    groups: tuple[str, ...]
    contributions: Floats
    scaled: Floats
    base: Floats
    rest: Floats
    scale: str

    @property
    def score(self) -> Floats:
        """(n) what base, contributions and rest sum to."""
        total: Floats = self.base + self.contributions.sum(axis=1) + self.rest
        return total


def explain_head(head: FittedHead, rule: DecisionRule, bags: BagLatents) -> Explanation:
    """Explain the scores of `bags` by one member.

    Exact for `prototypes`; for `attention` its base is explained and the residual is `rest`; for
    `ensemble` each part in turn. Other heads are not linear in anything that has a name: their
    whole score is `rest`.

    Parameters
    ----------
    head, rule
        The member's head and its calibration.
    bags
        Bags as the member sees them.
    """
    parts = score_parts(head)
    told = [(_of_prototypes(own, bags), weight) for own, weight in parts.linear]
    zero = np.zeros((len(bags.latents), 0))
    base: Floats = sum((w * own.base for own, w in told), np.zeros(len(zero)))
    intercept, slope = (0.0, 1.0) if parts.hazard else (rule.intercept, rule.slope)
    return Explanation(
        names=tuple(name for own, _ in told for name in own.names),
        groups=tuple(group for own, _ in told for group in own.groups),
        contributions=np.concatenate(
            [zero, *(slope * (w * own.contributions) for own, w in told)], axis=1
        ),
        scaled=np.concatenate([zero, *(own.scaled for own, _ in told)], axis=1),
        base=intercept + slope * base,
        rest=slope * parts.rest(bags),
        scale="log hazard" if parts.hazard else "log-odds",
    )


@dataclass(frozen=True, kw_only=True)
class _Linear:
    """A prototype head's own part, before calibration; see `Explanation`."""

    names: Sequence[str]
    groups: Sequence[str]
    contributions: Floats
    scaled: Floats
    base: Floats


def _of_prototypes(head: FittedPrototypeHead, bags: BagLatents) -> _Linear:
    features = head.features.of(bags)
    # row by row, as the head scores them
    scaled = np.stack([head.scaling.apply(row[None])[0].numpy() for row in features.values])
    groups = [features.group_names[int(g)] for g in features.groups_f]
    names = [
        name.removeprefix(f"{group}:") for name, group in zip(features.names, groups, strict=True)
    ]
    mean = torch.tensor([-head.centre], dtype=torch.float64)
    if head.endpoint.kind != "survival":  # log-odds are the linear predictor and an offset
        mean = head.endpoint.log_odds(mean, head.offsets)
    coefficients = head.coefficients.numpy()
    return _Linear(
        names=names,
        groups=groups,
        contributions=scaled * coefficients,
        scaled=scaled,
        base=np.full(len(scaled), float(mean)),
    )


@dataclass(frozen=True, kw_only=True)
class Drivers:
    """What drives the scores of bags, over all members.

    Attributes
    ----------
    groups
        One row a bag and group: `bag`, `group`, `contribution` (mean over members), `sd` (over
        members).
    features
        The same by `feature` within its group, largest first. Prototypes and latents are each
        member's own: what a member says of a marker is summed over its prototypes, and shares and
        latent means stand as one feature.
    summary
        (n) by bag: `base`, `rest` and `score`, means over members; contributions, base and rest sum
        to the score.
    states
        What each cell state adds, see `CellStates`. None for a head that has none.
    scale
        See `Explanation`.
    """

    groups: pd.DataFrame
    features: pd.DataFrame
    summary: pd.DataFrame
    scale: str
    states: CellStates | None = None

    def of_none(self) -> Drivers:
        """The tables without a bag."""
        return replace(
            self,
            groups=self.groups.iloc[:0],
            features=self.features.iloc[:0],
            summary=self.summary.iloc[:0],
            states=None,
        )

    @classmethod
    def joined(cls, parts: Sequence[Drivers]) -> Drivers:
        """Of the bags of all parts."""
        tables = {
            name: pd.concat([getattr(own, name) for own in parts])
            for name in ("groups", "features", "summary")
        }
        states = [own.states for own in parts if own.states is not None]
        joined = CellStates.joined(states) if states else None
        return cls(scale=parts[0].scale, states=joined, **tables)


def shared_name(group: str, name: str) -> str:
    """A feature's name without what only one member knows: its prototypes, its latents.

    The logarithm of a number, and whether it was measured, count with the number.
    """
    of = group.removeprefix("changes of ").removeprefix("sample ")
    if _OF_MEMBER.fullmatch(of):
        parts = 2 if of == "means" else 1
        return name.rsplit(":", parts)[0] if name.count(":") >= parts else "all cell states"
    if of in ("proteins", "genes"):
        return re.sub(r"(?:^|(?<=:))\d+:(?=[^:]*$)", "", name).replace(":", ": ")
    return re.sub(r":(?:log|missing)$", "", name)


def combine(
    explained: Sequence[Explanation], bags: pd.Index[Any], states: CellStates | None = None
) -> Drivers:
    """The mean of what members say, feature by feature, and how far they differ.

    Parameters
    ----------
    explained
        Of the same bags by every member.
    bags
        (n) their names.
    states
        What members say of cell states.
    """
    by_group = [_summed(own, bags, own.groups, ("",) * len(own.groups)) for own in explained]
    by_feature = [
        _summed(own, bags, own.groups, tuple(map(shared_name, own.groups, own.names)))
        for own in explained
    ]
    parts = {
        part: np.mean([getattr(own, part) for own in explained], axis=0)
        for part in ("base", "rest", "score")
    }
    return Drivers(
        groups=_over_members(by_group).drop(columns="feature"),
        features=_over_members(by_feature),
        summary=pd.DataFrame(parts, index=bags),
        scale=explained[0].scale,
        states=states,
    )


def _summed(
    own: Explanation, bags: pd.Index[Any], groups: Sequence[str], features: Sequence[str]
) -> pd.DataFrame:
    """(bag, group, feature) x 1: sums over features of one name."""
    columns = pd.MultiIndex.from_arrays([list(groups), list(features)], names=["group", "feature"])
    table = pd.DataFrame(own.contributions, index=bags.rename("bag"), columns=columns)
    return table.T.groupby(level=[0, 1], sort=False).sum().T


def _over_members(tables: Sequence[pd.DataFrame]) -> pd.DataFrame:
    """Long table of means and SD; a member that lacks a feature says 0 of it."""
    columns = tables[0].columns
    for other in tables[1:]:
        columns = columns.append(other.columns.difference(columns, sort=False))
    values = np.stack([own.reindex(columns=columns, fill_value=0.0).to_numpy() for own in tables])
    bags, wide = tables[0].index, len(columns)
    table = pd.DataFrame(
        {
            "bag": np.repeat(bags.to_numpy(), wide),
            "group": np.tile(columns.get_level_values(0).to_numpy(), len(bags)),
            "feature": np.tile(columns.get_level_values(1).to_numpy(), len(bags)),
            "contribution": values.mean(axis=0).ravel(),
            "sd": values.std(axis=0).ravel(),
        }
    )
    number = np.repeat(np.arange(len(bags)), wide)
    order = np.lexsort((-table["contribution"].abs().to_numpy(), number))
    return table.iloc[order].reset_index(drop=True)
