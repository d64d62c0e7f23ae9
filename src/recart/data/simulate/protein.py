"""Surface protein counts: unspecific background of each cell plus what the population carries."""

from __future__ import annotations

from typing import Any, Final

import numpy as np
import pandas as pd

from recart.data.simulate.panel import PANEL, panel_levels
from recart.data.simulate.populations import POPULATIONS
from recart.data.simulate.states import CellStates
from recart.data.simulate.streams import stream

__all__ = ["draw_protein"]

Floats = np.ndarray[Any, np.dtype[np.float64]]
Codes = np.ndarray[Any, np.dtype[np.int32]]

# Log spreads. Patients .05 to .15 and cells .3 to 1.0 within a donor, batches 0 to .37: log counts
# of 20 healthy donors (Kotliarov et al., Nature Medicine 2020). Background of a cell is common to
# its antibodies (assumed .45): droplets differ in the free antibody that they take up.
_PATIENT_SD, _CELL_SD, _BATCH_SD = 0.10, 0.45, 0.15
_BACKGROUND_CELL_SD, _BACKGROUND_SD = 0.45, 0.25
# Capture of all tags together: by batch, and by cell so that counts per cell spread as in 10x PBMC.
_BATCH_CAPTURE_SD, _CELL_CAPTURE_SD = 0.25, 0.4
# CD57 of cells that carry it in the interaction, ratio to background (assumed).
_CD57_RATIO: Final = 25.0


def draw_protein(
    samples: pd.DataFrame,
    sample: Codes,
    population: Codes,
    states: CellStates,
    seed: int,
) -> np.ndarray[Any, np.dtype[np.float32]]:
    """(cells, antibodies) raw counts; each antibody has a random stream of its own."""
    batch, patient = (pd.factorize(samples[c], sort=True)[0] for c in ("batch", "patient"))
    batches, patients = int(batch.max()) + 1, int(patient.max()) + 1
    rng = stream(seed, "protein libraries")
    capture = rng.normal(0, _BATCH_CAPTURE_SD, batches)[batch][sample]
    free = rng.normal(0, _BACKGROUND_SD, len(samples))[sample]
    rng = stream(seed, "protein of cells")
    capture = np.exp(capture + rng.normal(0, _CELL_CAPTURE_SD, sample.size))
    free = np.exp(free + rng.normal(0, _BACKGROUND_CELL_SD, sample.size))
    # Large cells carry more of every protein.
    content = np.array([p.rna_content for p in POPULATIONS])[population] ** 0.25

    level_ka = panel_levels()
    counts = np.empty((sample.size, len(PANEL)), dtype=np.float32)
    for a, antibody in enumerate(PANEL):
        rng = stream(seed, "protein", a)
        of_batch = rng.normal(0, _BATCH_SD, batches)[batch][sample]
        of_patient = rng.normal(0, _PATIENT_SD, patients)[patient][sample]
        of_cell = rng.normal(0, _CELL_SD, sample.size)
        carried = level_ka[population, a]
        if antibody.name == "CD39":
            carried = carried * np.exp(states.cd39)
        elif antibody.name == "CD57":
            carried = carried + states.cd57 * _CD57_RATIO * antibody.background
        specific = carried * content * np.exp(of_batch + of_patient + of_cell)
        # Its own generator: a changed mean changes the number of draws that a count takes.
        mean = capture * (antibody.background * free + specific)
        counts[:, a] = stream(seed, "protein counts", a).poisson(mean)
    return counts
