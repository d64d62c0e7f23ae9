"""Joint training: labels that shape the encoder, and are then kept from the head."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final, final

import numpy as np

from recart.contracts import Member
from recart.data.bags import Bags
from recart.problems import InputError, Problem
from recart.training.endpoints import endpoint_of

__all__ = ["JointTraining", "require_lent"]

_KEPT: Final = 2  # of each class, for the head: what its inner folds need
_STREAM: Final = 104_729


@final
@dataclass(frozen=True, kw_only=True)
class JointTraining:
    """How labels enter the encoder.

    A share `lent` of each class of a member's training patients lend their label to the encoder:
    the log loss of their bags, pooled by `prototypes` soft prototypes with `shrinkage` (in cells)
    and read by a linear readout, is added to the encoder's loss with `weight` (nats a cell), warmed
    up as the KL terms are. It asks the yes or no of the endpoint's binary face.

    An encoder makes the bags whose labels it saw look more alike than new bags of their class will
    be. A head fitted to them would trust its features too much, and inner folds of them would call
    every choice good. So head, inner folds, calibration and threshold have the other patients
    alone: no label serves twice (honest splitting; Athey & Imbens, PNAS 2016, 113). Which are lent
    is drawn anew for each fold and repeat. The epoch is chosen without labels, as in staged
    training.
    """

    weight: float
    lent: float
    prototypes: int
    shrinkage: float

    def __post_init__(self) -> None:
        """Refuse what is no weight, share or number."""
        if not (0 < self.weight < float("inf") and 0 < self.lent < 1 and self.prototypes > 1):
            raise ValueError(
                f"weight={self.weight} must be above 0, lent={self.lent} between 0 and 1, "
                f"prototypes={self.prototypes} 2 or more; training=default trains without labels"
            )
        if not 0 <= self.shrinkage < float("inf"):
            raise ValueError(f"shrinkage={self.shrinkage} is a number of cells, 0 or more")

    def patients(self, member: Member, bags: Bags) -> tuple[int, ...]:
        """Patients (codes) whose labels the encoder of `member` sees, blocks whole.

        None where a class is too small: the head keeps two patients of each.
        """
        rows = bags.of_patients((*member.train, *member.validation))
        rows = rows[bags.table["label"].to_numpy()[rows] >= 0]
        endpoint = endpoint_of(bags)
        face = endpoint.binary(endpoint.targets_of(bags, rows))
        patient = bags.table["patient"].to_numpy()[rows]
        groups = bags.groups[rows]
        rng = np.random.default_rng((member.seed, _STREAM))
        lent: set[int] = set()
        for own, may_lend in _by_class(face, groups, np.isin(patient, member.train)):
            count = min(round(self.lent * len(may_lend)), own - _KEPT)
            if count < 1:
                return ()
            lent |= set(map(int, rng.permutation(may_lend)[:count]))
        return tuple(sorted(set(map(int, patient[np.isin(groups, list(lent))]))))

    def require_alone(self, devices: int | str) -> None:
        """Refuse several devices.

        Raises
        ------
        InputError
            A device would see a part of each bag, or of the members.
        """
        if devices not in (1, "auto"):
            problem = Problem(
                code="E-CONFIG-015",
                column="trainer.devices",
                what=f"joint training takes one device, not {devices}",
                mend="set trainer.devices=1, or training=default",
            )
            raise InputError([problem])


def _by_class(
    face: np.ndarray[Any, Any], groups: np.ndarray[Any, Any], in_train: np.ndarray[Any, Any]
) -> list[tuple[int, np.ndarray[Any, Any]]]:
    """Of each class the number of groups, and those of training patients, which may lend.

    A group with bags of both is of the class that most are of.
    """
    known = face >= 0
    owners, owner = np.unique(groups[known], return_inverse=True)
    bags = np.bincount(owner)
    of_class = np.bincount(owner, face[known]) / bags >= 0.5
    trained = np.bincount(owner, in_train[known]) == bags
    return [
        (int((of_class == value).sum()), owners[(of_class == value) & trained])
        for value in (False, True)
    ]


def require_lent(joint: JointTraining, members: Sequence[Member], bags: Bags) -> None:
    """Refuse a split in which a member has nobody to lend a label.

    Raises
    ------
    InputError
        Naming the members.
    """
    without = [member.name for member in members if not joint.patients(member, bags)]
    if without:
        problem = Problem(
            code="E-SPLIT-007",
            column="training.joint",
            count=len(without),
            examples=tuple(without),
            what=f"{len(without)} members have too few development patients of a class: the head "
            f"keeps {_KEPT} of each, and the encoder needs one",
            mend="use training=default, fewer folds (data.folds.k), or more patients",
        )
        raise InputError([problem])
