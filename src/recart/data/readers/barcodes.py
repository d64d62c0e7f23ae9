"""Matches the cell barcodes of one modality to the cells of the cohort."""

from __future__ import annotations

from typing import Any, Final

import numpy as np
import pandas as pd

from recart.data.readers.columns import Columns
from recart.data.readers.tables import as_text
from recart.problems import Problem, Problems

__all__ = ["bare", "match_barcodes", "named_once", "refuse_repeated"]

Positions = np.ndarray[Any, np.dtype[np.int64]]

# Barcodes that only match once a suffix is cut off must nearly all match.
_MIN_AFTER_CUT: Final = 0.8
# Cells may have been filtered after sequencing; two unrelated libraries share about 1 %.
_MIN_EXACT: Final = 0.2
_MIN_BARCODES: Final = 10


def bare(barcodes: pd.Index) -> pd.Index:
    """Barcodes without the GEM-well suffix (`-1`) of Cell Ranger."""
    return pd.Index(barcodes.astype(str).str.replace(r"-\d+$", "", regex=True), dtype=object)


def named_once(obs: pd.DataFrame, columns: Columns) -> pd.DataFrame:
    """The cells under their names; where names repeat, all of them follow that of the sample."""
    if obs.index.is_unique:
        return obs
    named = columns.rename(obs).assign(**columns.constants())
    owner = next((named[role] for role in ("sample", "patient") if role in named), None)
    if owner is None:  # which putting them together says
        return obs
    return obs.set_axis(as_text(owner).astype(str) + ":" + obs.index, axis=0)


def refuse_repeated(names: pd.Index, modality: str, file: str, problems: Problems) -> None:
    """Report names of cells that repeat in a modality: no other can be joined to it by them."""
    twice = names[names.duplicated()]
    if len(twice):
        problems.error(
            Problem(
                code="E-ID-001",
                what=f"{len(twice)} cells of {modality} have the name of another",
                mend="write the sample before each name, in all modalities alike",
                file=file,
                column="barcode",
                feature=modality,
                count=len(twice),
                examples=tuple(map(str, twice[:3])),
            )
        )


def match_barcodes(
    given: pd.Index,
    cells: pd.Index,
    *,
    file: str,
    sample: str,
    modality: str,
    problems: Problems,
) -> Positions:
    """Position in `cells` of each barcode of `given`, -1 where there is none.

    Exact matches are taken where there are more of them than after cutting the suffix `-1` off
    both sides. The share that matches is that of the smaller side, so that receptors of filtered
    cells and cells without receptors both pass; below 80 % after cutting, or 20 % exact, the two
    are taken for different libraries. Fewer than 10 barcodes are never judged.
    """
    unique = pd.Index(given.unique())
    exact = pd.Index(cells).get_indexer_for(given) if cells.is_unique else _first(given, cells)
    cut_cells = bare(cells)
    cut = (
        cut_cells.get_indexer_for(bare(given))
        if cut_cells.is_unique
        else np.full(len(given), -1, dtype=np.int64)
    )
    by_cut = int((cut >= 0).sum()) > int((exact >= 0).sum())
    chosen = cut if by_cut else exact
    smaller = min(len(unique), len(cells))
    share = len(given[chosen >= 0].unique()) / smaller if smaller else 1.0
    if share < (_MIN_AFTER_CUT if by_cut else _MIN_EXACT) and smaller >= _MIN_BARCODES:
        problems.error(
            Problem(
                code="E-MOD-001",
                what=f"{share:.0%} of the {modality} barcodes are cells of the RNA"
                + (" after cutting the suffix" if by_cut else "")
                + f": RNA has {cells[0]}, {modality} has {given[chosen < 0][0]}",
                mend="check that both come from the same sample, and write barcodes the same way",
                file=file,
                sample=sample,
                column="barcode",
                feature=modality,
                count=int(len(unique) - len(given[chosen >= 0].unique())),
                examples=tuple(map(str, given[chosen < 0][:3])),
            )
        )
    return np.asarray(chosen, dtype=np.int64)


def _first(given: pd.Index, cells: pd.Index) -> Positions:
    """Position of the first of equal cell ids; duplicates are reported by the checks."""
    positions = pd.Series(np.arange(len(cells)), index=cells)
    positions = positions[~positions.index.duplicated()]
    return np.asarray(positions.reindex(given).fillna(-1), dtype=np.int64)
