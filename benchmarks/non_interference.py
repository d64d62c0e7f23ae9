"""Claim: what becomes of held-out patients changes no byte of what a member fits.

Every fold of the first repeats of three shipped pipelines is trained as it is, then once after each
of four manipulations of its held-out patients, as `evaluate.py audit=full` does, with the split of
`train.py`, at small settings. Pipelines on real data need RECART_REAL_DATA and are left out without
it; folds are taken from further repeats where a pipeline has fewer than five of them.

    python benchmarks/non_interference.py [--folds 5] [--epochs 3] [--cells 100]
"""

from __future__ import annotations

import argparse
import os
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path

from contenders import quiet

from recart.config.build import build
from recart.config.compose import compose
from recart.data.folds import PatientColumns
from recart.data.part_of_store import first_cells
from recart.data.split import members
from recart.evaluation.audit.manipulations import MANIPULATIONS
from recart.evaluation.audit.non_interference import Interference, interferences
from recart.evaluation.audit.outcome import Outcome
from recart.evaluation.audit.retraining import Retraining
from recart.training.cohort_setup import prepare_cohort
from recart.training.progress import say
from recart.training.run_directory import RunDirectory

PIPELINES = {
    "simulated default": ["data.reader.cells_per_sample=120"],
    "carpall_tissue": ["experiment=carpall_tissue"],
    "melanoma_response": ["experiment=melanoma_response"],
}
REAL = ("carpall_tissue", "melanoma_response")


def examine(overrides: list[str], folds: int, epochs: int, cells: int) -> list[Interference]:
    """All retrainings of one pipeline."""
    with tempfile.TemporaryDirectory() as folder:
        config = compose(
            [*overrides, f"paths.run={folder}/run", f"paths.prepared={folder}/prepared"]
        )
        run = RunDirectory.create(Path(folder) / "run", config, {"seed": config.seed})
        cohort = prepare_cohort(run.config.data, Path(config.paths.prepared), say)
        store = first_cells(cohort.store, cells)
        labelled = cohort.bags.table[cohort.bags.table["label"] >= 0]
        split = build(run.config.data.folds).split(
            labelled["patient"].to_numpy(),
            labelled["label"].to_numpy(),
            run.config.seed,
            list(store.patients.index),
            PatientColumns(samples=store.samples, patients=store.patients),
        )
        outcome = Outcome.of(store, run.config.data, split)
        chosen = members(split)[:folds]
        train = Retraining.of(run, epochs)
        return list(interferences(train, store, outcome, chosen))


def main() -> None:
    """One line a pipeline and manipulation, then the count."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--folds", type=int, default=5)
    parser.add_argument("--epochs", type=int, default=3)
    parser.add_argument("--cells", type=int, default=100, help="of each sample, at most")
    given = parser.parse_args()
    quiet()
    everything: list[Interference] = []
    for name, overrides in PIPELINES.items():
        if name in REAL and not os.environ.get("RECART_REAL_DATA"):
            sys.stdout.write(f"{name}: left out, RECART_REAL_DATA is not set\n")
            continue
        started = time.monotonic()
        found = examine(overrides, given.folds, given.epochs, given.cells)
        everything += found
        spent = time.monotonic() - started
        sys.stdout.write(f"{name}: {len(found)} retrainings, {spent:.0f} s\n")
        for manipulation in MANIPULATIONS:
            own = [one for one in found if one.manipulation == manipulation]
            changed = Counter(artefact for one in own for artefact in one.differing)
            words = ", ".join(f"{artefact} in {n}" for artefact, n in changed.items()) or "none"
            failed = sum(bool(one.failure) for one in own)
            sys.stdout.write(
                f"  {manipulation}: {len(own)} folds, {own[0].n_artefacts} artefacts each, "
                f"differing: {words}{f'; {failed} failed' * bool(failed)}\n"
            )
        sys.stdout.flush()
    changed_runs = sum(bool(one.differing) for one in everything)
    sys.stdout.write(f"{changed_runs} of {len(everything)} retrainings with a differing byte\n")


if __name__ == "__main__":
    main()
