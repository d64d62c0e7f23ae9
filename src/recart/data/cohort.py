"""`Cohort`: what every reader and the simulator return, and what the checks and the store take."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, Final

import numpy as np
import pandas as pd
from scipy import sparse

__all__ = ["CHAIN_COLUMNS", "HAS_BCR", "HAS_TCR", "YES", "Cohort", "said_to_be_sequenced"]

# columns of samples: whether their T and B cell receptors were sequenced, also where none was found
HAS_TCR: Final = "has_tcr"
HAS_BCR: Final = "has_bcr"
YES: Final = frozenset({"yes", "y", "true"})  # words of tables, in small letters

# AIRR names; one row is one receptor chain of one cell. `clone_id` may be given without sequences.
CHAIN_COLUMNS = (
    "cell",
    "locus",
    "v_call",
    "j_call",
    "junction_aa",
    "umis",
    "productive",
    "clone_id",
)


@dataclass
class Cohort:
    """One cohort in memory, in the order it was read; not yet checked, sorted or pseudonymous.

    Attributes
    ----------
    rna
        (cells, genes) CSR. Raw counts, or normalised values where the user said so.
    genes
        Index: gene names as given. Column `ensembl` where known.
    cells
        Index: cell ids, unique in the cohort (sample prefix added by the reader where needed).
        Column `sample` (str). Optional: `cell_type`, `barcode`, and any other column of `obs`.
    samples
        Index: sample ids (str). Column `patient` (str). Optional: `timepoint` (str), `day`
        (float, days from infusion), `tissue`, `batch`, `site`, `product`, `has_tcr` and `has_bcr`
        (whether receptors were sequenced), and sample-level labels.
    patients
        Index: patient ids (str). Endpoint columns and covariates.
    protein
        (cells, proteins) float32 raw ADT counts, 0 where not measured; None without proteins.
    proteins
        Protein names as given; empty without proteins.
    protein_measured
        (samples, proteins) bool, rows as `samples`: False where a panel lacks the protein.
    chains
        Receptor chains, columns `CHAIN_COLUMNS` (missing ones are NaN), `cell` a cell id of
        `cells`; None where the cohort has no receptors at all.
    source
        Where things came from, for error messages: `rna`, `protein`, `chains`, `samples`,
        `patients` -> file name (never logged, never stored).
    levels
        Of columns of `cells`, `samples` and `patients` that came as ordered categories, their
        levels in order, as text. The columns themselves hold plain values.
    dropped
        Counts of what the reader left out and why, for the flow table of the report.
    """

    rna: sparse.csr_matrix
    genes: pd.DataFrame
    cells: pd.DataFrame
    samples: pd.DataFrame
    patients: pd.DataFrame
    protein: np.ndarray[Any, np.dtype[np.float32]] | None = None
    proteins: list[str] = field(default_factory=list)
    protein_measured: np.ndarray[Any, np.dtype[np.bool_]] | None = None
    chains: pd.DataFrame | None = None
    source: dict[str, str] = field(default_factory=dict)
    levels: dict[str, tuple[str, ...]] = field(default_factory=dict)
    dropped: dict[str, int] = field(default_factory=dict)


def said_to_be_sequenced(samples: pd.DataFrame, column: str) -> np.ndarray[Any, np.dtype[np.bool_]]:
    """(s) samples of which `has_tcr` or `has_bcr` says yes; none where there is no such column."""
    if column not in samples:
        return np.zeros(len(samples), dtype=np.bool_)
    words = samples[column].astype(str).str.strip().str.lower()
    said: np.ndarray[Any, Any] = words.isin(YES | {"1", "1.0"}).to_numpy(dtype=np.bool_)
    return said
