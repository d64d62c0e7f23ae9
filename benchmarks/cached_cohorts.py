"""Simulated cohorts as the head sees them, cached: the shared part of the statistical benchmarks.

Cells of many patients are simulated in latent space, and pooled once by prototypes that were fitted
on other patients. A cohort is a draw of such patients; what needs labels (scaling, inner choice of
the ridge strength, regression) is fitted for every fold of every cohort by the shipped head's own
code, stacked. The truth of a cohort is the AUROC, on all other patients of the pool, of the head
fitted to its patients. A run's bags have proteins and named genes beside latents: `--markers` gives
cells as many, a sixth of them proteins, which differ between populations and patients and tell
nothing of the label.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
import torch
from scipy.special import expit
from scipy.stats import rankdata

from recart.config.build import build
from recart.config.compose import compose
from recart.evaluation.predictions import BagScores, aggregate
from recart.training.blend import Blend, fit_blends
from recart.training.heads import BagLatents
from recart.training.inner_folds import inner_folds
from recart.training.prototype_features import Features
from recart.training.prototype_head import PrototypeHead

FOLDS = 5
_POPULATIONS, _LATENT, CELLS = 8, 10, 120
STACKED = 25  # cohorts that are fitted and scored together

Array = np.ndarray[Any, np.dtype[Any]]


def shipped_head() -> PrototypeHead:
    """The default head, without clone statistics, which these patients do not have."""
    head: PrototypeHead = build(compose(["data=simulated", "head.use_extras=false"]).head)
    return head


def fractions(y: Array, effect: float, rng: np.random.Generator) -> Array:
    """(n, population) shares of cells: logistic-normal, two populations shift with the label."""
    log = rng.normal(size=(len(y), _POPULATIONS)) * 0.7
    log[:, :2] += effect * (y[:, None] - 0.5) * np.array([1.0, -1.0])
    share = np.exp(log)
    return share / share.sum(axis=1, keepdims=True)


@dataclass(frozen=True)
class Pool:
    """Patients to draw cohorts from: labels, and features under fixed prototypes."""

    y: Array
    features: Features
    head: PrototypeHead

    @classmethod
    def simulate(cls, size: int, effect: float, seed: int, markers: int = 0) -> Pool:
        """Simulate `size` patients, half of them positive."""
        rng = np.random.default_rng(seed)
        centres = rng.normal(size=(_POPULATIONS, _LATENT)) * 1.5
        shift = np.zeros((_POPULATIONS, _LATENT))
        shift[0, 0] = 0.5 * effect  # the state of one population moves as well
        reference = np.arange(300) % 2
        y = np.arange(size) % 2
        head = shipped_head()
        usual = rng.normal(size=(_POPULATIONS, markers))
        bags = [cls._bags(labels, centres, shift, usual, effect, rng) for labels in (reference, y)]
        fitted = head.fit(bags[0], reference, seed)
        return cls(y, fitted.features.of(bags[1]), head)

    @staticmethod
    def _bags(
        y: Array,
        centres: Array,
        shift: Array,
        usual: Array,
        effect: float,
        rng: np.random.Generator,
    ) -> BagLatents:
        share = fractions(y, effect, rng)
        latents, markers = [], []
        width = usual.shape[1]
        for label, row in zip(y, share, strict=True):
            own = centres + 0.4 * rng.normal(size=centres.shape) + (label - 0.5) * shift
            kind = rng.choice(_POPULATIONS, CELLS, p=row)
            latents.append((own[kind] + rng.normal(size=(CELLS, _LATENT))).astype(np.float32))
            if width:
                of_patient = usual + 0.4 * rng.normal(size=usual.shape)
                seen = of_patient[kind] + rng.normal(size=(CELLS, width))
                markers.append(seen.astype(np.float32))
        return BagLatents(
            latents=latents,
            extras=np.zeros((len(y), 0)),
            extra_names=[],
            patients=np.arange(len(y)),
            markers=markers,
            marker_names=[f"{'gene' if i % 6 else 'protein'}:M{i}" for i in range(width)],
        )


@dataclass(frozen=True)
class Evaluated:
    """One cohort after cross-validation; `rows` are of the pool, `number` seeds what is random.

    `held_out` (repeat, n) are its held-out logits. `newcomers` are other rows of the pool, and
    `newcomer_logits` (repeat, fold, newcomer) what each fold's model says of them.
    """

    rows: Array
    folds: list[Array]
    scores: BagScores
    truth: float
    number: int
    held_out: Array
    newcomers: Array
    newcomer_logits: Array


def stratified(y: Array, rng: np.random.Generator) -> Array:
    """(n) fold of each patient."""
    fold = np.empty(len(y), dtype=np.int64)
    rows = np.concatenate([rng.permutation(np.flatnonzero(y == label)) for label in (0, 1)])
    fold[rows] = np.arange(len(y)) % FOLDS
    return fold


def auroc(y: Array, score: Array) -> float:
    """Of scores without regard to folds."""
    positive = y > 0.5
    m = positive.sum()
    u = rankdata(score)[positive].sum() - m * (m + 1) / 2
    return float(u / (m * (len(y) - m)))


def tables(
    y: Array, drawn: list[tuple[Array, list[Array], int]], logits: list[Array], name: str
) -> list[BagScores]:
    """Held-out logits (repeat, n) of each cohort through the shipped estimator, called once.

    A cohort is given by its rows of the pool, whose labels are `y`, its folds and its number.
    Cohorts share neither bags nor folds, so what is said of one does not depend on the others.
    """
    frames = []
    for (rows, own_folds, number), own_logits in zip(drawn, logits, strict=True):
        ids = [f"C{number:04d}P{i:04d}" for i in range(len(rows))]
        for repeat, (fold, own) in enumerate(zip(own_folds, own_logits, strict=True)):
            columns = {"bag": ids, "patient": ids, "fold": number * FOLDS + fold, "y": y[rows]}
            frames.append(
                pd.DataFrame(columns | {"logit": own, "probability": expit(own)}).assign(
                    repeat=repeat, member="m"
                )
            )
    together = aggregate(pd.concat(frames, ignore_index=True), name)
    # not the shares of positives in training, which are those of all cohorts together
    table = together.table.drop(columns="train_prevalence")
    cohort_of_bag = table.index.str[1:5].astype(int)
    cohort_of_row = together.folds["fold"].to_numpy() // FOLDS
    return [
        BagScores(
            name=name,
            table=table[cohort_of_bag == number],
            folds=together.folds[cohort_of_row == number],
        )
        for _, _, number in drawn
    ]


def cohorts(
    pool: Pool,
    n: int,
    count: int,
    repeats: int,
    seed: int,
    share: float = 0.4,
    newcomers: int = 0,
) -> Iterator[Evaluated]:
    """Draw, cross-validate and refit cohorts of `n` patients, `share` of them positive.

    `newcomers` of each class are scored by the model of every fold besides.
    """
    positives = round(n * share)
    by_class = [np.flatnonzero(pool.y == label) for label in (0, 1)]
    for start in range(0, count, STACKED):
        drawn = []
        for number in range(start, min(start + STACKED, count)):
            rng = np.random.default_rng([seed, n, number])
            rows = np.concatenate(
                [
                    rng.choice(of, many, replace=False)
                    for of, many in zip(by_class, (n - positives, positives), strict=True)
                ]
            )
            folds = [stratified(pool.y[rows], rng) for _ in range(repeats)]
            drawn.append((rows, folds, number))
        yield from _evaluate(pool, drawn, newcomers)


def _evaluate(
    pool: Pool, drawn: list[tuple[Array, list[Array], int]], newcomers: int
) -> Iterator[Evaluated]:
    members = []  # (rows trained on, seed): every fold of every repeat, then all patients
    for rows, folds, number in drawn:
        for fold in folds:
            members += [(rows[fold != k], number) for k in range(FOLDS)]
        members.append((rows, number))
    labels = [pool.y[rows].astype(float) for rows, _ in members]
    head = pool.head
    strengths = torch.tensor(list(head.strengths), dtype=torch.float64)

    def fitted(own: Array, y: Array, seed: int) -> Blend:
        folds = inner_folds(y, np.arange(len(y)), head.inner_folds, seed)
        of = pool.features
        return fit_blends(
            of.values[own],
            of.groups_f,
            of.shared,
            [torch.from_numpy(y)],
            [folds],
            strengths,
            head.endpoint,
            of.simple,
        )[0]

    blends = iter([fitted(own, y, seed) for (own, seed), y in zip(members, labels, strict=True)])

    def score(rows: Array) -> Array:
        blend = next(blends)
        x = blend.scaling.apply(pool.features.values[rows])
        linear = x @ blend.coefficients - blend.centre
        return head.endpoint.log_odds(linear, blend.offsets).numpy()

    held_out, truths, new, new_logits = [], [], [], []
    for rows, folds, _ in drawn:
        others = np.delete(np.arange(len(pool.y)), rows)
        new.append(
            np.concatenate([others[pool.y[others] == label][:newcomers] for label in (0, 1)])
        )
        logits = np.empty((len(folds), len(rows)))
        of_new = np.empty((len(folds), FOLDS, len(new[-1])))
        for repeat, fold in enumerate(folds):
            for k in range(FOLDS):
                own = rows[fold == k]
                both = score(np.concatenate([own, new[-1]]))
                logits[repeat, fold == k], of_new[repeat, k] = np.split(both, [len(own)])
        held_out.append(logits)
        new_logits.append(of_new)
        truths.append(auroc(pool.y[others], score(others)))
    found = tables(pool.y, drawn, held_out, "head")
    for i, (rows, folds, number) in enumerate(drawn):
        yield Evaluated(
            rows=rows,
            folds=folds,
            scores=found[i],
            truth=truths[i],
            number=number,
            held_out=held_out[i],
            newcomers=new[i],
            newcomer_logits=new_logits[i],
        )


def options(description: str | None) -> argparse.Namespace:
    """How many cohorts, of how many patients, and how they are drawn: from the command line."""
    parser = argparse.ArgumentParser(description=description)
    parser.add_argument("--cohorts", type=int, default=500)
    parser.add_argument("--repeats", type=int, default=2)
    parser.add_argument("--effect", type=float, default=0.6)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--markers", type=int, default=0)
    parser.add_argument("--pool", type=int, default=4000)
    parser.add_argument("--patients", type=int, nargs="+", default=[20, 40, 80, 150])
    return parser.parse_args()
