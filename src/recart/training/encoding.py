"""Latents of cells under one trained member, patient by patient, in fixed chunks."""

from __future__ import annotations

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np
import torch

from recart.data.batches import gather
from recart.data.features import BoundFeatures
from recart.data.store import CohortStore
from recart.data.streaming import ReadAhead
from recart.models.totalvi import TotalVIStack

__all__ = ["encode"]

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

    Chunks never cross the end of a slice, so a patient's latents do not depend on who else is
    encoded: the same numbers come from the same products of the same shapes. A store on disk is
    read ahead of them; of one in memory `workers` threads encode a chunk each.
    """
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
        means: np.ndarray[Any, np.dtype[np.float32]] = stack.latent(batch).mean_mbl[0].cpu().numpy()
        return means

    if not steps:
        return np.zeros((0, stack.recipe.latent), dtype=np.float32)
    if workers == 1 or len(steps) == 1:
        return np.concatenate([encoded(step) for step in range(len(steps))])
    with ThreadPoolExecutor(workers) as pool:
        return np.concatenate(list(pool.map(encoded, range(len(steps)))))
