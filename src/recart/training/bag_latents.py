"""Bags as a head sees them: latents under one member, and clone statistics of each patient."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd

from recart.data.bags import Bags
from recart.data.features import BoundFeatures
from recart.data.store import CohortStore
from recart.models.totalvi import TotalVIStack
from recart.training.encoding import encode
from recart.training.heads import BagLatents

__all__ = ["bag_latents"]


def bag_latents(
    stack: TotalVIStack,
    bound: BoundFeatures,
    store: CohortStore,
    bags: Bags,
    rows: Sequence[int] | np.ndarray[Any, Any],
    extras: pd.DataFrame,
) -> BagLatents:
    """Encode the bags `rows` under one member; `extras` (n, f) is aligned with all of `bags`."""
    chosen = [int(n) for n in rows]
    return BagLatents(
        latents=[encode(stack, bound, store, bags.slices[n]) for n in chosen],
        extras=extras.iloc[chosen].to_numpy(dtype=np.float64),
        extra_names=[str(name) for name in extras.columns],
        patients=bags.groups[chosen],
    )
