"""What a bundle loses: it holds no names of batches, so those of its own cohort are new to it.

Members of a cross-validation predict their held-out patients twice: with the batches that they were
trained with, as the run does, and with the same batches unknown, as its bundle does. Of each: how
far the mean latent of a patient moves, over the median distance between patients; change of the
predicted probability; patients that change sides; AUROC, of the scores standardised within folds.

    python benchmarks/known_batches.py [--cohorts 2] [--epochs 15] [--patients 60]
"""

from __future__ import annotations

import argparse
import sys
import tempfile
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
from scipy.spatial.distance import pdist
from scipy.special import expit
from sklearn.metrics import roc_auc_score

from recart.config.compose import compose
from recart.data.features import bind
from recart.training.bag_latents import bag_latents
from recart.training.cohort_setup import prepare_cohort
from recart.training.launch import load_members, train_run
from recart.training.run_directory import RunDirectory


def measure(seed: int, options: argparse.Namespace, folder: Path) -> pd.DataFrame:
    """One row a held-out patient."""
    settings = [
        "data=simulated",
        f"data.reader.patients={options.patients}",
        "data.reader.genes=600",
        "data.reader.cells_per_sample=80",
        "data.reader.strength=1.0",
        "data/receptors=physicochemical",
        "data.folds.k=3",
        "data.folds.repeats=1",
        "data.limits.min_cells=5",
        "executor=in_process",
        f"training.epochs={options.epochs}",
        f"training.warmup_epochs={options.epochs // 3}",
        f"paths.prepared={folder / 'prepared'}",
        f"paths.run={folder / 'run'}",
        f"seed={seed}",
    ]
    config = compose(settings)
    train_run(config)
    cohort = prepare_cohort(config.data, folder / "prepared", lambda _: None)
    store, bags = cohort.store, cohort.bags
    names = store.patients.index[bags.table["patient"].to_numpy()]
    parts = []
    for member in load_members(RunDirectory.open(folder / "run")):
        rows = np.flatnonzero(names.isin(member.held_out) & (bags.table["label"] >= 0))
        bound = bind(member.features, store)
        unknown = replace(bound, batch_of_sample=np.full(len(store.samples), -1))
        ways = {"known": bound, "unknown": unknown}
        told = {"cohort": seed, "member": member.name, "y": bags.table["label"].iloc[rows]}
        places = {}
        for name, own in ways.items():
            seen = bag_latents(member.stack, own, store, bags, rows, cohort.extras)
            log_odds = member.rule.log_odds(member.head.logits(seen))
            told[name] = expit(log_odds)
            told[f"{name} called"] = told[name] > member.rule.threshold
            told[f"{name} score"] = (log_odds - log_odds.mean()) / log_odds.std()
            places[name] = np.stack([z.mean(axis=0, dtype=np.float64) for z in seen.latents])
        way = np.linalg.norm(places["known"] - places["unknown"], axis=1)
        told["shift"] = way / np.median(pdist(places["known"]))
        parts.append(pd.DataFrame(told))
    return pd.concat(parts)


def main() -> None:
    """Print what changes, over all held-out patients."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    for name, value in (("cohorts", 2), ("epochs", 15), ("patients", 60)):
        parser.add_argument(f"--{name}", type=int, default=value)
    options = parser.parse_args()
    tables = []
    for seed in range(options.cohorts):
        with tempfile.TemporaryDirectory() as folder:
            tables.append(measure(seed, options, Path(folder)))
        table = pd.concat(tables)
        change = (table["known"] - table["unknown"]).abs()
        auroc = {
            way: np.mean(
                [roc_auc_score(own["y"], own[f"{way} score"]) for _, own in table.groupby("cohort")]
            )
            for way in ("known", "unknown")
        }
        sys.stdout.write(
            f"{len(table)} held-out patients of {len(tables)} cohorts: shift "
            f"{table['shift'].median():.3f} (95 %: {table['shift'].quantile(0.95):.3f}), change of "
            f"probability {change.median():.3f} (95 %: {change.quantile(0.95):.3f}, most "
            f"{change.max():.3f}), change sides "
            f"{(table['known called'] != table['unknown called']).mean():.1%}, AUROC "
            f"{auroc['known']:.3f} known, {auroc['unknown']:.3f} unknown\n"
        )
        sys.stdout.flush()


if __name__ == "__main__":
    main()
