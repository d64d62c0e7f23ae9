"""A small cohort in a file, as a user brings it, and a run trained on it."""

from __future__ import annotations

import shutil
import warnings
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

import anndata as ad
import numpy as np
import pandas as pd
import pytest

from recart.config.build import build, build_each
from recart.config.compose import compose
from recart.data.cohort import Cohort
from recart.data.simulate import SimulatedCohort
from recart.evaluation.launch import Evaluated, evaluate_run
from recart.training.launch import train_run
from recart.training.run_directory import RunDirectory

# Ids that are looked for in everything a run writes; no other word contains them.
PATIENT, SAMPLE, BATCH = "QQPERSON", "QQTUBE", "QQLANE"
# as little as shows that each part works
SMALL = [
    "model.latent=4",
    "model.hidden=16",
    "features.n_genes=120",
    "training.epochs=2",
    "training.warmup_epochs=1",
    "head.prototypes=4",
    "head.inner_folds=2",
]


@dataclass(frozen=True)
class Place:
    """Where a test's cohort and runs lie, and what makes more of them."""

    folder: Path
    cohort: Path
    secrets = (PATIENT, SAMPLE, BATCH)

    def settings(self, run: str, *more: str, data: Path | None = None) -> list[str]:
        """Overrides of a small training on the cohort, or on another file."""
        return [
            "data=h5mu",
            f"data.path={data or self.cohort}",
            "data.endpoint=response",
            "data.positive=[CR]",
            "data.negative=[nonCR]",
            "data.decision_day=1",
            "data.car_genes=[CAR-BCMA]",
            "data.limits.min_cells=5",
            "data/receptors=physicochemical",
            "data.folds.k=3",
            "data.folds.repeats=1",
            f"paths.run={self.folder / run}",
            f"paths.prepared={self.folder / 'prepared'}",
            *SMALL,
            *more,
        ]

    def simulate(self, patients: int, seed: int) -> Cohort:
        """About 60 cells before infusion of each patient, and as many after it."""
        return simulate(patients, seed)

    def take(self, cohort: Cohort, patients: list[str]) -> Cohort:
        """Only these patients, their cells in the order they were in."""
        return take(cohort, patients)

    def shuffled(self, cohort: Cohort) -> Cohort:
        """Its cells in another order."""
        order = np.random.default_rng(0).permutation(len(cohort.cells))
        assert cohort.protein is not None
        return replace(
            cohort,
            rna=cohort.rna[order],
            cells=cohort.cells.iloc[order],
            protein=cohort.protein[order],
        )

    def write(self, cohort: Cohort, name: str) -> Path:
        """Write a cohort as MuData."""
        return write_h5mu(cohort, self.folder / name)


def named(cohort: Cohort) -> Cohort:
    """The cohort with patients, samples and batches named so that they can be searched for."""
    patients = {old: f"{PATIENT}-{old}" for old in cohort.patients.index}
    samples = {old: f"{SAMPLE}-{old}" for old in cohort.samples.index}
    cohort.patients.index = cohort.patients.index.map(patients)
    cohort.samples["patient"] = cohort.samples["patient"].map(patients)
    cohort.samples.index = cohort.samples.index.map(samples)
    cohort.samples["batch"] = f"{BATCH}-" + cohort.samples["batch"].astype(str)
    cohort.cells["sample"] = cohort.cells["sample"].map(samples)
    return cohort


def write_h5mu(cohort: Cohort, path: Path) -> Path:
    """Write a cohort as MuData: `rna`, `prot`, and receptors as columns of `obs`."""
    import mudata

    obs = cohort.cells.join(cohort.samples, on="sample")
    obs["response"] = cohort.patients["response"].reindex(obs["patient"]).to_numpy()
    if cohort.chains is not None:
        fields = {"junction_aa": "cdr3", "v_call": "v_gene", "j_call": "j_gene"}
        for locus, rows in cohort.chains.groupby("locus"):
            first = rows.drop_duplicates("cell").set_index("cell").reindex(obs.index)
            for field, name in fields.items():
                obs[f"{locus}_{name}"] = first[field]
    parts = {"rna": ad.AnnData(cohort.rna, obs=obs, var=cohort.genes.copy())}
    if cohort.protein is not None:
        names = pd.DataFrame(index=pd.Index(cohort.proteins, dtype=object))
        parts["prot"] = ad.AnnData(cohort.protein, obs=obs[[]].copy(), var=names)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # mudata's and pandas' notes on strings
        mudata.MuData(parts).write_h5mu(path)
    return path


