"""Claim: a model maps patients of another laboratory without training, up to a known limit.

Members of a cross-validation of simulated patients predict new simulated patients of known response
as `embed.py` does, the mean over members: first with everything measured, then with genes hidden
(at random, or those of most counts), antibodies hidden, modalities missing, fewer counts a cell,
and batches that no member knows. Of each: how far the mean latent of a patient moves, over the
median distance between patients; median change of the predicted probability; patients that change
sides; AUROC. Hidden is not zero: the columns are not there.

Goals: with 5 % of genes hidden a median change of at most .03 and at most 2 % of patients change
sides; with half the antibodies hidden at most .03 of AUROC lost. The share of hidden genes from
which more than 10 % change sides is where a prediction is to be refused.

    python benchmarks/mapping.py [--cohorts 1] [--epochs 30] [--patients 40] [model.masking.genes=0]
"""

from __future__ import annotations

import argparse
import re
import sys
import tempfile
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

import anndata as ad
import numpy as np
import pandas as pd
from scipy import sparse
from scipy.spatial.distance import pdist
from scipy.special import expit
from sklearn.metrics import roc_auc_score

from recart.config.compose import compose
from recart.data.bag_features import bag_features
from recart.data.features import BoundFeatures, bind
from recart.data.simulate import SimulatedCohort
from recart.data.store import CohortStore
from recart.training.bag_latents import bag_latents
from recart.training.cohort_setup import PreparedCohort, prepare_cohort, with_bags
from recart.training.launch import load_members, train_run
from recart.training.member_file import LoadedMember
from recart.training.run_directory import RunDirectory

Floats = np.ndarray[Any, np.dtype[np.float64]]
Change = Callable[[CohortStore], CohortStore]
GENES = (0.01, 0.02, 0.05, 0.10, 0.20, 0.40, 0.60, 0.80)
DRAWS = 3  # of hidden features


@dataclass(frozen=True)
class Seen:
    """New patients as members see them: mean latents (m n l), probability (n), who is positive."""

    place_mnl: Floats
    probability: Floats
    called: np.ndarray[Any, np.dtype[np.bool_]]


def without_genes(store: CohortStore, share: float, seed: int, most: bool) -> CohortStore:
    """Without a share of the genes: drawn, or those that have `most` counts."""
    rng = np.random.default_rng(seed)
    hidden = rng.permutation(len(store.genes))
    if most:
        hidden = np.argsort(-np.asarray(store.rna[:].sum(axis=0)).ravel())
    kept = np.sort(hidden[round(share * len(hidden)) :])
    rna = store.rna[:][:, kept]
    total = np.asarray(rna.sum(axis=1)).ravel()
    return replace(
        store,
        rna=rna,
        genes=tuple(store.genes[g] for g in kept),
        gene_ids=(),
        cells=store.cells.assign(n_counts=total, n_genes=np.diff(rna.indptr)),
    )


def without_proteins(store: CohortStore, share: float, seed: int) -> CohortStore:
    """Without a share of the antibodies; 1 leaves no protein at all."""
    kept = np.random.default_rng(seed).permutation(len(store.proteins))
    kept = np.sort(kept[round(share * len(kept)) :])
    protein = None if store.protein is None else np.asarray(store.protein[:])[:, kept]
    return replace(
        store,
        protein=protein if len(kept) else None,
        proteins=tuple(store.proteins[a] for a in kept),
        protein_measured=store.protein_measured[:, kept],
    )


def without_receptors(store: CohortStore) -> CohortStore:
    """Receptors were not sequenced."""
    cells = store.cells.assign(clone=np.int32(-1))
    samples = store.samples.assign(has_receptor=False)
    return replace(store, cells=cells, samples=samples, receptor=None, clones=None)


def thinned(store: CohortStore, share: float, seed: int) -> CohortStore:
    """Each count is kept with probability `share`, of RNA and protein alike."""
    rng = np.random.default_rng(seed)
    rna: sparse.csr_matrix = store.rna[:].copy()
    rna.data = rng.binomial(rna.data.astype(np.int64), share).astype(rna.data.dtype)
    rna.eliminate_zeros()
    protein = store.protein
    if protein is not None:
        counts = np.asarray(protein[:]).astype(np.int64)
        protein = rng.binomial(counts, share).astype(np.int32)
    total = np.asarray(rna.sum(axis=1)).ravel()
    cells = store.cells.assign(n_counts=total, n_genes=np.diff(rna.indptr))
    return replace(store, rna=rna, protein=protein, cells=cells)


