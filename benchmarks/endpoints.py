"""Claim: Cox comes near the oracle on survival, and levels of response teach more than yes or no.

Simulated cohorts whose log hazard and levels follow a propensity that the cells know, all samples
admitted. So that many cohorts take minutes, cells are encoded by principal components of RNA and of
surface proteins, fitted once a cohort without any label; the shipped head is then fitted and its
strength chosen in each of five folds, and scores are held-out ones, standardised by fold as in an
evaluation. It reads what it reads in a run, proteins, named genes and samples beside latents;
`bare` is the same head on latents alone. The oracle knows each patient's latent numbers
(`Truth.patients["oracle"]`). A line a cohort is printed as it is done.
"""

from __future__ import annotations

import argparse
import sys
import warnings
from collections.abc import Callable, Iterable
from dataclasses import replace
from typing import Any

import numpy as np
import pandas as pd
from cached_cohorts import auroc, shipped_head
from sklearn.decomposition import PCA, TruncatedSVD

from recart.config.compose import compose
from recart.data.bag_markers import GENE_SUM
from recart.data.cohort import Cohort
from recart.data.gene_panels import panel_genes
from recart.data.simulate import Effects, Outcomes, SimulatedCohort, Truth
from recart.data.split import Kind
from recart.evaluation.outcomes.ordinal import ordinal_draws
from recart.evaluation.outcomes.survival import survival_measures
from recart.evaluation.predictions import fold_scores
from recart.training.endpoints import BinaryEndpoint, Endpoint, OrdinalEndpoint, SurvivalEndpoint
from recart.training.heads import BagLatents, Token
from recart.training.inner_folds import inner_folds

Array = np.ndarray[Any, np.dtype[Any]]

FOLDS = 5
LEVELS = ["PD", "SD", "PR", "VGPR", "CR", "sCR"]
MONTHS = [6.0, 12.0, 24.0]
# clones are left out of this comparison, as are the statistics of clones
EFFECTS = Effects(clonal_expansion=0.0)


def simulated(n: int, seed: int, strength: float, cells: int) -> tuple[Cohort, Truth]:
    """A cohort with levels and survival."""
    return SimulatedCohort(
        patients=n,
        cells_per_sample=cells,
        genes=1000,
        seed=seed,
        strength=strength,
        effects=EFFECTS,
        outcomes=Outcomes(levels=True, survival=True),
    ).simulate()


def encoded(cohort: Cohort, seed: int) -> BagLatents:
    """Bags of all cells of each patient: principal components, tokens and markers."""
    counts = cohort.rna.tocsr().astype(np.float32)
    size = np.asarray(counts.sum(axis=1)).ravel()
    genes = [
        name for name in panel_genes(compose().data.marker_genes) if name in cohort.genes.index
    ]
    named = counts[:, cohort.genes.index.get_indexer(genes)].toarray()
    named = np.log1p(GENE_SUM * named / np.maximum(size, 1)[:, None])
    counts = counts.multiply(1000 / np.maximum(size, 1)[:, None]).tocsr()
    counts.data = np.log1p(counts.data)
    rna = TruncatedSVD(11, random_state=seed).fit_transform(counts)[:, 1:]
    protein = np.log1p(np.asarray(cohort.protein, dtype=np.float32))
    markers = np.hstack([protein - protein.mean(axis=1, keepdims=True), named]).astype(np.float32)
    protein = PCA(10, random_state=seed).fit_transform(protein - protein.mean(axis=0))
    z = np.hstack([rna / rna.std(), protein / protein.std()]).astype(np.float32)
    samples = cohort.samples.loc[cohort.cells["sample"].astype(str)]
    late = (samples["timepoint"] == "post").tolist()
    kind_of_cell = list(zip(late, samples["tissue"].astype(str), strict=True))
    kinds = sorted(set(kind_of_cell))
    token = np.array([kinds.index(kind) for kind in kind_of_cell])
    own = [np.flatnonzero(samples["patient"] == patient) for patient in cohort.patients.index]
    return BagLatents(
        latents=[z[rows] for rows in own],
        extras=np.zeros((len(cohort.patients), 0)),
        extra_names=[],
        patients=np.arange(len(cohort.patients)),
        token_of_cell=[token[rows] for rows in own],
        tokens=[Token("post" if after else "pre", int(after), at, "") for after, at in kinds],
        markers=[markers[rows] for rows in own],
        marker_names=[f"protein:{name}" for name in cohort.proteins]
        + [f"gene:{name}" for name in genes],
    )


def bare(bags: BagLatents) -> BagLatents:
    """The latents alone."""
    return replace(bags, token_of_cell=(), tokens=(), markers=(), marker_names=())


def part(bags: BagLatents, rows: Array) -> BagLatents:
    """Some of the bags."""
    return replace(
        bags,
        **{
            name: [whole[int(row)] for row in rows] if len(whole) else ()
            for name in ("latents", "token_of_cell", "markers")
            for whole in [getattr(bags, name)]
        },
        extras=bags.extras[rows],
        patients=bags.patients[rows],
    )


def held_out(
    bags: BagLatents, endpoint: Endpoint, targets: Array, seed: int, repeats: int
) -> Array:
    """(n) scores of the shipped head from folds that left the patient out; mean of repeats."""
    own = [_one_repeat(bags, endpoint, targets, seed + 10_000 * r) for r in range(repeats)]
    return np.mean(own, axis=0)


