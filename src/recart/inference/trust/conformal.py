"""Prediction sets: the classes that a new patient could well belong to, by conformal prediction.

Class-conditional (Mondrian; Vovk, Gammerman & Shafer 2005) by CV+ (Barber et al., Annals of
Statistics 2021): each training patient is compared with the new one under the members that did not
see the training patient, so no patient is set aside, and nothing is fitted.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
import pandas as pd
import torch

from recart.training.endpoints.survival import EVENT, NONE

__all__ = ["LEVELS", "UNDECIDED", "ConformalSets", "set_words", "told_set"]

LEVELS: Final = (0.8, 0.9)

Array = np.ndarray[Any, np.dtype[Any]]

_DECIMALS = 9  # of logits: below, patients are as likely as each other
_TIE = 1e-12  # of p-values that are equal but for rounding


UNDECIDED: Final = {0: "like neither", 2: "cannot say"}
"""What a set of so many classes comes to; one of a single class says it."""


def told_set(classes: Sequence[str]) -> str:
    """A set as it is written: `{R}`, `{R, NR}: cannot say` or `{}: like neither`."""
    said = f": {UNDECIDED[len(classes)]}" if len(classes) in UNDECIDED else ""
    return f"{{{', '.join(classes)}}}{said}"


def set_words(classes: tuple[str, str]) -> tuple[str, str]:
    """What sets call the two classes: `R` and `NR`; of survival `event` and `none`."""
    survival = [own.split(" ")[0] for own in classes] == [EVENT, NONE]
    return (EVENT, NONE) if survival else ("R", "NR")


@dataclass(frozen=True, kw_only=True)
class ConformalSets:
    """Held-out scores of the training bags, in their order, against which new ones are ranked.

    Attributes
    ----------
    members
        (m) names of the members.
    unseen
        (n, m) weights that sum to 1 over the members that held bag `n` out, 0 for the others.
    logits
        (n) mean held-out logit of each bag.
    labels
        (n) 1 or 0.
    weight
        (n) a bag's share of its patient: patients are counted, not bags.
    """

    members: tuple[str, ...]
    unseen: Array
    logits: Array
    labels: Array
    weight: Array

    @classmethod
    def fit(cls, predictions: pd.DataFrame) -> ConformalSets:
        """From a run's held-out predictions: `bag`, `patient`, `member`, `y` and `logit`.

        Rows whose answer is not known (`y` below 0) are left out. Repeats, pairs and several seeds
        of a fold need no treatment of their own: they are more members that did not see a bag.
        """
        known = predictions[predictions["y"] >= 0]
        members = list(dict.fromkeys(known["member"]))
        table = known.pivot_table("logit", "bag", "member", sort=False)[members]
        own = known.groupby("bag", sort=False)[["patient", "y"]].first().loc[table.index]
        held_out = table.notna().to_numpy()
        unseen = held_out / held_out.sum(axis=1, keepdims=True)
        bags_of_patient = own.groupby(["patient", "y"])["y"].transform("size")
        logits = (table.fillna(0.0).to_numpy() * unseen).sum(axis=1)
        labels = own["y"].to_numpy(dtype=np.int64)
        # the order of bags is that of patients' ids, which would tell whose label is whose
        order = np.lexsort((labels, logits))
        return cls(
            members=tuple(map(str, members)),
            unseen=unseen[order],
            logits=logits[order],
            labels=labels[order],
            weight=1 / bags_of_patient.to_numpy(dtype=np.float64)[order],
        )

    def patients(self, label: int) -> int:
        """Training patients of a class."""
        return round(float(self.weight[self.labels == label].sum()))

    def p_values(self, logits_mn: Array) -> Array:
        """(2, n) how well each new bag fits among the patients of class 0 and of class 1.

        A class may be left out of a set at level `1 - a` where its p-value is at most `a`.

        Parameters
        ----------
        logits_mn
            The new bags' logits by the heads of `members`, in their order.
        """
        new = np.stack([(self.unseen * logits_m).sum(axis=1) for logits_m in logits_mn.T], axis=1)
        ahead = np.round(self.logits[:, None] - new, _DECIMALS)
        found = []
        for label, as_strange in ((0, ahead >= 0), (1, ahead <= 0)):
            of_class = np.where(self.labels == label, self.weight, 0.0)
            found.append((1 + of_class @ as_strange) / (1 + self.patients(label)))
        return np.stack(found)

    def holds(self, logits_mn: Array | Sequence[Array], level: float) -> Array:
        """(2, n) bool: whether the set at a level such as 0.9 holds class 0, class 1."""
        held: Array = self.p_values(np.asarray(logits_mn)) > 1 - level + _TIE
        return held

    def sets(
        self, logits_mn: Array | Sequence[Array], level: float, words: tuple[str, str]
    ) -> list[str]:
        """The set of each new bag at a level, by the `words` of class 1 and class 0."""
        no, yes = self.holds(logits_mn, level)
        return [_told(bool(a), bool(b), words) for a, b in zip(yes, no, strict=True)]

    def too_few(self, level: float, words: tuple[str, str]) -> list[str]:
        """Classes with too few training patients to be left out of any set at a level."""
        names = {1: words[0], 0: words[1]}
        return [
            name
            for label, name in names.items()
            if 1 / (1 + self.patients(label)) > 1 - level + _TIE
        ]

    def plain(self) -> dict[str, Any]:
        """Plain Python and tensors. No ids: rows can't be told whose they are."""
        return {
            "members": list(self.members),
            **{
                name: torch.from_numpy(np.ascontiguousarray(getattr(self, name)))
                for name in ("unseen", "logits", "labels", "weight")
            },
        }

    @classmethod
    def from_plain(cls, plain: dict[str, Any]) -> ConformalSets:
        """What `plain` was made of."""
        arrays = {name: own.numpy() for name, own in plain.items() if name != "members"}
        return cls(members=tuple(plain["members"]), **arrays)


def _told(yes: bool, no: bool, words: tuple[str, str]) -> str:
    return told_set([word for word, inside in zip(words, (yes, no), strict=True) if inside])
