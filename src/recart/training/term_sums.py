"""Terms of the objective summed over the cells of an epoch, every member by itself."""

from __future__ import annotations

import torch
from torch import Tensor

__all__ = ["add_sums", "means_of", "sums_of"]


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
