"""Simulated bags whose signal lies in the state of one population, for tests of heads."""

from __future__ import annotations

import numpy as np

from recart.training.heads import BagLatents

LATENT = 6


def state_bags(
    n: int, signal: float, seed: int, *, symmetric: bool = False, cells: int = 150
) -> tuple[BagLatents, np.ndarray]:
    """Four populations; responders' cells of the first are moved along the first dimension.

    `symmetric` moves them to either side: then no linear function of means sees it. The rest of a
    patient's cells is moved too, by an amount that has nothing to do with the response.
    """
    rng = np.random.default_rng(seed)
    centres = 3.0 * np.eye(4, LATENT)
    labels = np.arange(n) % 2
    latents = []
    for label in labels:
        kind = rng.choice(4, cells, p=rng.dirichlet(np.full(4, 20.0)))
        z = centres[kind] + rng.normal(0, 0.7, (cells, LATENT))
        z[kind != 0] += rng.normal(0, 0.5, LATENT)
        side = rng.choice([-1.0, 1.0]) if symmetric else 1.0
        z[kind == 0, 0] += side * signal * label
        latents.append(z.astype(np.float32))
    return (
        BagLatents(
            latents=latents, extras=np.zeros((n, 0)), extra_names=[], patients=np.arange(n)
        ),
        labels,
    )
