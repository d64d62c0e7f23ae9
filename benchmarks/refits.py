"""Claim: refitting a head to many labellings is faster in threads of our own than in a stack.

A permutation test refits a head to permuted labels, a thread a core (`recart.evaluation.refits`):
ten labellings at once where the head shares much between them, else one by one. The other way is
one stack of all labellings, with as many threads as torch takes by itself. Seconds on the clock,
and the ratio.

    python benchmarks/refits.py [--heads mixed cells attention ensemble] [--refits 8]
    python benchmarks/refits.py --heads prototypes --refits 199
"""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

import numpy as np
from heads_speed import simulate, take

from recart.config.build import build
from recart.config.compose import compose
from recart.evaluation.refit import AT_ONCE
from recart.evaluation.refits import Refits
from recart.training.heads import Head

_PATIENTS, _HELD_OUT, _CELLS, _LATENTS = 60, 12, 18_000, 10

Array = np.ndarray[Any, np.dtype[Any]]


def wall_seconds(work: Callable[[], Any]) -> float:
    """Seconds on the clock."""
    start = time.monotonic()
    work()
    return time.monotonic() - start


def main() -> None:
    """One line a head."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    slow = ["mixed", "cells", "attention", "ensemble"]
    parser.add_argument("--heads", nargs="+", default=slow, choices=["prototypes", *slow])
    parser.add_argument("--refits", type=int, default=8)
    options = parser.parse_args()
    bags, labels = simulate(_PATIENTS, _CELLS, _LATENTS)
    development = take(bags, np.arange(_HELD_OUT, _PATIENTS))
    held_out, y = take(bags, np.arange(_HELD_OUT)), labels[_HELD_OUT:]
    rng = np.random.default_rng(1)
    permuted = [rng.permutation(y) for _ in range(options.refits)]
    for name in options.heads:
        head: Head = build(compose([f"head={name}"]).head)
        fitted = head.fit(development, y, 0)  # imports included

        def fit(some: Sequence[Array], head: Head = head, fitted: Any = fitted) -> list[Array]:
            return list(head.relabelled_logits(fitted, development, held_out, some, 0))

        at_once = AT_ONCE if head.quickly_refitted else 1
        stack = wall_seconds(partial(fit, permuted))
        with Refits(len(permuted), "") as refits:
            own = wall_seconds(partial(refits.of, fit, permuted, at_once=at_once))
        sys.stdout.write(
            f"{name}: {len(permuted)} refits {own:.1f} s, {own / len(permuted):.2f} s each; in one "
            f"stack {stack:.1f} s, ratio {stack / own:.2f}\n"
        )
        sys.stdout.flush()


if __name__ == "__main__":
    main()
