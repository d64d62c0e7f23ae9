"""Joins the protein and receptor modalities of a file to the cells of its RNA."""

from __future__ import annotations

from dataclasses import replace
from typing import Final

import numpy as np
import pandas as pd

from recart.data.readers.assemble import Parts
from recart.data.readers.barcodes import match_barcodes
from recart.data.readers.proteins import Proteins, without_hashtags
from recart.problems import Problem, Problems

__all__ = ["cells_with_protein", "modality_chains"]

# A sample with protein for nearly all of its cells loses the others; below, something is wrong.
_MIN_WITH_PROTEIN: Final = 0.8


def modality_chains(
    chains: pd.DataFrame,
    cells: pd.Index,
    file: str,
    problems: Problems,
    dropped: dict[str, int],
) -> pd.DataFrame:
    """Chains with the ids of `cells` as their cell; those of other cells counted in `dropped`."""
    at = match_barcodes(
        pd.Index(chains["cell"]),
        cells,
        file=file,
        sample="",
        modality="receptor",
        problems=problems,
    )
    lost = int((at < 0).sum())
    if lost:
        dropped["chains of cells without RNA"] = lost
    kept = chains[at >= 0].reset_index(drop=True)
    return kept.assign(cell=cells.to_numpy(dtype=object)[at[at >= 0]])


def cells_with_protein(
    parts: Parts,
    proteins: Proteins,
    barcodes: pd.Index,
    sample: str | None,
    file: str,
    problems: Problems,
) -> Parts:
    """The parts with protein counts in the order of the RNA's cells.

    A sample none of whose cells has protein counts is not measured. Where at least 80 % have, the
    other cells are left out and counted; in between is an error, since no count can stand for them.

    Parameters
    ----------
    parts
        RNA and its cells.
    proteins, barcodes
        Counts and the cell of each row.
    sample
        Column of `obs` with the sample; None where all cells are judged together.
    file
        For error messages.
    problems
        Collects barcodes that do not match.
    """
    cells = parts.obs.index
    at = match_barcodes(
        barcodes, cells, file=file, sample="", modality="protein", problems=problems
    )
    dropped = dict(parts.dropped)
    if lost := int((at < 0).sum()):
        key = "protein rows of cells without RNA"
        dropped[key] = dropped.get(key, 0) + lost
    proteins = without_hashtags(proteins, dropped)
    counts = np.zeros((len(cells), len(proteins.names)), dtype=np.float32)
    counts[at[at >= 0]] = proteins.counts[at >= 0]
    has = np.zeros(len(cells), dtype=np.bool_)
    has[at[at >= 0]] = True
    owner = parts.obs[sample].to_numpy() if sample else np.zeros(len(cells))
    share = pd.Series(has).groupby(owner).mean()
    for name, value in share[(share > 0) & (share < _MIN_WITH_PROTEIN)].items():
        missing = ~has & (owner == name)
        problems.error(
            Problem(
                code="E-MOD-001",
                what=f"{value:.0%} of the cells have protein counts: RNA has "
                f"{cells[missing][0]}, protein has {barcodes[0]}",
                mend="keep the same cells in both modalities, or none of the sample in protein",
                file=file,
                sample=str(name) if sample else "",
                column="barcode",
                feature="protein",
                count=int(missing.sum()),
                examples=tuple(map(str, cells[missing][:3])),
            )
        )
    partial = ~has & (pd.Series(owner).map(share).to_numpy() > 0)
    if partial.any():
        dropped["cells without protein in a sample with protein"] = int(partial.sum())
    return replace(
        parts,
        rna=parts.rna[~partial],
        obs=parts.obs[~partial],
        proteins=Proteins(counts[~partial], proteins.names),
        protein_measured=has[~partial],
        chains=_of_cells(parts.chains, cells[partial]),
        dropped=dropped,
    )


def _of_cells(chains: pd.DataFrame | None, gone: pd.Index) -> pd.DataFrame | None:
    if chains is None or not len(gone):
        return chains
    return chains[~chains["cell"].isin(gone)].reset_index(drop=True)
