"""Latents of cells under one trained member, patient by patient, in fixed chunks."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np
import torch
from torch import Tensor

from recart.contracts import CellBatch
from recart.data.batches import gather
from recart.data.features import BoundFeatures
from recart.data.store import CohortStore
from recart.data.streaming import ReadAhead
from recart.models.filled_genes import with_missing_genes
from recart.models.totalvi import TotalVIStack

__all__ = ["encode", "encode_by_batch"]

_CHUNK = 1024
_AHEAD = 4  # chunks


def encode(
    stack: TotalVIStack,
    bound: BoundFeatures,
    store: CohortStore,
    slices: Sequence[slice],
    workers: int = 1,
) -> np.ndarray[Any, np.dtype[np.float32]]:
    """Posterior means (c, l) of the cells of `slices`, in order.

    Genes that the store lacks are filled in as the member expects them. Chunks never cross the end
    of a slice, so a patient's latents do not depend on who else is encoded: the same numbers come
    from the same products of the same shapes. A store on disk is read ahead of them; of one in
    memory `workers` threads encode a chunk each.
    """
    found: np.ndarray[Any, np.dtype[np.float32]] = _encoded(
        lambda batch: stack.latent(batch).mean_mbl, stack, bound, store, slices, workers
    )[0]
    return found


def encode_by_batch(
    stack: TotalVIStack,
    bound: BoundFeatures,
    store: CohortStore,
    slices: Sequence[slice],
    workers: int = 1,
) -> np.ndarray[Any, np.dtype[np.float32]]:
    """(1 + e, c, l): what `encode` gives, and as if each batch of the member were the unknown ones.

    All from one reading of the cells, and one pass of the first layer. Genes that the store lacks
    are filled in once, as at the mean over batches.
    """
    return _encoded(
        lambda batch: stack.latents_by_batch(batch)[:, 0], stack, bound, store, slices, workers
    )


def _encoded(
    look: Callable[[CellBatch], Tensor],
    stack: TotalVIStack,
    bound: BoundFeatures,
    store: CohortStore,
    slices: Sequence[slice],
    workers: int,
) -> np.ndarray[Any, np.dtype[np.float32]]:
    """(k, c, l) of what is seen (k, b, l) of each minibatch."""
    stack.eval()
    device = stack.log_protein_theta.device
    steps = [
        np.arange(start, min(start + _CHUNK, own.stop))
        for own in slices
        for start in range(own.start, own.stop, _CHUNK)
    ]
    reader = None if store.path is None else ReadAhead(store, _CHUNK, _AHEAD)
    if reader is not None:
        store, workers = reader.store, 1
        reader.plan([steps])

    @torch.no_grad()  # of the thread that it runs in
    def encoded(step: int) -> np.ndarray[Any, np.dtype[np.float32]]:
        if reader is not None:
            reader.advance(step)
        rows = steps[step]
        batch = gather(store, [bound], [rows], width=len(rows)).to(device)
        batch = with_missing_genes(stack, batch)
        seen: np.ndarray[Any, np.dtype[np.float32]] = look(batch).cpu().numpy()
        return seen

    if not steps:
        return np.zeros((1 + stack.batch_prior_me.shape[1], 0, stack.recipe.latent), np.float32)
    if workers == 1 or len(steps) == 1:
        return np.concatenate([encoded(step) for step in range(len(steps))], axis=1)
    with ThreadPoolExecutor(workers) as pool:
        return np.concatenate(list(pool.map(encoded, range(len(steps)))), axis=1)
