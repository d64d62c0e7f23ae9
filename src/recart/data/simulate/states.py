"""The state of each cell beyond its population: what the mechanisms within cell types act on."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Final

import numpy as np
import pandas as pd

from recart.data.simulate.latents import CD39_SD, CHANGE_SD, EFFECTOR_SD, PatientLatents
from recart.data.simulate.populations import members_of
from recart.data.simulate.streams import stream

__all__ = ["CARRIERS", "CellStates", "draw_states"]

Floats = np.ndarray[Any, np.dtype[np.float64]]
Codes = np.ndarray[Any, np.dtype[np.int32]]
Mask = np.ndarray[Any, np.dtype[np.bool_]]

# Populations (or groups of them) that carry each mechanism; composition is everywhere.
CARRIERS: Final = {
    "rna_state": "CD8 TEM, NK",
    "protein_only": "CD16 Mono",
    "pre_to_post": "CD14 Mono",
    "interaction": "CD8 TEM, NK",
    "clonal_expansion": "car",
    "rare_population": "rare",
}

# Spread between cells of one patient, log scale: healthy donors' cells have 0.3 to 1.0 in protein.
_CELL_SD: Final = 0.3
# Interferon programme before infusion: spread between patients; and its mean rise after (assumed).
_INTERFERON_SD: Final = 0.25
_INTERFERON_RISE: Final = 0.3


@dataclass(frozen=True)
class CellStates:
    """States of all cells, (cells,) each, 0 or False outside the carrying populations.

    Attributes
    ----------
    effector, interferon
        Log factor on the genes of the effector and the interferon programme.
    adaptive, cd57
        Whether the adaptive-NK-like RNA programme, and CD57 protein, is on.
    cd39
        Log factor on CD39 protein.
    """

    effector: Floats
    interferon: Floats
    adaptive: Mask
    cd57: Mask
    cd39: Floats


def draw_states(
    samples: pd.DataFrame, sample: Codes, population: Codes, latents: PatientLatents, seed: int
) -> CellStates:
    """Draw cell states from the latents of the cells' patients."""
    inside = {m: np.isin(population, members_of(who)) for m, who in CARRIERS.items()}
    # Latents by sample, then by cell.
    own = latents.values.loc[samples["patient"]].reset_index(drop=True)
    of_cell = {name: own[name].to_numpy()[sample] for name in own}
    n = sample.size
    after = (samples["timepoint"] == "post").to_numpy()[sample]
    patient = pd.factorize(samples["patient"])[0]

    noise = stream(seed, "state noise").standard_normal((2, n)) * _CELL_SD
    base = stream(seed, "interferon").standard_normal(int(patient.max()) + 1) * _INTERFERON_SD
    change = _INTERFERON_RISE + CHANGE_SD * of_cell["pre_to_post"]
    interferon = base[patient[sample]] + after * change + noise[1]

    coin = stream(seed, "interaction").random((2, n))
    adaptive = coin[0] < 0.5
    together = coin[1] < 1 / (1 + np.exp(-of_cell["interaction"]))
    return CellStates(
        effector=inside["rna_state"] * (EFFECTOR_SD * of_cell["rna_state"] + noise[0]),
        interferon=inside["pre_to_post"] * interferon,
        adaptive=inside["interaction"] & adaptive,
        cd57=inside["interaction"] & (adaptive == together),
        cd39=inside["protein_only"] * (CD39_SD * of_cell["protein_only"]),
    )
