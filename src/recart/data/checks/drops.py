"""Leaves out of a checked cohort what the rules say, and counts it."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pandas as pd
from scipy import sparse

from recart.data.checks.libraries import filled_cells, library_table
from recart.data.checks.limits import Limits
from recart.data.checks.names import is_isotype
from recart.data.checks.receptors import chain_faults
from recart.data.cohort import Cohort

__all__ = ["filter_cohort"]

Mask = np.ndarray[Any, np.dtype[np.bool_]]


def filter_cohort(
    cohort: Cohort, *, normalised: bool = False, limits: Limits | None = None
) -> Cohort:
    """The cohort without failed libraries, empty cells, isotype controls and unusable chains.

    Rules, in this order; each adds to `dropped` what it took:

    1. samples below `limits.min_median_umi` or `limits.min_cells`, with their cells;
    2. cells without any RNA value, or in a cohort without genes without any protein count;
    3. patients without a sample;
    4. receptor chains of cells that went, then those that `chain_faults` lists;
    5. isotype controls, which measure background and no protein.

    Genes are kept even where no cell has them: which genes a model uses is fitted on its training
    patients alone.
    """
    limits = limits or Limits()
    dropped = dict(cohort.dropped)
    table = library_table(cohort, normalised=normalised, limits=limits)
    samples = cohort.samples[~table["failed"]]
    in_kept = cohort.cells["sample"].isin(samples.index).to_numpy()
    filled = filled_cells(cohort)
    keep = in_kept & filled
    patients = cohort.patients[cohort.patients.index.isin(samples["patient"])]
    _count(dropped, "failed libraries", len(cohort.samples) - len(samples))
    _count(dropped, "cells of failed libraries", int((~in_kept).sum()))
    lacking = "RNA" if len(cohort.genes) else "protein"
    _count(dropped, f"cells without {lacking} counts", int((in_kept & ~filled).sum()))
    _count(dropped, "patients without a usable sample", len(cohort.patients) - len(patients))
    protein, proteins, measured = cohort.protein, cohort.proteins, cohort.protein_measured
    if protein is not None and measured is not None:
        target = np.array([not is_isotype(name) for name in proteins], dtype=np.bool_)
        _count(dropped, "isotype controls", int((~target).sum()))
        protein = protein[keep][:, target]
        measured = measured[~table["failed"].to_numpy()][:, target]
        proteins = [name for name, kept in zip(proteins, target, strict=True) if kept]
    return replace(
        cohort,
        rna=cohort.rna if keep.all() else sparse.csr_matrix(cohort.rna[keep]),
        cells=cohort.cells[keep],
        samples=samples,
        patients=patients,
        protein=protein,
        proteins=proteins,
        protein_measured=measured,
        chains=_usable_chains(cohort, cohort.cells.index[keep], dropped),
        dropped=dropped,
    )


def _usable_chains(cohort: Cohort, cells: pd.Index, dropped: dict[str, int]) -> pd.DataFrame | None:
    if cohort.chains is None:
        return None
    chains = cohort.chains[cohort.chains["cell"].isin(cells)]
    _count(dropped, "chains of cells that were left out", len(cohort.chains) - len(chains))
    bad: Mask = np.zeros(len(chains), dtype=np.bool_)
    for reason, mask in chain_faults(chains).items():
        _count(dropped, f"chains: {reason}", int(mask.sum()))
        bad |= mask
    kept = chains[~bad].reset_index(drop=True)
    return kept.assign(junction_aa=kept["junction_aa"].astype("string").str.upper().astype(object))


def _count(dropped: dict[str, int], key: str, number: int) -> None:
    if number:
        dropped[key] = dropped.get(key, 0) + number