def take(cohort: Cohort, patients: list[str]) -> Cohort:
    samples = cohort.samples[cohort.samples["patient"].isin(patients)]
    keep = cohort.cells["sample"].isin(samples.index).to_numpy()
    cells = cohort.cells[keep]
    chains = cohort.chains
    return Cohort(
        rna=cohort.rna[np.flatnonzero(keep)],
        genes=cohort.genes,
        cells=cells,
        samples=samples,
        patients=cohort.patients.loc[patients],
        protein=None if cohort.protein is None else cohort.protein[keep],
        proteins=cohort.proteins,
        chains=None if chains is None else chains[chains["cell"].isin(cells.index)],
    )


def simulate(patients: int, seed: int) -> Cohort:
    reader = SimulatedCohort(
        patients=patients, cells_per_sample=60, genes=170, seed=seed, strength=1.0
    )
    return named(reader.read())


@pytest.fixture(scope="session")
def new_patients() -> Cohort:
    """Patients that no run has seen, in a batch that none knows."""
    return simulate(4, seed=9)


@pytest.fixture(scope="session")
def place(tmp_path_factory: pytest.TempPathFactory) -> Place:
    """A folder with `cohort.h5mu`, 16 patients."""
    folder = tmp_path_factory.mktemp("study")
    return Place(folder, write_h5mu(simulate(16, seed=3), folder / "cohort.h5mu"))


@pytest.fixture(scope="session")
def trained(place: Place) -> Path:
    """The folder of a trained run; tests that change it work on a copy."""
    train_run(compose(place.settings("trained")))
    return place.folder / "trained"


@pytest.fixture(scope="session")
def trusted(trained: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A copy of the trained run, evaluated."""
    from recart.inference.trust.fit import fit_trust, write_trust

    folder = tmp_path_factory.mktemp("trusted") / "run"
    shutil.copytree(trained, folder)
    run = RunDirectory.open(folder)
    policy = build(compose([f"run={folder}"], "evaluate").refusal)
    write_trust(fit_trust(evaluate_run(run), policy), run)
    return folder


@pytest.fixture(scope="session")
def run(trained: Path, tmp_path_factory: pytest.TempPathFactory) -> RunDirectory:
    """A copy of the trained run, to be evaluated."""
    folder = tmp_path_factory.mktemp("evaluated") / "run"
    shutil.copytree(trained, folder)
    return RunDirectory.open(folder)


@pytest.fixture(scope="session")
def evaluated(run: RunDirectory) -> Evaluated:
    """The run with audit, trust and report."""
    import torch

    from recart.inference.trust.fit import fit_trust, write_trust
    from recart.report.run_report import write_run_report

    config = compose([f"run={run.path}"], entry="evaluate")
    found = evaluate_run(run, build_each(config.audit))
    policy = build(config.refusal)
    # so small a cohort allows no prediction; whoever was in it is refused all the same
    lenient = replace(policy, rules={"in_training": policy.rules["in_training"]})
    write_trust(fit_trust(found, lenient), run)
    threads = torch.get_num_threads()
    write_run_report(found, run)
    assert torch.get_num_threads() == threads  # UMAP's numba would have set it to all cores
    return found


@pytest.fixture(scope="session")
def bundle(
    evaluated: Evaluated, run: RunDirectory, tmp_path_factory: pytest.TempPathFactory
) -> Path:
    """The bundle, in a place that nothing else is in."""
    from recart.inference.bundle.write import write_bundle

    path = tmp_path_factory.mktemp("elsewhere") / "released"
    assert not evaluated.audit.leaks
    write_bundle(evaluated, run, path, force=False)
    return path


@pytest.fixture(scope="session")
def lenient() -> list[str]:
    """Rules of refusal left out, so that so small a run as `trusted` predicts."""
    # what the model itself can't carry, and few cells
    names = ["claim", "few_training_patients", "cells"]
    # two epochs know little of what is usual
    names += ["latent", "rna", "protein", "composition"]
    return ["refusal=default", *(f"refusal.rules.{name}=null" for name in names)]


@pytest.fixture
def embed(trained: Path) -> Callable[[Cohort, Path], None]:
    """`embed(cohort, output)`: what `embed.py` does with a file of this cohort."""
    from recart.inference.launch import embed_run

    def run(cohort: Cohort, output: Path) -> None:
        path = write_h5mu(cohort, output.with_name(f"{output.stem}_input.h5mu"))
        settings = [f"run={trained}", f"data.path={path}", f"output={output}"]
        embed_run(compose([*settings, "data.limits.min_cells=5"], entry="embed"))

    return run
