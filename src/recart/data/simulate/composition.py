"""From log abundances to the population of each cell."""

from __future__ import annotations

from typing import Any, Final

import numpy as np
import pandas as pd

from recart.data.simulate.latents import RARE_SD, PatientLatents
from recart.data.simulate.populations import POPULATIONS, RARE
from recart.data.simulate.streams import stream

__all__ = ["draw_populations", "fractions_of"]

Floats = np.ndarray[Any, np.dtype[np.float64]]
Codes = np.ndarray[Any, np.dtype[np.int32]]

# Red cells and platelets that stay in a sample depend on its handling (log scale, assumed): the
# study saw 0.03 % to 6 % of erythroid cells before infusion.
_HANDLING_SD: Final = 0.8
# Log spread of the number of cells between samples: less than the study's (1,559 to 11,085, median
# 8,018), so that small cohorts keep their samples above the usual 100 cells.
_CELLS_SD: Final = 0.2


def fractions_of(samples: pd.DataFrame, latents: PatientLatents, seed: int) -> Floats:
    """Draw the true fractions of cells, logistic-normal.

    Returns
    -------
    (samples, populations) fractions; they sum to 1 over the populations.
    """
    names = [p.name for p in POPULATIONS]
    context = samples["context"].to_numpy()
    centre_sk = np.array([p.fractions for p in POPULATIONS]).T[context]
    log_sk = latents.abundance * np.array([p.log_sd for p in POPULATIONS])

    # The abundances of CAR T and of the rare population are mechanisms of their own.
    own = latents.values.loc[samples["patient"]]
    car = POPULATIONS[names.index("CAR T")]
    log_sk[:, names.index("CAR T")] = own["clonal_expansion"].to_numpy() * car.log_sd
    log_sk[:, names.index(RARE)] = own["rare_population"].to_numpy() * RARE_SD

    rng = stream(seed, "handling")
    sites = np.unique(samples["site"])
    of_site = rng.normal(0, _HANDLING_SD, sites.size)[np.searchsorted(sites, samples["site"])]
    handling = of_site + rng.normal(0, _HANDLING_SD, len(samples))
    blood = np.where(samples["tissue"] == "PB", handling, 0.0)
    log_sk[:, names.index("Erythroid")] += blood
    log_sk[:, names.index("Platelet")] += 0.5 * blood

    weight_sk = centre_sk * np.exp(log_sk)
    return np.asarray(weight_sk / weight_sk.sum(axis=1, keepdims=True))


def draw_populations(fractions: Floats, cells_per_sample: int, seed: int) -> tuple[Codes, Codes]:
    """Draw the cells: (cells,) sample number and population number of each."""
    rng = stream(seed, "cells of samples")
    spread = rng.normal(-(_CELLS_SD**2) / 2, _CELLS_SD, len(fractions))
    n_cells = np.maximum(np.round(cells_per_sample * np.exp(spread)), 1).astype(np.int64)
    sample = np.repeat(np.arange(len(fractions), dtype=np.int32), n_cells)
    population = np.concatenate(
        [
            np.searchsorted(np.cumsum(row)[:-1], stream(seed, "population", s).random(n), "right")
            for s, (row, n) in enumerate(zip(fractions, n_cells, strict=True))
        ]
    )
    return sample, population.astype(np.int32)
