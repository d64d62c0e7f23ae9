"""One thread for each computation, where threads of our own share the cores."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import torch

__all__ = ["one_thread_each", "one_thread_of_torch"]


@contextmanager
def one_thread_of_torch() -> Iterator[None]:
    """Torch computes in one thread inside: faster for many, and the same numbers always."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(before)


@contextmanager
def one_thread_each() -> Iterator[None]:
    """Torch does, and so do the libraries of linear algebra beside it."""
    from threadpoolctl import threadpool_limits

    with one_thread_of_torch(), threadpool_limits(1):
        yield
