"""Independent random streams by purpose: what one effect changes leaves the rest as it was."""

from __future__ import annotations

from zlib import crc32

import numpy as np

__all__ = ["stream"]


def stream(seed: int, purpose: str, *index: int) -> np.random.Generator:
    """Make a generator of its own for a purpose (`"rna"`) and an index (the sample).

    Cohorts of one seed then differ only in what their settings change: the noise is common to them.
    """
    return np.random.default_rng([seed, crc32(purpose.encode()), *index])