def unseen_batches(store: CohortStore) -> CohortStore:
    """Batches that no member knows."""
    return replace(store, samples=store.samples.assign(batch="elsewhere"))


def changes() -> Iterator[tuple[str, list[Change]]]:
    """What other laboratories lack, and several draws of it."""
    for share in GENES:
        draws = [partial(without_genes, share=share, seed=s, most=False) for s in range(DRAWS)]
        yield f"{share:.0%} of genes hidden", draws  # type: ignore[misc]
    for share in (0.01, 0.05, 0.20):
        most: Change = partial(without_genes, share=share, seed=0, most=True)
        yield f"{share:.0%} of genes, the most abundant", [most]
    for share in (0.1, 0.25, 0.5, 0.75):
        panels = [partial(without_proteins, share=share, seed=s) for s in range(DRAWS)]
        yield f"{share:.0%} of antibodies hidden", panels  # type: ignore[misc]
    yield "no protein", [partial(without_proteins, share=1.0, seed=0)]
    yield "no receptors", [without_receptors]
    yield (
        "no protein, no receptors",
        [lambda store: without_receptors(without_proteins(store, 1.0, 0))],
    )
    for share in (0.5, 0.2):
        yield f"{share:.0%} of the counts", [partial(thinned, share=share, seed=0)]
    yield "unseen batches", [unseen_batches]


def see(members: Sequence[LoadedMember], cohort: PreparedCohort, store: CohortStore) -> Seen:
    """As `embed.py`: every member sees every bag, and their log-odds are averaged."""
    changed = with_bags(store, cohort.key, DATA)
    bags = replace(changed.bags, reading=cohort.bags.reading)  # named genes, hidden or not
    extras = bag_features(store, bags)
    rows = range(len(bags))
    places, logits, calls = [], [], []
    for member in members:
        bound: BoundFeatures = bind(member.features, store)
        seen = bag_latents(member.stack, bound, store, bags, rows, extras)
        own = member.rule.log_odds(member.head.logits(seen))
        places.append(np.stack([z.mean(0, dtype=np.float64) for z in seen.latents]))
        logits.append(own)
        calls.append(expit(own) > member.rule.threshold)
    probability = expit(np.mean(logits, axis=0))
    return Seen(np.stack(places), probability, np.mean(calls, axis=0) > 0.5)


def shift(whole: Seen, other: Seen) -> float:
    """Median way of a patient's mean latent over the median distance between patients."""
    ratios = [
        np.median(np.linalg.norm(a - b, axis=1)) / np.median(pdist(a))
        for a, b in zip(whole.place_mnl, other.place_mnl, strict=True)
    ]
    return float(np.mean(ratios))


def simulated(options: argparse.Namespace, patients: int, seed: int, folder: Path) -> list[str]:
    """Settings that read a simulated cohort; without its proteins from a file."""
    reader = {
        "patients": patients,
        "genes": options.genes,
        "cells_per_sample": options.cells,
        "strength": options.strength,
        "seed": seed,
    }
    if not options.no_protein:
        return ["data=simulated", *(f"data.reader.{key}={value}" for key, value in reader.items())]
    path = folder / f"rna{seed}.h5ad"
    if not path.exists():
        cohort = SimulatedCohort(**reader).read()
        obs = cohort.cells.join(cohort.samples, on="sample")
        obs["response"] = cohort.patients["response"].reindex(obs["patient"]).to_numpy()
        folder.mkdir(parents=True, exist_ok=True)
        ad.AnnData(cohort.rna, obs=obs, var=cohort.genes[[]]).write_h5ad(path)
    labels = ["data.endpoint=response", "data.positive=[CR]", "data.negative=[nonCR]"]
    usual = ["data.decision_day=1", "data.car_genes=[CAR-BCMA]", "data/receptors=none"]
    return ["data=h5ad", f"data.path={path}", *labels, *usual]


