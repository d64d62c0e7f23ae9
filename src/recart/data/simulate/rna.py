"""RNA counts: what a cell expresses, what its library catches, and what floats in from others."""

from __future__ import annotations

from typing import Any, Final

import numpy as np
import pandas as pd
from scipy import sparse

from recart.data.simulate.genes import GeneModel
from recart.data.simulate.negative_binomial import invert_negative_binomial
from recart.data.simulate.populations import members_of
from recart.data.simulate.states import CellStates
from recart.data.simulate.streams import stream

__all__ = ["draw_rna"]

Floats = np.ndarray[Any, np.dtype[np.float64]]
Codes = np.ndarray[Any, np.dtype[np.int32]]

# Log spreads. Cells: interquartile range of UMIs within a population of 10x PBMC. Batches, samples
# and genes of a batch or patient: assumed, of the order of the batch shifts (0 to .37) and donor
# differences (.05 to .15) of surface proteins.
_CELL_SD: Final = 0.45
_BATCH_SD, _SAMPLE_SD = 0.25, 0.15
_BATCH_GENE_SD, _PATIENT_GENE_SD = 0.12, 0.15
_MITO_CELL_SD, _MITO_SAMPLE_SD = 0.4, 0.2
# Ambient share of a library: median and log spread between batches (assumed).
_AMBIENT, _AMBIENT_SD = 0.03, 0.4
# The interaction's RNA programme, on against off (assumed).
_ADAPTIVE_FOLD: Final = 3.0
# CAR transcript: seen in 67 % of sequenced CAR T cells (Anderson et al., Nature Medicine 2023,
# CARPALL, computed from its cells); elsewhere only as ambient RNA (assumed).
_CAR_SEEN, _CAR_AMBIENT, _CAR_EXTRA = 0.67, 0.0005, 1.5
# Entries that are drawn at once: keeps the working memory near 100 MB.
_BLOCK: Final = 2_000_000


def draw_rna(
    samples: pd.DataFrame,
    sample: Codes,
    population: Codes,
    fractions: Floats,
    states: CellStates,
    genes: GeneModel,
    seed: int,
) -> sparse.csr_matrix:
    """(cells, genes) raw counts, uint16 CSR; the CAR gene is column 0."""
    cell_size, mito, uniform_car, extra_car = _cell_numbers(sample, seed)
    after = (samples["timepoint"] == "post").to_numpy()
    car = np.isin(population, members_of("car"))
    p_car = np.where(car, _CAR_SEEN, _CAR_AMBIENT) * after[sample]
    car_counts = np.where(uniform_car < p_car, 1 + car * extra_car, 0)

    dispersion = genes.dispersion.astype(np.float32)
    log_factor_sg, depth_s, ambient_s = _libraries(samples, len(genes.names), seed)
    bounds = np.searchsorted(sample, np.arange(len(samples) + 1))
    step = max(_BLOCK // len(genes.names), 1)
    parts: list[sparse.csr_matrix] = []
    for s in range(len(samples)):
        expression_kg = genes.expression_kg * np.exp(log_factor_sg[s])
        ambient_g = ambient_s[s] * (fractions[s] @ expression_kg)
        # float32 halves the time of the dense part; counts stay exact integers.
        table = (depth_s[s] * (expression_kg + ambient_g)).astype(np.float32)
        rng = stream(seed, "rna", s)
        for start in range(bounds[s], bounds[s + 1], step):
            rows = np.arange(start, min(start + step, bounds[s + 1]))
            mean = table[population[rows]] * cell_size[rows, None].astype(np.float32)
            mean[:, genes.mitochondrial] *= mito[rows, None].astype(np.float32)
            _apply_states(mean, rows, states, genes)
            uniform = rng.random(mean.shape, dtype=np.float32)
            flat, counts = invert_negative_binomial(mean, dispersion, uniform)
            parts.append(_block(flat, counts, car_counts[rows], mean.shape))
    return sparse.csr_matrix(sparse.vstack(parts, format="csr"))


def _cell_numbers(sample: Codes, seed: int) -> tuple[Floats, Floats, Floats, Any]:
    n = sample.size
    rng = stream(seed, "library of cells")
    size = np.exp(rng.normal(0, _CELL_SD, n))
    stress = rng.normal(0, _MITO_SAMPLE_SD, int(sample.max()) + 1)
    mito = np.exp(stress[sample] + rng.normal(0, _MITO_CELL_SD, n))
    rng = stream(seed, "CAR transcript")
    return size, mito, rng.random(n), rng.poisson(_CAR_EXTRA, n)


def _libraries(samples: pd.DataFrame, n_genes: int, seed: int) -> tuple[Floats, Floats, Floats]:
    """Log factor of genes, depth and ambient share of each sample: batch, patient and its own."""
    batch, patient = (pd.factorize(samples[c], sort=True)[0] for c in ("batch", "patient"))
    batches, patients = int(batch.max()) + 1, int(patient.max()) + 1
    rng = stream(seed, "libraries")
    log_depth = rng.normal(0, _BATCH_SD, batches)[batch] + rng.normal(0, _SAMPLE_SD, len(samples))
    ambient = _AMBIENT * np.exp(rng.normal(0, _AMBIENT_SD, batches))[batch]
    # Genes in rows: the first genes keep their numbers when there are more.
    of_batch = stream(seed, "genes of batches").normal(0, _BATCH_GENE_SD, (n_genes, batches))
    of_patient = stream(seed, "genes of patients").normal(0, _PATIENT_GENE_SD, (n_genes, patients))
    return (of_batch[:, batch] + of_patient[:, patient]).T, np.exp(log_depth), ambient


def _apply_states(
    mean: np.ndarray[Any, np.dtype[np.float32]],
    rows: np.ndarray[Any, np.dtype[np.int64]],
    states: CellStates,
    genes: GeneModel,
) -> None:
    """Multiply the genes of each programme by the factor of the cell's state, in place."""
    for name, log_factor in (
        ("effector", states.effector[rows]),
        ("interferon", states.interferon[rows]),
        ("adaptive", states.adaptive[rows] * np.log(_ADAPTIVE_FOLD)),
    ):
        moved = np.flatnonzero(log_factor)
        where = np.ix_(moved, genes.programmes[name])
        mean[where] *= np.exp(log_factor[moved, None]).astype(np.float32)


def _block(
    flat: np.ndarray[Any, np.dtype[np.int64]],
    counts: np.ndarray[Any, np.dtype[np.int64]],
    car: np.ndarray[Any, np.dtype[np.int64]],
    shape: tuple[int, ...],
) -> sparse.csr_matrix:
    """CSR of one block; the CAR counts go into column 0, which has no other counts."""
    cells = np.flatnonzero(car)
    flat = np.concatenate([cells * shape[1], flat])
    counts = np.concatenate([car[cells], counts])
    order = np.argsort(flat, kind="stable") if cells.size else slice(None)
    flat, counts = flat[order], counts[order]
    starts = np.searchsorted(flat, np.arange(shape[0] + 1) * shape[1])
    return sparse.csr_matrix(
        (counts.astype(np.uint16), (flat % shape[1]).astype(np.int32), starts), shape=shape
    )
