"""Measures of survival predictions under censoring, by scikit-survival; Kaplan-Meier curves."""

from __future__ import annotations

import importlib.util
from collections.abc import Sequence

import numpy as np

from recart.evaluation.predictions import FloatArray

__all__ = ["LACKING", "kaplan_meier", "survival_measures"]

LACKING = (
    "C-index, time-dependent AUC and Brier score are computed by scikit-survival, which is not "
    "installed: pip install -e '.[survival]' in recart's checkout, then evaluate again."
)


def installed() -> bool:
    """Whether scikit-survival is there."""
    return importlib.util.find_spec("sksurv") is not None


def survival_measures(
    time: FloatArray,
    event: FloatArray,
    risk: FloatArray,
    months: Sequence[float],
    survival: FloatArray | None = None,
) -> dict[str, float]:
    """C-index with inverse probability of censoring weights, and at each month AUC and Brier score.

    Parameters
    ----------
    time, event, risk
        (n) months, 1 for an event, and what ranks: the higher, the sooner.
    months
        Months asked for. The C-index compares up to the last of them.
    survival
        (n, month) held-out probabilities of survival without the event; without them no Brier.

    Returns
    -------
    Measures by name; NaN where a month lies outside the follow-up, nobody had an event until it
    (AUC), or the censoring distribution is not known there. The censoring distribution is that of
    the given patients.
    """
    from sksurv.metrics import (
        brier_score,
        concordance_index_ipcw,
        cumulative_dynamic_auc,
    )
    from sksurv.util import Surv

    outcome = Surv.from_arrays(event > 0, time)
    found = {"C-index (IPCW)": np.nan}
    found |= {f"AUC, month {month:g}": np.nan for month in months}
    if survival is not None:
        found |= {f"Brier, month {month:g}": np.nan for month in months}
    try:
        tau = float(min(max(months), np.max(time)))
        found["C-index (IPCW)"] = float(concordance_index_ipcw(outcome, outcome, risk, tau)[0])
    except ValueError:
        pass  # nobody to compare with, or nobody left who could be censored
    for place, month in enumerate(months):
        if not time.min() < month < time.max():
            continue
        try:
            if ((event > 0) & (time <= month)).any():  # else nobody to tell from those who go on
                auc, _ = cumulative_dynamic_auc(outcome, outcome, risk, [month])
                found[f"AUC, month {month:g}"] = float(auc[0])
            if survival is not None:
                _, brier = brier_score(outcome, outcome, survival[:, [place]], [month])
                found[f"Brier, month {month:g}"] = float(brier[0])
        except ValueError:
            continue
    return found


def kaplan_meier(time: FloatArray, event: FloatArray) -> tuple[FloatArray, FloatArray]:
    """Times of events, with 0 before them, and the share without an event from each on."""
    times = np.unique(time[event > 0])
    at_risk = (time[None] >= times[:, None]).sum(axis=1)
    gone = ((time[None] == times[:, None]) & (event > 0)[None]).sum(axis=1)
    return np.append(0.0, times), np.append(1.0, np.cumprod(1 - gone / np.maximum(at_risk, 1)))
