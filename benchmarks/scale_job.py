"""A job of `scale.py`: reads a training's minibatches, and waits where it would train."""

from __future__ import annotations

import resource
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

__all__ = ["Reading"]


@dataclass(frozen=True)
class Reading:
    """Minibatches of one member on a store that is read from disk.

    `step` seconds stand for the training step, `steps` are how many are taken, `seed` is the
    member's, `features` its, chosen beforehand.
    """

    path: Path
    features: Any
    step: float
    steps: int
    seed: int
    batch: int
    block: int

    def __call__(self, report: Any) -> dict[str, float]:  # noqa: ARG002
        """What it took: seconds of opening, of waiting for cells, and megabytes."""
        import pandas as pd
        from torch.utils.data import DataLoader

        from recart.data.bags import Admission, make_bags
        from recart.data.batches import Blocks, StackBatches
        from recart.data.features import bind
        from recart.data.store import open_store

        before, start = _resident(), time.perf_counter()
        store = open_store(self.path, in_memory=False)
        opened, memory = time.perf_counter() - start, _resident() - before
        bags = make_bags(
            store,
            pd.Series(float("nan"), store.patients.index),
            unit="patient",
            admission=Admission(),
        )
        slices = [own for of_bag in bags.slices for own in of_bag]
        blocks = Blocks(slices, self.block, self.batch, self.seed)
        data = StackBatches(store, [bind(self.features, store)], [blocks], True)
        waited, begun, start_cpu = 0.0, time.perf_counter(), time.process_time()
        steps = iter(DataLoader(data, batch_size=None))
        taken = 0
        for _ in range(self.steps):
            start = time.perf_counter()
            if next(steps, None) is None:
                break
            waited += time.perf_counter() - start
            time.sleep(self.step)  # the training step, by its measured time
            taken += 1
        return {
            "open s": opened,
            "open MB": memory,
            "cells": taken * self.batch,
            "waited s": waited,
            "wall s": time.perf_counter() - begun,
            "cpu s": time.process_time() - start_cpu,
            "MB": _resident(),
        }


def _resident() -> float:
    """Resident set of this process now, in MB."""
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * resource.getpagesize() / 2**20
