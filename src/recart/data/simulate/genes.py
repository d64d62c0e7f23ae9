"""The genes: names, and what each population expresses. The same in every cohort."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Final

import numpy as np

from recart.data.simulate.markers import BACKGROUND, MARKERS, MITOCHONDRIAL, PROGRAMMES
from recart.data.simulate.populations import POPULATIONS, members_of
from recart.data.simulate.streams import stream

__all__ = ["CAR_GENE", "GeneModel", "build_genes", "fewest_genes"]

Floats = np.ndarray[Any, np.dtype[np.float64]]

CAR_GENE: Final = "CAR-BCMA"

# Seed of the biology. It does not follow the cohort's seed: two cohorts share their genes.
_BIOLOGY: Final = 20240801
# UMIs in a median cell of a marker outside its populations.
_OFF: Final = 0.02
# Background genes: log-normal UMIs in a median cell, so that about 91 % of counts are zero in a
# cohort of 4,000 genes, as in 10x PBMC.
_BACKGROUND_MEDIAN, _BACKGROUND_SD = 0.02, 1.7
# Log-normal gene overdispersion within a population.
_DISPERSION_MEDIAN, _DISPERSION_SD = 0.7, 0.6
# Log spread of a background gene between populations.
_POPULATION_SD: Final = 0.45


@dataclass(frozen=True)
class GeneModel:
    """Expression of every population.

    Attributes
    ----------
    names
        Genes; `CAR_GENE` is first.
    expression_kg
        (populations, genes) expected UMIs in a median cell with the RNA content of a T cell.
    dispersion
        (genes,) negative binomial overdispersion: variance = mean + dispersion * mean^2.
    programmes
        Columns of the genes of each programme.
    mitochondrial
        (genes,) True for mitochondrial genes.
    """

    names: tuple[str, ...]
    expression_kg: Floats
    dispersion: Floats
    programmes: dict[str, np.ndarray[Any, np.dtype[np.int64]]]
    mitochondrial: np.ndarray[Any, np.dtype[np.bool_]]


def _named() -> list[str]:
    marked = [gene for genes, _, _ in MARKERS for gene in genes.split()]
    return list(dict.fromkeys([CAR_GENE, *marked, *MITOCHONDRIAL.split()]))


def fewest_genes() -> int:
    """Count the markers, the mitochondrial genes and the CAR: every cohort has them."""
    return len(_named())


def build_genes(genes: int) -> GeneModel:
    """Build the first `genes` genes: markers, mitochondrial, named and numbered background.

    A cohort of fewer genes holds the same first genes as one of more, at the same level.
    """
    core = _named()
    named = list(dict.fromkeys([*core, *BACKGROUND.split()]))
    numbered = (f"GENE{i:04d}" for i in range(1, genes - len(named) + 1))
    names = (*named, *numbered)[:genes]
    column = {name: i for i, name in enumerate(names)}

    # One row of random numbers per gene, so that they do not depend on the number of genes.
    draw = stream(_BIOLOGY, "genes").standard_normal((genes, 2 + len(POPULATIONS)))
    level = _BACKGROUND_MEDIAN * np.exp(_BACKGROUND_SD * draw[:, 0])
    # Ribosomal and other housekeeping genes are what one sees most of.
    house = np.array([name in set(named) - set(core) for name in names])
    level[house] = np.exp(0.2 + 0.6 * draw[house, 0])
    expression_gk = level[:, None] * np.exp(_POPULATION_SD * draw[:, 2:])

    expression_gk[: len(core)] = _OFF
    for listed, where, umis in MARKERS:
        for gene in listed.split():
            inside = members_of(where)
            expression_gk[column[gene], inside] = np.maximum(
                expression_gk[column[gene], inside], umis
            )
    mito = [column[name] for name in MITOCHONDRIAL.split()]
    expression_gk[mito] = np.exp(0.6 + 0.5 * draw[mito, 0])[:, None]
    expression_gk[column[CAR_GENE]] = 0.0

    content = np.array([p.rna_content for p in POPULATIONS])
    return GeneModel(
        names=tuple(names),
        expression_kg=(expression_gk * content).T.copy(),
        dispersion=_DISPERSION_MEDIAN * np.exp(_DISPERSION_SD * draw[:, 1]),
        programmes={
            name: np.array([column[gene] for gene in listed.split()], dtype=np.int64)
            for name, listed in PROGRAMMES.items()
        },
        mitochondrial=np.isin(np.arange(genes), mito),
    )
