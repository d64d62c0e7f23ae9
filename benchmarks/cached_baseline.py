"""A composition baseline for the cohorts of `cached_cohorts.py`, as good as the head or as wished.

Each patient has a second compartment of cells, independent of the first given the label; the
baseline reads its composition. Its classifier is fitted for all folds of many cohorts in one stack.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import torch
from cached_cohorts import (
    CELLS,
    FOLDS,
    STACKED,
    Array,
    Evaluated,
    Pool,
    auroc,
    fractions,
    tables,
)

from recart.evaluation.baselines.ridge import RIDGE_GRID
from recart.evaluation.baselines.ridge import inner_folds as baseline_folds
from recart.evaluation.predictions import BagScores
from recart.models.ridge_logistic import fit_ridge_logistic

_TUNED = 200  # cohorts by which the baseline is made as good as the head


def composition(y: Array, effect: float, seed: int) -> Array:
    """(n, population) centred log-ratios of the second compartment's counts of cells.

    Equal draws for every effect, so that how good a baseline is rises smoothly with it.
    """
    rng = np.random.default_rng([seed, 7])  # not the stream of the pool
    edges = fractions(y, effect, rng).cumsum(axis=1)
    draws = np.sort(rng.random((len(y), CELLS)), axis=1)
    below = np.stack([np.searchsorted(own, edge) for own, edge in zip(draws, edges, strict=True)])
    below[:, -1] = CELLS
    counts = np.diff(below, axis=1, prepend=0)
    logs = np.log(counts + 0.5)
    return logs - logs.mean(axis=1, keepdims=True)


def baseline_scores(x: Array, y: Array, drawn: list[Evaluated]) -> list[BagScores]:
    """The composition baseline in the folds of each cohort; `x`, `y` are of the whole pool."""
    held_out = []
    for start in range(0, len(drawn), STACKED):
        some = drawn[start : start + STACKED]
        trained = [
            (own.rows[fold != k], own.rows[fold == k], own.number)
            for own in some
            for fold in own.folds
            for k in range(FOLDS)
        ]
        scored = iter(fit_baselines(x, y, trained))
        for own in some:
            logits = np.empty((len(own.folds), len(own.rows)))
            for repeat, fold in enumerate(own.folds):
                for k in range(FOLDS):
                    logits[repeat, fold == k] = next(scored)
            held_out.append(logits)
    design = [(own.rows, own.folds, own.number) for own in drawn]
    return tables(y, design, held_out, "composition")


def fit_baselines(x: Array, y: Array, trained: list[tuple[Array, Array, int]]) -> list[Array]:
    """Logits of the composition baseline's classifier, for many (train, test, seed) in one stack.

    What `recart.evaluation.baselines.ridge.ridge_logits` does one at a time, with every fit scaled
    by its own rows; a test holds the two together.
    """
    most = max(len(train) for train, _, _ in trained)
    x_mnf = torch.zeros(len(trained), most, x.shape[1], dtype=torch.float64)
    y_mn = torch.zeros(len(trained), most, dtype=torch.float64)
    bag_mn = torch.zeros(len(trained), most, dtype=torch.float64)
    member, checks = [], []
    for m, (train, _, seed) in enumerate(trained):
        x_mnf[m, : len(train)], y_mn[m, : len(train)] = (
            torch.from_numpy(of[train]) for of in (x, y)
        )
        bag_mn[m, : len(train)] = 1.0
        for _, check in baseline_folds(y[train].astype(float), np.arange(len(train)), seed):
            member.append(m)
            checks.append(torch.zeros(most).index_fill_(0, torch.from_numpy(check), 1.0).double())
    check_qn, member_q = torch.stack(checks), torch.tensor(member)
    grid = 1 / torch.tensor(RIDGE_GRID, dtype=torch.float64)

    fit_qn = bag_mn[member_q] - check_qn
    x_qnf = _standardised(x_mnf[member_q], fit_qn)(x_mnf[member_q])
    coefficients, intercepts = fit_ridge_logistic(
        x_qnf, y_mn[member_q], fit_qn, grid.expand(len(member), -1)
    )
    logits_qsn = coefficients @ x_qnf.mT + intercepts.unsqueeze(-1)
    loss_qs = (
        check_qn.unsqueeze(1)
        * (torch.nn.functional.softplus(logits_qsn) - y_mn[member_q].unsqueeze(1) * logits_qsn)
    ).sum(-1)
    best = torch.zeros(len(trained), len(grid), dtype=torch.float64)
    best_m = best.index_add_(0, member_q, loss_qs).argmin(-1)

    scale = _standardised(x_mnf, bag_mn)
    coefficients, intercepts = fit_ridge_logistic(scale(x_mnf), y_mn, bag_mn, grid[best_m, None])
    return [
        (scale(torch.from_numpy(x[test]), m) @ coefficients[m, 0] + intercepts[m, 0]).numpy()
        for m, (_, test, _) in enumerate(trained)
    ]


def _standardised(x_qnf: torch.Tensor, weight_qn: torch.Tensor) -> Callable[..., torch.Tensor]:
    """What brings features to mean 0 and variance 1 over the rows of weight 1."""
    weight_qn1, rows_q1 = weight_qn.unsqueeze(-1), weight_qn.sum(-1, keepdim=True)
    mean_qf = (weight_qn1 * x_qnf).sum(1) / rows_q1
    spread_qf = ((weight_qn1 * (x_qnf - mean_qf.unsqueeze(1)) ** 2).sum(1) / rows_q1).sqrt()

    def apply(x: torch.Tensor, q: int | None = None) -> torch.Tensor:
        if q is not None:
            return (x - mean_qf[q]) / spread_qf[q]
        return (x - mean_qf.unsqueeze(1)) / spread_qf.unsqueeze(1)

    return apply


def equal_effect(pool: Pool, drawn: list[Evaluated], seed: int) -> tuple[float, float]:
    """The effect at which the baseline is on average as good as the head, and how good it is."""
    wanted = float(np.mean([cohort.truth for cohort in drawn[:_TUNED]]))
    low, high, found = 0.0, 3.0, 0.5
    everyone = np.arange(len(pool.y))
    trained = [(own.rows, np.delete(everyone, own.rows), own.number) for own in drawn[:_TUNED]]
    for _ in range(9):
        middle = (low + high) / 2
        logits = fit_baselines(composition(pool.y, middle, seed), pool.y, trained)
        goodness = [
            auroc(pool.y[others], own) for own, (_, others, _) in zip(logits, trained, strict=True)
        ]
        found = float(np.mean(goodness))
        low, high = (middle, high) if found < wanted else (low, middle)
    return middle, found
