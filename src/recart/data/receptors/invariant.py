"""Receptors by their sequences: which are the same, and which every donor has."""

from __future__ import annotations

from typing import Any, Final

import numpy as np
import pandas as pd

__all__ = ["is_invariant", "receptor_texts"]

# Alpha chains of MAIT cells (TRAV1-2 with TRAJ33, TRAJ12 or TRAJ20) and of iNKT cells (TRAV10 with
# TRAJ18): Godfrey et al., Nature Immunology 2015, 16(11).
_INVARIANT: Final = (("TRAV1-2", ("TRAJ33", "TRAJ12", "TRAJ20")), ("TRAV10", ("TRAJ18",)))
_CHAINS: Final = ("a", "b")


def receptor_texts(clonotypes: pd.DataFrame) -> list[str]:
    """V gene, J gene and CDR3 of both chains of each clonotype as one text; empty without a CDR3.

    Genes are taken without their alleles, which callers guess differently.
    """
    parts = []
    for chain in _CHAINS:
        cdr3 = clonotypes[f"cdr3_{chain}"].fillna("").astype(str).to_numpy()
        genes = [_gene(clonotypes[f"{gene}_{chain}"]).to_numpy() for gene in ("v", "j")]
        parts.append(
            ["/".join(values) if values[2] else "" for values in zip(*genes, cdr3, strict=True)]
        )
    return [f"{a}+{b}" if a or b else "" for a, b in zip(*parts, strict=True)]


def is_invariant(clonotypes: pd.DataFrame) -> np.ndarray[Any, np.dtype[np.bool_]]:
    """(clone) True where the alpha chain is that of MAIT or iNKT cells, which donors share."""
    v, j = _gene(clonotypes["v_a"]), _gene(clonotypes["j_a"])
    found = np.zeros(len(clonotypes), dtype=np.bool_)
    for gene, joining in _INVARIANT:
        found |= (v.eq(gene) & j.isin(joining)).to_numpy(dtype=np.bool_)
    return found


def _gene(column: pd.Series[Any]) -> pd.Series[str]:
    return column.fillna("").astype(str).str.partition("*")[0]
