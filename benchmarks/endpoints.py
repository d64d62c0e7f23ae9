"""Claim: Cox comes near the oracle on survival, and levels of response teach more than yes or no.

Simulated cohorts whose log hazard and levels follow a propensity that the cells know, all samples
admitted. So that many cohorts take minutes, cells are encoded by principal components of RNA and of
surface proteins in place of the trained encoder, fitted to the development patients of each of five
folds like the shipped head after them; scores are held-out ones, standardised by fold as in an
evaluation. The head reads what it reads in a run, proteins, named genes and samples beside latents;
`bare` is the same head on latents alone. The oracle knows each patient's latent numbers
(`Truth.patients["oracle"]`). A line a cohort is printed as it is done.
"""

from __future__ import annotations

import argparse
import sys
import warnings
from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import pandas as pd
from cached_cohorts import auroc, shipped_head
from scipy import sparse, stats
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


@dataclass(frozen=True, kw_only=True)
class Cells:
    """Cells of a cohort before anything is fitted: log values, whose they are, and their sample."""

    rna: sparse.csr_matrix
    protein: Array
    own: list[Array]  # rows of each patient
    token: Array
    tokens: list[Token]
    markers: Array
    marker_names: list[str]

    @classmethod
    def of(cls, cohort: Cohort) -> Cells:
        """Every step is inside one cell."""
        counts = cohort.rna.tocsr().astype(np.float32)
        size = np.asarray(counts.sum(axis=1)).ravel()
        genes = [
            name for name in panel_genes(compose().data.marker_genes) if name in cohort.genes.index
        ]
        named = counts[:, cohort.genes.index.get_indexer(genes)].toarray()
        named = np.log1p(GENE_SUM * named / np.maximum(size, 1)[:, None])
        counts = counts.multiply(1000 / np.maximum(size, 1)[:, None]).tocsr()
        counts.data = np.log1p(counts.data)
        protein = np.log1p(np.asarray(cohort.protein, dtype=np.float32))
        centred = protein - protein.mean(axis=1, keepdims=True)
        samples = cohort.samples.loc[cohort.cells["sample"].astype(str)]
        late = (samples["timepoint"] == "post").tolist()
        kind_of_cell = list(zip(late, samples["tissue"].astype(str), strict=True))
        kinds = sorted(set(kind_of_cell))
        return cls(
            rna=counts,
            protein=protein,
            own=[np.flatnonzero(samples["patient"] == one) for one in cohort.patients.index],
            token=np.array([kinds.index(kind) for kind in kind_of_cell]),
            tokens=[Token("post" if after else "pre", int(after), at, "") for after, at in kinds],
            markers=np.hstack([centred, named]).astype(np.float32),
            marker_names=[f"protein:{name}" for name in cohort.proteins]
            + [f"gene:{name}" for name in genes],
        )

    def encoded(self, development: Array, seed: int) -> BagLatents:
        """All bags, by components and scales of the cells of the development patients."""
        rows = np.concatenate([self.own[int(patient)] for patient in development])
        latents = []
        for values, fit, first in (
            (self.rna, TruncatedSVD(11, random_state=seed), 1),  # the first is the mean
            (self.protein, PCA(10, random_state=seed), 0),
        ):
            fit.fit(values[rows])
            found = fit.transform(values)[:, first:]
            latents.append(found / found[rows].std())
        z = np.hstack(latents).astype(np.float32)
        return BagLatents(
            latents=[z[rows] for rows in self.own],
            extras=np.zeros((len(self.own), 0)),
            extra_names=[],
            patients=np.arange(len(self.own)),
            token_of_cell=[self.token[rows] for rows in self.own],
            tokens=self.tokens,
            markers=[self.markers[rows] for rows in self.own],
            marker_names=self.marker_names,
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
    cells: Cells,
    endpoint: Endpoint,
    targets: Array,
    seed: int,
    repeats: int,
    seen: Callable[[BagLatents], BagLatents] = lambda bags: bags,
) -> dict[str, Array]:
    """(repeat, n) scores from folds that left the patient out; `risk` where there is one."""
    own = [_one_repeat(cells, endpoint, targets, seed + 10_000 * r, seen) for r in range(repeats)]
    return {name: np.stack([one[name] for one in own]) for name in own[0]}


