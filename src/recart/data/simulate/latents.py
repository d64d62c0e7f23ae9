"""What differs between patients, and how far the response moves it.

Each mechanism is one standard normal number per patient (composition: one per shifted population
and sample), moved by half the effect up with CR and half down without. Given these numbers the
response is known as well as it can be, and Bayes' rule gives the oracle.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any, Final

import numpy as np
import pandas as pd

from recart.data.simulate.effects import MECHANISMS, Effects
from recart.data.simulate.populations import CONTEXTS, POPULATIONS, SHIFTS
from recart.data.simulate.streams import stream

__all__ = [
    "CD39_SD",
    "CHANGE_SD",
    "EFFECTOR_SD",
    "RARE_SD",
    "PatientLatents",
    "composition_scores",
    "draw_latents",
]

Floats = np.ndarray[Any, np.dtype[np.float64]]
Integers = np.ndarray[Any, np.dtype[np.int64]]

# Standard deviations between patients, on the log scale.
# CD39 on CD16 monocytes: means 1.62 with and 2.16 without CR (SD .30 and .12; CLR; ten patients,
# Nature Cancer 2024). A CLR value near 1.9 moves 0.85 times as far as the log of the counts.
CD39_SD: Final = 0.27
_CD39_SHIFT: Final = -0.54 / 0.85
# For RNA programmes the study gives only its threshold, a fold change of 1.5; the spread between
# patients is assumed, within the .05 to .36 of surface proteins between healthy donors.
EFFECTOR_SD: Final = 0.25
CHANGE_SD: Final = 0.25
_FOLD_CHANGE: Final = float(np.log(1.5))
# CAR T fraction of blood: median .0124 with, .0013 without CR.
_CAR_SHIFT: Final = float(np.log(0.0124 / 0.0013))
# Assumed: the rare population doubles; spread like that of an abundant population.
RARE_SD: Final = 0.4

# Distance between the two response groups in standard deviations, at strength 1.
_DISTANCE: Final = {
    "rna_state": _FOLD_CHANGE / EFFECTOR_SD,
    "protein_only": _CD39_SHIFT / CD39_SD,
    "clonal_expansion": _CAR_SHIFT / next(p.log_sd for p in POPULATIONS if p.name == "CAR T"),
    "rare_population": float(np.log(2.0)) / RARE_SD,
    "pre_to_post": _FOLD_CHANGE / CHANGE_SD,
    # Assumed: as far apart as CD39.
    "interaction": 2.3,
}

# Half of the variance of a population's log fraction is the patient's, half the sample's.
_SHARED: Final = 0.5


@dataclass(frozen=True)
class PatientLatents:
    """Latent numbers of all patients.

    Attributes
    ----------
    values
        Patients by mechanisms (without composition), in standard deviations.
    scores
        Log likelihood ratio of CR against no CR, patients by mechanisms with composition.
    before
        The same sum over what can be seen before infusion.
    abundance
        (samples, populations) log abundance in standard deviations from the population's centre.
    """

    values: pd.DataFrame
    scores: pd.DataFrame
    before: pd.Series[float]
    abundance: Floats


def draw_latents(
    patients: pd.DataFrame,
    samples: pd.DataFrame,
    effects: Effects,
    strength: float,
    seed: int,
    propensity: Floats | None = None,
) -> PatientLatents:
    """Draw the latent numbers of all patients; `strength` multiplies every effect.

    They move with the response, half a unit up or down, or with the patients' `propensity`.
    """
    side = np.where(patients["response"] == "CR", 0.5, -0.5) if propensity is None else propensity
    size = {name: strength * value for name, value in asdict(effects).items()}
    values, scores = pd.DataFrame(index=patients.index), pd.DataFrame(index=patients.index)
    for name, distance in _DISTANCE.items():
        shift = size[name] * distance
        noise = stream(seed, "latent " + name).standard_normal(len(patients))
        values[name] = noise + side * shift
        scores[name] = shift * values[name]

    k = len(POPULATIONS)
    owner = patients.index.get_indexer(pd.Index(samples["patient"]))
    patient_noise = stream(seed, "abundance of patients").standard_normal((len(patients), k))
    sample_noise = stream(seed, "abundance of samples").standard_normal((len(samples), k))
    noise_sk = np.sqrt(_SHARED) * patient_noise[owner] + np.sqrt(1 - _SHARED) * sample_noise
    shift_sk = size["composition"] * _shifts()[samples["context"].to_numpy()]
    abundance = noise_sk + side[owner][:, None] * shift_sk
    first = (samples["timepoint"] == "pre").to_numpy()
    early = ["rna_state", "protein_only", "rare_population", "interaction"]
    before = scores[early].sum(axis=1) + composition_scores(
        abundance[first], shift_sk[first], owner[first], len(patients)
    )
    scores["composition"] = composition_scores(abundance, shift_sk, owner, len(patients))
    return PatientLatents(values, scores[list(MECHANISMS)], before, abundance)


def _shifts() -> Floats:
    """(contexts, populations) distance between the response groups in standard deviations."""
    shift = np.zeros((len(CONTEXTS), len(POPULATIONS)))
    number = {p.name: i for i, p in enumerate(POPULATIONS)}
    for (context, name), (with_cr, without) in SHIFTS.items():
        k = number[name]
        shift[CONTEXTS.index(context), k] = np.log(with_cr / without) / POPULATIONS[k].log_sd
    return shift


def composition_scores(abundance: Floats, shift: Floats, owner: Integers, patients: int) -> Floats:
    """Score patients: log likelihood ratio of CR, given the log abundances in their samples.

    A population's abundances in samples of one patient correlate by the shared half of their
    variance: the ratio is the shift times the inverse correlation matrix times the abundances.
    """
    score = np.zeros(patients)
    for p in range(patients):
        rows = np.flatnonzero(owner == p)
        corr = np.full((rows.size, rows.size), _SHARED)
        np.fill_diagonal(corr, 1.0)
        score[p] = np.sum(shift[rows] * np.linalg.solve(corr, abundance[rows]))
    return score
