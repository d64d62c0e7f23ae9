"""A cohort with the structure of the target study, and the truth behind it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, replace
from pathlib import Path

import numpy as np
import pandas as pd

from recart.data.cohort import Cohort
from recart.data.readers.reader import Reader
from recart.data.simulate.chains import draw_chains
from recart.data.simulate.clones import assign_clones
from recart.data.simulate.composition import draw_populations, fractions_of
from recart.data.simulate.design import StudyDesign
from recart.data.simulate.effects import Effects
from recart.data.simulate.genes import build_genes, fewest_genes
from recart.data.simulate.latents import draw_latents
from recart.data.simulate.outcomes import Outcomes
from recart.data.simulate.panel import PANEL
from recart.data.simulate.populations import ANNOTATIONS
from recart.data.simulate.protein import draw_protein
from recart.data.simulate.rna import draw_rna
from recart.data.simulate.states import draw_states
from recart.data.simulate.truth import Truth, tell_truth
from recart.problems import Problem, Problems

__all__ = ["SimulatedCohort"]


class SimulatedCohort(Reader):
    """Simulates CAR T patients: RNA, 61 surface proteins and receptors before and after infusion.

    The reader of simulated data: it stands where a file reader stands. Everything follows from its
    arguments: the same arguments give the same cohort, bit by bit. Cohorts of different seeds share
    genes, panel and cell populations, and no patient. Cells of a sample are in random order.

    Parameters
    ----------
    patients
        Number of patients; each has one sample before infusion and up to two after it.
    cells_per_sample
        Mean number of cells of a sample.
    genes
        Number of genes, markers first: with 1,000 genes about 500 UMIs per cell, with 4,000 about
        as many as 10x PBMC has in its 4,000 most variable genes.
    seed
        Seed of patients, cells and counts, at least 0; part of the patient ids.
    strength
        Multiplies every effect: 0 is a cohort in which no cell knows the response, 1 one with
        effects as published, which five patients a group have inflated.
    effects
        Strength of each mechanism.
    design
        Samples, products, sites and batches.
    outcomes
        Levels of response, survival and toxicity in place of response or none; None: that.

    Raises
    ------
    InputError
        If an argument is out of range.
    """

    def __init__(
        self,
        patients: int = 40,
        cells_per_sample: int = 200,
        genes: int = 1000,
        seed: int = 0,
        strength: float = 0.5,
        effects: Effects | None = None,
        design: StudyDesign | None = None,
        outcomes: Outcomes | None = None,
    ) -> None:
        self.patients = patients
        self.cells_per_sample = cells_per_sample
        self.genes = genes
        self.seed = seed
        self.strength = strength
        self.effects = Effects() if effects is None else effects
        self.design = StudyDesign() if design is None else design
        self.outcomes = outcomes
        problems = Problems()
        least = {"patients": 2, "cells_per_sample": 1, "genes": fewest_genes()}
        given = {name: getattr(self, name) for name in (*least, "seed", "strength")}
        given |= {f"effects.{name}": value for name, value in asdict(self.effects).items()}
        for name, value in given.items():
            # Written so that NaN fails as well.
            if not value >= least.get(name, 0):
                problems.error(
                    Problem(
                        code="E-SIM-001",
                        what=f"{name} is {value}",
                        mend=f"give at least {least.get(name, 0)}",
                    )
                )
        problems.raise_if_any()

    def files(self) -> Sequence[Path]:
        """None: the arguments say everything."""
        return ()

    def read(self) -> Cohort:
        """Simulate the cohort, and keep the truth back."""
        return self.simulate()[0]

    def simulate(self) -> tuple[Cohort, Truth]:
        """Simulate the cohort, and say which cells, markers and clones carry the response."""
        seed = self.seed
        patients = self.design.draw_patients(self.patients, seed)
        samples = self.design.draw_samples(patients, seed)
        told = self.outcomes
        propensity = None if told is None else told.propensity(patients, seed)
        latents = draw_latents(patients, samples, self.effects, self.strength, seed, propensity)
        if told is not None and propensity is not None:
            patients = told.write(patients, propensity, seed)
        fractions = fractions_of(samples, latents, seed)
        sample, population = draw_populations(fractions, self.cells_per_sample, seed)
        states = draw_states(samples, sample, population, latents, seed)
        owner = patients.index.get_indexer(pd.Index(samples["patient"])).astype(np.int32)
        clones = assign_clones(owner[sample], population, latents, seed)
        genes = build_genes(self.genes)

        first = np.searchsorted(sample, sample)
        names = samples.index.to_numpy()[sample]
        numbers = np.arange(sample.size) - first + 1
        cells = pd.Index([f"{s}_{i:05d}" for s, i in zip(names, numbers, strict=True)], name="cell")
        annotation = np.array(ANNOTATIONS, dtype=object)[population]
        cohort = Cohort(
            rna=draw_rna(samples, sample, population, fractions, states, genes, seed),
            genes=pd.DataFrame(index=pd.Index(genes.names, name="gene")),
            cells=pd.DataFrame({"sample": names, "cell_type": annotation}, index=cells),
            samples=samples.drop(columns="context"),
            patients=patients.drop(columns=["batch", "site"]),
            protein=draw_protein(samples, sample, population, states, seed),
            proteins=[antibody.name for antibody in PANEL],
            protein_measured=np.ones((len(samples), len(PANEL)), dtype=np.bool_),
            chains=draw_chains(clones, cells, seed),
            source=dict.fromkeys(("rna", "protein", "chains", "samples", "patients"), "simulator"),
        )
        effective = Effects(**{k: self.strength * v for k, v in asdict(self.effects).items()})
        context = samples["context"].to_numpy()[sample]
        truth = tell_truth(cells, context, population, clones, latents, effective)
        if propensity is not None:
            truth = replace(truth, patients=truth.patients.assign(propensity=propensity))
        return cohort, truth