def _one_repeat(
    cells: Cells,
    endpoint: Endpoint,
    targets: Array,
    seed: int,
    seen: Callable[[BagLatents], BagLatents],
) -> dict[str, Array]:
    head = replace(shipped_head(), endpoint=endpoint, use_extras=False)
    n = len(targets)
    # folds that are the same for every endpoint would favour none; these are even in the targets
    classes, grade = endpoint.strata(targets)
    fold = np.empty(n, dtype=np.int64)
    found: dict[str, Array] = {}
    for number, test in enumerate(inner_folds(classes, np.arange(n), FOLDS, seed, grade)):
        train = np.setdiff1d(np.arange(n), test)
        bags = seen(cells.encoded(train, seed))
        fitted = head.fit(part(bags, train), targets[train], seed)
        rest = part(bags, test)
        told = {"log odds": fitted.logits(rest)}
        told |= {name: own for name, own in fitted.outputs(rest).items() if name == "risk"}
        fold[test] = number
        for name, own in told.items():
            found.setdefault(name, np.empty(n))[test] = own
    return {name: scores(own, fold) for name, own in found.items()}


def scores(logit: Array, fold: Array) -> Array:
    """Standardised by fold, as an evaluation does."""
    table = pd.DataFrame({"repeat": 0, "fold": fold, "logit": logit})
    return fold_scores(table, Kind.PARTITION).to_numpy()


def survival(
    n: int, seed: int, strength: float, cells: int, repeats: int, *, with_bare: bool
) -> dict[str, float]:
    """C-index (IPCW) of the oracle and of the head, by log odds and by risk."""
    cohort, truth = simulated(n, seed, strength, cells)
    table = cohort.patients
    endpoint = SurvivalEndpoint(time="pfs_months", event="pfs_event", months=MONTHS, landmark=12.0)
    targets = table[["pfs_months", "pfs_event"]].to_numpy(dtype=float)
    own = Cells.of(cohort)
    found = {"oracle": -truth.patients["oracle"].to_numpy()}
    for name, score in held_out(own, endpoint, targets, seed, repeats).items():
        found[f"{name}, folds once"] = score[0]
        if repeats > 1:
            found[f"{name}, mean of {repeats} repeats"] = score.mean(axis=0)
    if with_bare:
        on_latents = held_out(own, endpoint, targets, seed, 1, bare)
        found["latents alone, folds once"] = on_latents["log odds"][0]
    return {
        name: survival_measures(targets[:, 0], targets[:, 1], score, MONTHS)["C-index (IPCW)"]
        for name, score in found.items()
    }


def ordinal(n: int, seed: int, strength: float, cells: int, repeats: int) -> dict[str, float]:
    """AUROC at the cut and concordance over levels, of the ordinal and of the binary head."""
    cohort, truth = simulated(n, seed, strength, cells)
    endpoint = OrdinalEndpoint(column="best_response", levels=LEVELS, cut="VGPR")
    level = cohort.patients["best_response"].map(LEVELS.index).to_numpy()
    every, face = Cells.of(cohort), endpoint.binary(level)
    found = {"oracle": truth.patients["oracle"].to_numpy()}
    for name, own, targets in (("ordinal", endpoint, level), ("binary", BinaryEndpoint(), face)):
        score = held_out(every, own, targets, seed, repeats)["log odds"]
        found[name] = score.mean(axis=0)
    once = np.ones((1, n))
    rows = {f"AUROC >= VGPR, {name}": auroc(face, score) for name, score in found.items()}
    for name, score in found.items():
        draws = ordinal_draws(level.astype(float), score, once, LEVELS)
        rows[f"concordance, {name}"] = float(draws["concordance"][0])
    return rows


def measured(measure: Callable[[int], dict[str, float]], seeds: Iterable[int]) -> pd.DataFrame:
    """A row a cohort, told as it is known."""
    rows = []
    for seed in seeds:
        rows.append(measure(seed))
        told = ", ".join(f"{name} {value:.4f}" for name, value in rows[-1].items())
        sys.stdout.write(f"{seed} {told}\n")
        sys.stdout.flush()
    return pd.DataFrame(rows)


def show(name: str, values: pd.Series) -> None:
    """Mean over cohorts with its 95% interval, t over cohorts."""
    mean, n = values.mean(), len(values)
    half = stats.t.ppf(0.975, n - 1) * values.std() / np.sqrt(n)
    sys.stdout.write(f"  {name}: {mean:.3f} +- {half:.3f}\n")


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
        table = measured(lambda seed: survival(n, seed, *how, with_bare=options.bare), seeds)
        sys.stdout.write(f"survival, {n} patients, {len(seeds)} cohorts, C-index (IPCW)\n")
        for name in table:
            show(name, table[name])
        for name in table.columns[1:]:
            show(f"oracle minus {name} (goal: at most .03)", table["oracle"] - table[name])
    if options.only != "survival":
        n = options.ordinal_patients
        table = measured(lambda seed: ordinal(n, seed, *how), seeds)
        sys.stdout.write(f"ordinal, {n} patients, {len(seeds)} cohorts\n")
        for name in table:
            show(name, table[name])
        for name in ("AUROC >= VGPR", "concordance"):
            gain = table[f"{name}, ordinal"] - table[f"{name}, binary"]
            show(f"{name}, ordinal minus binary", gain)


if __name__ == "__main__":
    main()
