"""The change mode of Bayesian differential expression, on samples of two groups' expression.

Source: Boyeau et al., bioRxiv 2019 (10.1101/794289); Lopez et al., Nature Methods 2018. Statistics
and names are those of scvi-tools' `DifferentialComputation`.
"""

from __future__ import annotations

from typing import Any, Literal

import numpy as np
import pandas as pd

__all__ = ["Mode", "change_statistics", "posterior_expected_fdr"]

Mode = Literal["change", "vanilla"]
Samples = np.ndarray[Any, np.dtype[np.float32]]

_EPS = 1e-8
_FEATURES = 256  # whose log fold changes are held at once


def change_statistics(
    one_nf: Samples, two_nf: Samples, *, mode: Mode, delta: float, pseudocounts: float
) -> pd.DataFrame:
    """Statistics of each feature (rows) from pairs of samples (n) of two groups.

    Parameters
    ----------
    one_nf, two_nf
        Samples of expression of the two groups, paired by row.
    mode
        "change": the log2 fold change lies beyond `delta` (in the likelier direction); "vanilla":
        the first is larger.
    delta
        Least absolute log2 fold change that counts.
    pseudocounts
        Added to both before the logarithm; a thousandth of it for the moments of the fold change.
    """
    scales = {"scale1": one_nf.mean(0), "scale2": two_nf.mean(0)}
    if mode == "vanilla":
        larger = np.mean(one_nf > two_nf, axis=0)
        return pd.DataFrame(
            {
                "proba_m1": larger,
                "proba_m2": 1 - larger,
                "bayes_factor": _log_odds(larger),
                **scales,
            }
        )
    blocks = [
        _block(one_nf[:, f : f + _FEATURES], two_nf[:, f : f + _FEATURES], delta, pseudocounts)
        for f in range(0, one_nf.shape[1], _FEATURES)
    ]
    table = pd.concat(blocks, ignore_index=True)
    probability = table.pop("proba_de")
    front = {
        "proba_de": probability,
        "proba_not_de": 1 - probability,
        "bayes_factor": _log_odds(probability.to_numpy()),
        **scales,
        "pseudocounts": pseudocounts,
        "delta": delta,
    }
    return pd.concat([pd.DataFrame(front), table], axis=1)


def _block(one: Samples, two: Samples, delta: float, pseudocounts: float) -> pd.DataFrame:
    change = _log_fold_change(one, two, pseudocounts)
    probability = np.maximum((change >= delta).mean(0), (change < -delta).mean(0))
    change = _log_fold_change(one, two, 1e-3 * pseudocounts)
    return pd.DataFrame(
        {
            "proba_de": probability,
            "lfc_mean": change.mean(0),
            "lfc_median": np.median(change, axis=0),
            "lfc_std": change.std(0),
            "lfc_min": change.min(0),
            "lfc_max": change.max(0),
        }
    )


def _log_fold_change(one: Samples, two: Samples, pseudocounts: float) -> Samples:
    change: Samples = np.log2(one + pseudocounts) - np.log2(two + pseudocounts)
    return change


def _log_odds(probability: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
    odds: np.ndarray[Any, Any] = np.log(probability + _EPS) - np.log(1 - probability + _EPS)
    return odds


def posterior_expected_fdr(
    probability: np.ndarray[Any, Any], target: float
) -> np.ndarray[Any, np.dtype[np.bool_]]:
    """Which features to call, so that the expected share of false ones is at most `target`.

    The largest set of the likeliest features whose mean probability of being wrong is at most
    `target`.
    """
    order = np.argsort(-probability, kind="stable")
    expected = np.cumsum(1 - probability[order]) / np.arange(1, len(order) + 1)
    called = np.zeros(len(order), dtype=np.bool_)
    called[order[: int((expected <= target).sum())]] = True
    return called
