"""Terms of the objective summed over the cells of an epoch, every member by itself."""

from __future__ import annotations

from typing import Any, NamedTuple

import torch
from torch import Tensor

from recart.training.collapse import active_dimensions

__all__ = ["EpochTerms", "add_sums", "means_of", "sums_of"]


def sums_of(terms: dict[str, Tensor], weight_mb: Tensor) -> dict[str, Tensor]:
    """(m b) terms summed over cells, (m b l) ones over cells for each dimension."""
    sums = {}
    for name, value in {**terms, "cells": torch.ones_like(weight_mb)}.items():
        weight = weight_mb.unsqueeze(-1) if value.ndim == 3 else weight_mb
        sums[name] = (value.detach() * weight).sum(1)
    return sums


def add_sums(total: dict[str, Tensor], sums: dict[str, Tensor]) -> None:
    """Add to what there is, in place; the first time a copy, as `sums` may be written again."""
    if total:
        torch._foreach_add_([total[name] for name in sums], list(sums.values()))
    else:
        total.update({name: value.clone() for name, value in sums.items()})


def means_of(sums: dict[str, Tensor]) -> dict[str, Tensor]:
    """Sums over cells to means over cells, on the CPU."""
    cells = sums["cells"].clamp_min(1.0)
    return {
        name: (value / cells.view(-1, *(1,) * (value.ndim - 1))).cpu()
        for name, value in sums.items()
        if name != "cells"
    }


class EpochTerms(NamedTuple):
    """Means over the cells of an epoch, of which `row` is the member's."""

    row: int
    train: dict[str, Tensor]
    validation: dict[str, Tensor]
    kl_ml: Tensor
    kl_weight: float

    def told(self, loss_train: float, loss_validation: float) -> dict[str, Any]:
        """The member's, under the names that its history has them by."""
        # the bound itself, where a member's own KL weight makes the objective another
        more_train, more = (
            (1 - self.kl_weight) * float(means["kl_z"][self.row])
            for means in (self.train, self.validation)
        )
        kl_per_dimension = self.kl_ml[self.row].tolist()
        return {
            "loss_validation": loss_validation,
            "elbo_train": -loss_train - more_train,
            "elbo_validation": -loss_validation - more,
            **{f"train_{name}": float(own[self.row]) for name, own in self.train.items()},
            **{f"validation_{name}": float(own[self.row]) for name, own in self.validation.items()},
            "kl_per_dimension": kl_per_dimension,
            "active_dimensions": active_dimensions(kl_per_dimension),
        }
