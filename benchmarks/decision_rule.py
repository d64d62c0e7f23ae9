"""Claim: calibration that is held by a prior costs nothing at 20 patients, where Platt's does harm.

Cohorts of 20, 40 and 80 simulated patients with 20 features, two of them informative (none, 0.7 or
1.5 standard deviations apart), balanced or with 30 % positive patients; the blend of regressions of
the default head, here of one group, in stratified five-fold cross-validation. On held-out patients:
log loss and Brier score without calibration, with Platt's two parameters as they come out, and with
the prior that recart holds them by; balanced accuracy of three thresholds on the calibrated
log-odds: probability one half, the share of positive development patients, and the cut that is best
on the inner logits.

    python benchmarks/decision_rule.py [--cohorts 60]
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable, Iterator
from functools import cache

import numpy as np
import torch
from cached_cohorts import shipped_head
from scipy.optimize import minimize
from scipy.special import logit

from recart.data.folds import StratifiedPatientKFold
from recart.training.blend import fit_blends
from recart.training.decision_rule import fit_decision_rule
from recart.training.inner_folds import inner_folds
from recart.training.prototype_head import PrototypeHead

FEATURES = 20
Map = Callable[[np.ndarray, np.ndarray], tuple[float, float]]


@cache
def default_head() -> PrototypeHead:
    """Made once."""
    return shipped_head()


def held_out(n: int, share: float, effect: float, seed: int) -> Iterator[tuple[np.ndarray, ...]]:
    """Of every fold: inner logits and labels of the development patients, then the held-out's."""
    rng = np.random.default_rng((n, int(share * 100), int(effect * 100), seed))
    y = (np.arange(n) < round(n * share)).astype(int)
    x = rng.normal(size=(n, FEATURES))
    x[:, :2] += effect * (y[:, None] - 0.5)
    names = [str(i) for i in range(n)]
    split = StratifiedPatientKFold(5, 1, 0.2).split(np.arange(n), y, seed, names)
    development = [np.array(fold.train + fold.validation) for fold in split.folds]
    head, group = default_head(), torch.zeros(FEATURES, dtype=torch.long)
    strengths = torch.tensor(list(head.strengths), dtype=torch.float64)
    for fold, rows in zip(split.folds, development, strict=True):
        folds = inner_folds(y[rows], rows, head.inner_folds, seed)
        target = torch.from_numpy(y[rows].astype(np.float64))
        features = torch.from_numpy(x[rows])
        (blend,) = fit_blends(features, group, 0, [target], [folds], strengths, head.endpoint)
        test = np.array(fold.held_out)
        scaled = blend.scaling.apply(torch.from_numpy(x[test]))
        logits = head.endpoint.log_odds(scaled @ blend.coefficients - blend.centre, blend.offsets)
        yield np.array(blend.inner_logits), y[rows], logits.numpy(), y[test]


def platt(x: np.ndarray, y: np.ndarray) -> tuple[float, float]:
    """Intercept and slope without a prior to speak of, slope not below 0."""

    def cost(v: np.ndarray) -> float:
        z = v[0] + v[1] * x
        return float((np.logaddexp(0, z) - y * z).sum() + 0.005 * (v[0] ** 2 + (v[1] - 1) ** 2))

    found = minimize(cost, [0.0, 1.0], bounds=[(None, None), (0, None)])
    return float(found.x[0]), float(found.x[1])


def ours(x: np.ndarray, y: np.ndarray) -> tuple[float, float]:
    """Intercept and slope of a member's decision rule."""
    rule = fit_decision_rule(x, y, np.arange(len(y)))
    return rule.intercept, rule.slope


def balanced(called: np.ndarray, y: np.ndarray) -> float:
    """Balanced accuracy."""
    return float((called[y == 1].mean() + (~called[y == 0]).mean()) / 2)


def best_cut(z: np.ndarray, y: np.ndarray) -> float:
    """The middle of the cuts with the highest balanced accuracy."""
    edges = np.unique(z)
    cuts = np.concatenate(([edges[0] - 1], (edges[1:] + edges[:-1]) / 2, [edges[-1] + 1]))
    value = np.array([balanced(z > cut, y) for cut in cuts])
    return float(np.median(cuts[value >= value.max() - 1e-12]))


def judge(folds: list[tuple[np.ndarray, ...]], calibrate: Map) -> list[float]:
    """Log loss, Brier score and three balanced accuracies over the held-out patients."""
    z, y, calls = [], [], []
    for inner, labels, logits, truth in folds:
        intercept, slope = calibrate(inner, labels)
        own = intercept + slope * logits
        cuts = (0.0, logit(labels.mean()), best_cut(intercept + slope * inner, labels))
        z.append(own)
        y.append(truth)
        calls.append([own > cut for cut in cuts])
    all_z, all_y = np.concatenate(z), np.concatenate(y)
    loss = float((np.logaddexp(0, all_z) - all_y * all_z).mean())
    brier = float(np.square(1 / (1 + np.exp(-all_z)) - all_y).mean())
    return [
        loss,
        brier,
        *(balanced(np.concatenate(own), all_y) for own in zip(*calls, strict=True)),
    ]


def main() -> None:
    """Print one line a cohort size and map, means over shares and effects."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--cohorts", type=int, default=60, help="of each size, share and effect")
    cohorts = parser.parse_args().cohorts
    torch.set_num_threads(1)
    maps: dict[str, Map] = {"none": lambda _x, _y: (0.0, 1.0), "Platt": platt, "recart": ours}
    for n in (20, 40, 80):
        found: dict[str, list[list[float]]] = {name: [] for name in maps}
        for share in (0.5, 0.3):
            for effect in (0.0, 0.7, 1.5):
                for seed in range(cohorts):
                    folds = list(held_out(n, share, effect, seed))
                    for name, calibrate in maps.items():
                        found[name].append(judge(folds, calibrate))
        for name, rows in found.items():
            loss, brier, half, prevalence, best = np.mean(rows, axis=0)
            sys.stdout.write(
                f"n={n} {name:7s} log loss {loss:.3f}  Brier {brier:.4f}  balanced accuracy at 1/2 "
                f"{half:.3f}, at the training share {prevalence:.3f}, at the best inner cut "
                f"{best:.3f}\n"
            )
            sys.stdout.flush()


if __name__ == "__main__":
    main()
