"""Numbers of patients that do not hang on their names, for what is drawn by number."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike

__all__ = ["patient_codes"]

_DECIMALS = 9  # below that lie rounding errors of the same score


def patient_codes(patients: ArrayLike, score: ArrayLike) -> np.ndarray[Any, np.dtype[np.intp]]:
    """Number patients from 0 on in the order of the mean scores of their bags.

    Another key makes other pseudonyms of the same patients: with numbers in the order of names, the
    same seed would give them another interval and another p. Patients of equal scores go by name.

    Parameters
    ----------
    patients, score
        (n) patient and score of each bag.

    Returns
    -------
    (n) number of each bag's patient.
    """
    of_bag = pd.Index(np.asarray(patients))
    mean = pd.Series(np.asarray(score, dtype=float), index=of_bag).groupby(level=0).mean()
    return mean.round(_DECIMALS).sort_values(kind="stable").index.get_indexer(of_bag)
