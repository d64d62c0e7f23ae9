"""The bag term of a stack in training: which cells of a minibatch are of which lent bag."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, final

import numpy as np
import torch
from torch import Tensor, nn

from recart.data.bags import Bags
from recart.models.bag_terms import BagTerms
from recart.training.endpoints import endpoint_of
from recart.training.joint_training import JointTraining

__all__ = ["JointTerm"]

Array = np.ndarray[Any, Any]


@final
class JointTerm(nn.Module):
    """The bag terms of a stack's members, weighted.

    Parameters
    ----------
    recipe
        How labels enter.
    bags
        Bags of the cohort, of which each member sees the labels of those of its `lent` patients.
    lent, seeds
        Patients (codes) and seed of each member.
    latent
        Latent dimensions.
    most
        Bags of a minibatch, at most.
    """

    def __init__(
        self,
        recipe: JointTraining,
        bags: Bags,
        lent: Sequence[Sequence[int]],
        seeds: Sequence[int],
        latent: int,
        most: int,
    ) -> None:
        super().__init__()
        self.weight = recipe.weight
        self.most = most
        self.terms = BagTerms(seeds, recipe.prototypes, latent, recipe.shrinkage)
        self._bag_of_cell = _bag_of_cell(bags)
        self._label_mn = [_labels(bags, own) for own in lent]

    def keep(self, members: Sequence[int]) -> None:
        """Go on with these members alone."""
        self.terms.keep(members)
        self._label_mn = [self._label_mn[m] for m in members]

    def forward(self, z_mbl: Tensor, rows: Sequence[Array]) -> Tensor:
        """(m) weighted loss of a minibatch; `rows` are the cells of each member in it, in order."""
        members, width, _ = z_mbl.shape
        bag_mnb = np.zeros((members, self.most, width), dtype=np.float32)
        label_mn = np.full((members, self.most), -1)
        for m, cells in enumerate(rows):
            bag = self._bag_of_cell[cells]
            lent = np.flatnonzero(self._label_mn[m][bag] >= 0)  # bag -1 reads the last row: none
            own, place = np.unique(bag[lent], return_inverse=True)
            bag_mnb[m, place, lent] = 1.0
            label_mn[m, : len(own)] = self._label_mn[m][own]
        of_bag, known = (torch.from_numpy(own).to(z_mbl.device) for own in (bag_mnb, label_mn))
        loss_m: Tensor = self.weight * self.terms(z_mbl, of_bag.to(z_mbl.dtype), known)
        return loss_m


def _bag_of_cell(bags: Bags) -> Array:
    """(c) bag of each cell, -1 for cells of none."""
    stop = max(part.stop for own in bags.slices for part in own)
    bag_of_cell = np.full(stop, -1, dtype=np.int32)
    for n, own in enumerate(bags.slices):
        for part in own:
            bag_of_cell[part] = n
    return bag_of_cell


def _labels(bags: Bags, lent: Sequence[int]) -> Array:
    """(n + 1) label of the bags of these patients, -1 for all others and at the end."""
    endpoint = endpoint_of(bags)
    labels = np.full(len(bags) + 1, -1)
    rows = bags.of_patients(lent)
    rows = rows[bags.table["label"].to_numpy()[rows] >= 0]
    labels[rows] = endpoint.binary(endpoint.targets_of(bags, rows))
    return labels
