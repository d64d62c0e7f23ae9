"""UMAP leaves torch the threads that it had: numba gives every core to whatever comes after it."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import torch

__all__ = ["kept_threads"]


@contextmanager
def kept_threads() -> Iterator[None]:
    """Afterwards torch has as many threads as before.

    The first parallel function of numba sets the number of OpenMP for the whole process, which is
    torch's too. Where `OMP_NUM_THREADS=1` was asked for and cores are shared, small products then
    took some thirty times as long.
    """
    before = torch.get_num_threads()
    try:
        yield
    finally:
        torch.set_num_threads(before)
