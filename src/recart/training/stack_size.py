"""How many members a job has: one on a CPU, on a GPU as many as its memory holds."""

from __future__ import annotations

from typing import Final

import torch

from recart.data.store import CohortStore
from recart.models.totalvi import Sizes
from recart.training.jobs import Recipes

__all__ = ["member_bytes", "members_that_fit", "on_gpu", "step_bytes", "weight_bytes"]

_FLOAT: Final = 4  # bytes
_COPIES: Final = 4  # parameter, gradient and Adam's two moments
_SHARE: Final = 0.8  # of the free memory; the rest is left to libraries and fragments
# Arrays of a minibatch that are alive together at most, forward and backward.
_OVER_GENES: Final = 8
_OVER_PROTEINS: Final = 24
_OVER_HIDDEN: Final = 16


def on_gpu(accelerator: str) -> bool:
    """Whether Lightning's accelerator of this name is an NVIDIA GPU here."""
    return accelerator in ("gpu", "cuda") or (accelerator == "auto" and torch.cuda.is_available())


def weight_bytes(parameters: int) -> int:
    """Memory of a member while it trains, without the step: four copies of its parameters."""
    return _COPIES * _FLOAT * parameters


def step_bytes(cells: int, genes: int, proteins: int, hidden: int) -> int:
    """Memory of a member's arrays in one step over `cells` cells, estimated from above."""
    per_cell = _OVER_GENES * genes + _OVER_PROTEINS * proteins + _OVER_HIDDEN * hidden
    return _FLOAT * cells * per_cell


def members_that_fit(free: int, per_member: int, members: int) -> int:
    """Members of each stack: as few stacks as memory allows, of equal size.

    Parameters
    ----------
    free, per_member
        Bytes that are free, and that one member takes.
    members
        All members.
    """
    most = max(1, min(members, int(_SHARE * free) // per_member))
    stacks = -(-members // most)
    return -(-members // stacks)


def member_bytes(recipes: Recipes, store: CohortStore) -> int:
    """Memory of one member of these recipes on this store while it trains."""
    batches = int(store.samples["batch"].nunique()) if "batch" in store.samples else 1
    sizes = Sizes(
        genes=min(recipes.features.n_genes, len(store.genes)),
        proteins=len(store.proteins),
        receptor=store.receptor_dim,
        batches=(batches,),
    )
    stack = recipes.model.stack(sizes, [0])
    parameters = sum(parameter.numel() for parameter in stack.parameters())
    cells = recipes.training.batch_size
    step = step_bytes(cells, sizes.genes, sizes.proteins, recipes.model.hidden)
    return weight_bytes(parameters) + step
