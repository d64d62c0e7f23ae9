"""Real cohorts as files for `heads.py`: every fold's latents and baselines.

Response to checkpoint blockade in melanoma, folds by patient; tissue, and early against later
samples, of children after CAR T cells. Where the label is where or when a sample was taken, tokens
say neither: they would give it away.

    RECART_REAL_DATA=<folder> python benchmarks/heads_real.py --folder cache --repeats 3
"""

from __future__ import annotations

import argparse
import sys
import tempfile
import time
import warnings
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from heads_cache import cached_fold
from heads_cohorts import CachedCohort, cohort_path, save_cohort

from recart.config.build import build
from recart.config.compose import compose
from recart.data.bags import with_blocks
from recart.data.folds import PatientColumns
from recart.data.split import members
from recart.training.cohort_setup import PreparedCohort, prepare_cohort

_CARPALL = ("experiment=carpall_tissue", "data/receptors=none", "features.n_genes=500")
_LATER = (
    *_CARPALL,
    *("data.endpoint=timepoint_bin", "data.positive=[Early]", "data.negative=[Mid,Late]"),
    "data.exclude=[Product]",
)
COHORTS = {
    "melanoma_response": (("experiment=melanoma_response",), 5, False),
    "carpall_tissue": (_CARPALL, 3, True),
    "carpall_time": (_LATER, 3, True),
}


def cached(name: str, repeats: int, epochs: int) -> CachedCohort:
    """The cohort with the folds of some repeats."""
    overrides, folds, hidden = COHORTS[name]
    length = (f"training.epochs={epochs}", f"training.warmup_epochs={epochs // 4}")
    dealt = (f"data.folds.k={folds}", f"data.folds.repeats={repeats}")
    config = compose([*overrides, *length, *dealt, "trainer.accelerator=cpu"])
    with tempfile.TemporaryDirectory() as folder:
        prepared = prepare_cohort(config.data, Path(folder), lambda _: None)
        return _folds(name, prepared, config, hidden)


def _folds(name: str, prepared: PreparedCohort, config: Any, hidden: bool) -> CachedCohort:
    store, table = prepared.store, prepared.bags.table
    labelled = table[table["label"] >= 0]
    split = build(config.data.folds).split(
        labelled["patient"].to_numpy(),
        labelled["label"].to_numpy(),
        config.seed,
        list(store.patients.index),
        PatientColumns(samples=store.samples, patients=store.patients),
    )
    prepared = replace(prepared, bags=with_blocks(prepared.bags, split.block_of))
    made = []
    for member in members(split):
        start = time.process_time()
        made.append(cached_fold(config, prepared, member))
        spent = time.process_time() - start
        sys.stdout.write(f"{name} {member.name} epoch {made[-1]['epoch']} {spent:.0f} CPU s\n")
        sys.stdout.flush()
    shared = [fold.pop("shared") for fold in made][-1]
    if hidden:
        _hide(shared)
    return CachedCohort(
        mechanism=name,
        patients=int(labelled["patient"].nunique()),
        strength=0.0,
        seed=int(config.seed),
        labels=table["label"].to_numpy(),
        bags=shared,
        folds=made,
    )


def _hide(shared: dict[str, Any]) -> None:
    """Leave of each token its CAR status."""
    plain = [("", 0, "", car) for _, _, _, car in shared["tokens"]]
    kept = list(dict.fromkeys(plain))
    new = np.array([kept.index(token) for token in plain], dtype=np.int16)
    shared["token_of_cell"] = [new[codes] for codes in shared["token_of_cell"]]
    shared["tokens"] = kept


def main() -> None:
    """Make the files of the named cohorts that are not there yet."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--folder", type=Path, required=True)
    parser.add_argument("--repeats", type=int, default=10)
    parser.add_argument("--epochs", type=int, default=60)
    parser.add_argument("--cohorts", nargs="+", default=list(COHORTS), choices=list(COHORTS))
    options = parser.parse_args()
    torch.set_num_threads(1)
    warnings.simplefilter("ignore")
    for name in options.cohorts:
        if not list(options.folder.glob(f"{name}-n*.pt")):
            cohort = cached(name, options.repeats, options.epochs)
            save_cohort(cohort, cohort_path(options.folder, name, cohort.patients, 0.0, 0))


if __name__ == "__main__":
    main()