def measure(seed: int, options: argparse.Namespace, folder: Path) -> list[dict[str, Any]]:
    """Train on one cohort, predict another; a row for each change."""
    global DATA
    settings = [
        "data/receptors=physicochemical",
        "data.folds.repeats=1",
        "data.limits.min_cells=5",
        "executor=in_process",
        f"training.epochs={options.epochs}",
        f"training.warmup_epochs={options.epochs // 3}",
        f"paths.prepared={folder / 'prepared'}",
        f"seed={seed}",
        *options.more,
    ]
    run = folder / "run"
    old = simulated(options, options.patients, seed, folder)
    train_run(compose([*settings, *old, f"paths.run={run}"]))
    members = load_members(RunDirectory.open(run))
    DATA = compose([*settings, *simulated(options, options.new, seed + 1000, folder)]).data
    cohort = prepare_cohort(DATA, folder / "prepared", lambda _: None)
    label = cohort.bags.table["label"].to_numpy()
    whole = see(members, cohort, cohort.store)
    rows = [_row("everything", label, whole, [whole])]
    for name, draws in changes():
        if not re.search(options.only, name):
            continue
        rows.append(
            _row(name, label, whole, [see(members, cohort, own(cohort.store)) for own in draws])
        )
    return [{**row, "cohort": seed} for row in rows]


def _row(name: str, label: Any, whole: Seen, draws: Sequence[Seen]) -> dict[str, Any]:
    change = [np.abs(own.probability - whole.probability) for own in draws]
    auroc = [roc_auc_score(label, own.probability) for own in draws]
    return {
        "change": name,
        "shift": float(np.mean([shift(whole, own) for own in draws])),
        "median change": float(np.median(change)),
        "flips": float(np.mean([own.called != whole.called for own in draws])),
        "auroc": float(np.mean(auroc)),
        "lost": float(roc_auc_score(label, whole.probability) - np.mean(auroc)),
    }


DATA: Any = None


def main() -> None:
    """Print a table, the goals, and where to refuse."""
    parser = argparse.ArgumentParser(description=__doc__)
    for name, value in (
        ("cohorts", 1),
        ("first", 0),
        ("patients", 40),
        ("new", 60),
        ("epochs", 30),
    ):
        parser.add_argument(f"--{name}", type=int, default=value)
    for name, value in (("genes", 600), ("cells", 150)):
        parser.add_argument(f"--{name}", type=int, default=value)
    parser.add_argument("--strength", type=float, default=1.0)
    parser.add_argument("--no-protein", action="store_true", help="of RNA alone, in training too")
    parser.add_argument("--only", default="", help="changes whose name has this in it")
    parser.add_argument("--folder", type=Path, help="keeps the runs, and goes on with them")
    parser.add_argument("more", nargs="*", help="further settings of the training")
    options = parser.parse_args()
    rows: list[dict[str, Any]] = []
    for seed in range(options.first, options.first + options.cohorts):
        with tempfile.TemporaryDirectory() as folder:
            own = Path(folder) if options.folder is None else options.folder / str(seed)
            rows += measure(seed, options, own)
    table = pd.DataFrame(rows)
    mean = table.groupby("change", sort=False).mean(numeric_only=True).drop(columns="cohort")
    sys.stdout.write(mean.to_string(float_format=lambda x: f"{x:.3f}") + "\n")
    if not options.only:
        sys.stdout.write(_goals(mean))


def _goals(mean: pd.DataFrame) -> str:
    flips = {share: mean.loc[f"{share:.0%} of genes hidden", "flips"] for share in GENES}
    five, half = mean.loc["5% of genes hidden"], mean.loc["50% of antibodies hidden"]
    return (
        f"5 % of genes hidden: median change {five['median change']:.3f} (goal .03), "
        f"flips {five['flips']:.1%} (goal 2 %)\n"
        f"half the antibodies hidden: AUROC lost {half['lost']:.3f} (goal .03)\n"
        f"flips pass 10 % at a share of hidden genes of {_passes(flips, 0.1)}\n"
    )


def _passes(flips: dict[float, float], level: float) -> str:
    """The share where flips pass a level, between those that were measured."""
    shares, values = np.array(list(flips)), np.array(list(flips.values()))
    above = np.flatnonzero(values > level)
    if not len(above):
        return f"more than {shares[-1]:.2f}"
    at = above[0]
    if at == 0:
        return f"less than {shares[0]:.2f}"
    weight = (level - values[at - 1]) / (values[at] - values[at - 1])
    return f"{shares[at - 1] + weight * (shares[at] - shares[at - 1]):.2f}"


if __name__ == "__main__":
    main()
