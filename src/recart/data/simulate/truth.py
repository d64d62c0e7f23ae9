"""What a simulated cohort hides: carriers, markers, clones and the best possible prediction."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any, Final

import numpy as np
import pandas as pd

from recart.data.simulate.clones import CellClones
from recart.data.simulate.effects import MECHANISMS, Effects
from recart.data.simulate.latents import PatientLatents
from recart.data.simulate.markers import PROGRAMMES
from recart.data.simulate.populations import CONTEXTS, POPULATIONS, SHIFTS, members_of
from recart.data.simulate.states import CARRIERS

__all__ = ["Truth", "tell_truth"]


@dataclass(frozen=True)
class Truth:
    """The truth of a simulated cohort.

    Attributes
    ----------
    cells
        Index as the cohort's cells. One bool column per mechanism: the cells that carry it, all
        False where it is off. Further columns: `population` (finer than the annotated cell type)
        and `clone` (index of `clones`, -1 without).
    markers
        Genes and proteins that each switched-on mechanism moves; empty where it moves numbers of
        cells only.
    clones
        Index: clone. Columns `patient`, `locus` (`TR` or `IG`), `invariant`, `n_cells`, `n_car`.
    patients
        Index as the cohort's patients. One column per mechanism: log likelihood ratio of CR given
        the patient's latent numbers in all samples (0 where it is off); `oracle` is their sum, and
        `oracle_before` that of what can be seen before infusion. No prediction from the cells can
        be expected to rank patients better. Product is left out. Where outcomes are levels or times
        there is `propensity`, what they follow; `oracle` rises with what is expected of it.
    """

    cells: pd.DataFrame
    markers: dict[str, tuple[str, ...]]
    clones: pd.DataFrame
    patients: pd.DataFrame


_MARKERS: Final[dict[str, tuple[str, ...]]] = {
    "composition": (),
    "rna_state": tuple(PROGRAMMES["effector"].split()),
    "protein_only": ("CD39",),
    "clonal_expansion": (),
    "rare_population": tuple(PROGRAMMES["rare"].split()),
    "pre_to_post": tuple(PROGRAMMES["interferon"].split()),
    "interaction": (*PROGRAMMES["adaptive"].split(), "CD57"),
}


def tell_truth(
    cells: pd.Index[str],
    context: np.ndarray[Any, np.dtype[np.int64]],
    population: np.ndarray[Any, np.dtype[np.int32]],
    clones: CellClones,
    latents: PatientLatents,
    effects: Effects,
) -> Truth:
    """Put the truth together; `context` is the number of each cell's context."""
    shifted = np.zeros((len(CONTEXTS), len(POPULATIONS)), dtype=np.bool_)
    for where, name in SHIFTS:
        shifted[CONTEXTS.index(where), members_of(name)] = True
    carriers = {name: np.isin(population, members_of(who)) for name, who in CARRIERS.items()}
    carriers["composition"] = shifted[context, population]
    carriers["pre_to_post"] &= context > 0

    patients = latents.scores.assign(
        oracle=latents.scores.sum(axis=1), oracle_before=latents.before
    )
    on = {name: value != 0 for name, value in asdict(effects).items()}
    table = pd.DataFrame({m: carriers[m] & on[m] for m in MECHANISMS}, index=cells)
    table["population"] = np.array([p.name for p in POPULATIONS], dtype=object)[population]
    table["clone"] = clones.of_cell
    owner = patients.index.to_numpy()[clones.table["patient"].to_numpy()]
    return Truth(
        cells=table,
        markers={m: _MARKERS[m] for m in MECHANISMS if on[m]},
        clones=clones.table.assign(patient=owner),
        patients=patients,
    )