def _one_repeat(bags: BagLatents, endpoint: Endpoint, targets: Array, seed: int) -> Array:
    head = replace(shipped_head(), endpoint=endpoint, use_extras=False)
    n = len(targets)
    # folds that are the same for every endpoint would favour none; these are even in the targets
    classes, grade = endpoint.strata(targets)
    fold, logit = np.empty(n, dtype=np.int64), np.empty(n)
    for number, test in enumerate(inner_folds(classes, np.arange(n), FOLDS, seed, grade)):
        train = np.setdiff1d(np.arange(n), test)
        fitted = head.fit(part(bags, train), targets[train], seed)
        fold[test], logit[test] = number, fitted.logits(part(bags, test))
    return scores(logit, fold)


def scores(logit: Array, fold: Array) -> Array:
    """Standardised by fold, as an evaluation does."""
    table = pd.DataFrame({"repeat": 0, "fold": fold, "logit": logit})
    return fold_scores(table, Kind.PARTITION).to_numpy()


def survival(
    n: int, seed: int, strength: float, cells: int, repeats: int, *, with_bare: bool
) -> tuple[float, ...]:
    """C-index (IPCW) of the oracle, of the head, and of the head on latents alone."""
    cohort, truth = simulated(n, seed, strength, cells)
    table = cohort.patients
    endpoint = SurvivalEndpoint(time="pfs_months", event="pfs_event", months=MONTHS, landmark=12.0)
    targets = table[["pfs_months", "pfs_event"]].to_numpy(dtype=float)
    bags = encoded(cohort, seed)
    found = [-truth.patients["oracle"].to_numpy()]
    for own in (bags, bare(bags))[: 1 + with_bare]:
        found.append(held_out(own, endpoint, targets, seed, repeats))
    measured = [survival_measures(targets[:, 0], targets[:, 1], own, MONTHS) for own in found]
    return tuple(own["C-index (IPCW)"] for own in measured)


def ordinal(n: int, seed: int, strength: float, cells: int, repeats: int) -> tuple[float, ...]:
    """AUROC at the cut and concordance over levels, of the ordinal and of the binary head."""
    cohort, truth = simulated(n, seed, strength, cells)
    endpoint = OrdinalEndpoint(column="best_response", levels=LEVELS, cut="VGPR")
    level = cohort.patients["best_response"].map(LEVELS.index).to_numpy()
    bags, face = encoded(cohort, seed), endpoint.binary(level)
    found = []
    for own, targets in ((endpoint, level), (BinaryEndpoint(), face)):
        found.append(held_out(bags, own, targets, seed, repeats))
    found.append(truth.patients["oracle"].to_numpy())
    once = np.ones((1, n))
    concordance = [
        float(ordinal_draws(level.astype(float), own, once, LEVELS)["concordance"][0])
        for own in found
    ]
    return (*(auroc(face, own) for own in found), *concordance)


def rows_of(measure: Callable[[int], tuple[float, ...]], seeds: Iterable[int]) -> Array:
    """(measure, cohort) of each seed, told as it is known."""
    rows = []
    for seed in seeds:
        rows.append(measure(seed))
        sys.stdout.write(f"{seed} {' '.join(f'{value:.4f}' for value in rows[-1])}\n")
        sys.stdout.flush()
    return np.array(rows).T


def shown(name: str, values: Array) -> str:
    """Mean over cohorts with its 95% interval."""
    mean, error = values.mean(), values.std(ddof=1) / np.sqrt(len(values))
    return f"  {name}: {mean:.3f} ({mean - 2 * error:.3f} to {mean + 2 * error:.3f})\n"


def main() -> None:
    """Print the two tables."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--cohorts", type=int, default=10)
    parser.add_argument("--cells", type=int, default=150)
    parser.add_argument("--strength", type=float, default=1.0)
    parser.add_argument("--repeats", type=int, default=1)
    parser.add_argument("--survival-patients", type=int, default=96)
    parser.add_argument("--ordinal-patients", type=int, default=48)
    parser.add_argument("--first", type=int, default=1000, help="seed of the first cohort")
    parser.add_argument("--bare", action="store_true", help="survival from latents alone as well")
    parser.add_argument("--only", choices=["survival", "ordinal"])
    options = parser.parse_args()
    warnings.simplefilter("ignore")
    seeds = range(options.first, options.first + options.cohorts)
    how = (options.strength, options.cells, options.repeats)
    if options.only != "ordinal":
        n = options.survival_patients
        oracle, ours, *rest = rows_of(
            lambda seed: survival(n, seed, *how, with_bare=options.bare), seeds
        )
        sys.stdout.write(f"survival, {n} patients, {len(seeds)} cohorts, C-index (IPCW)\n")
        sys.stdout.write(shown("head", ours) + shown("oracle", oracle))
        sys.stdout.write(shown("oracle minus head (goal: at most .03)", oracle - ours))
        for latents in rest:
            sys.stdout.write(shown("head minus bare", ours - latents))
    if options.only != "survival":
        n = options.ordinal_patients
        rows = rows_of(lambda seed: ordinal(n, seed, *how), seeds)
        sys.stdout.write(f"ordinal, {n} patients, {len(seeds)} cohorts\n")
        for measure, own in (("AUROC >= VGPR", rows[:3]), ("concordance", rows[3:])):
            for name, value in zip(("ordinal", "binary", "oracle"), own, strict=True):
                sys.stdout.write(shown(f"{measure}, {name}", value))
            sys.stdout.write(shown(f"{measure}, ordinal minus binary", own[0] - own[1]))


if __name__ == "__main__":
    main()
