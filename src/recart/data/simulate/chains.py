"""Receptor chains of the cells: sequences of their clones, as far as sequencing saw them."""

from __future__ import annotations

from typing import Any, Final

import numpy as np
import pandas as pd

from recart.data.cohort import CHAIN_COLUMNS
from recart.data.simulate.clones import CellClones
from recart.data.simulate.germline import MAIT_CHAIN, SEGMENTS
from recart.data.simulate.streams import stream

__all__ = ["draw_chains"]

Mask = np.ndarray[Any, np.dtype[np.bool_]]

# Amino acids between germline V and J, more often the small and the charged ones.
_RESIDUES: Final = np.array(list("GGGGSSSSRRRAAALLPPTTDDEEQQVVNNKIYHFWM"))
# Fewest and most residues of that part.
_LENGTHS: Final = {"TRB": (4, 8), "TRA": (2, 6), "IGH": (6, 12), "IGK": (3, 6)}

# TRB seen in 72 %, both in 58 %, TRA in 60 % of cells (computed from the CAR T cells of CARPALL,
# Anderson et al., Nature Medicine 2023). B cell chains: assumed.
_TRB_SEEN, _TRA_SEEN, _TRA_ALONE = 0.72, 0.58 / 0.72, 0.05
_IGH_SEEN, _IGK_SEEN = 0.8, 0.9
# Share of T cells in which the second, unproductive rearrangement of TRB is sequenced (assumed).
_UNPRODUCTIVE: Final = 0.04
# Mean UMIs of a chain beyond the first.
_UMIS: Final = {"TRB": 5.0, "TRA": 2.5, "IGH": 8.0, "IGK": 15.0}


def draw_chains(clones: CellClones, cells: pd.Index[str], seed: int) -> pd.DataFrame:
    """Draw the chains that were sequenced, in the columns of `CHAIN_COLUMNS`, ordered by cell.

    Clone ids are not given: they are what a clonotype caller has to find.
    """
    t_clone = (clones.table["locus"] == "TR").to_numpy()
    row = np.flatnonzero(clones.of_cell >= 0)
    own = clones.of_cell[row]
    u = stream(seed, "chain detection").random((3, row.size))
    t_cell = t_clone[own]
    trb = t_cell & (u[0] < _TRB_SEEN)
    seen = {
        "TRB": trb,
        "TRA": t_cell & (u[1] < np.where(trb, _TRA_SEEN, _TRA_ALONE)),
        "IGH": ~t_cell & (u[0] < _IGH_SEEN),
        "IGK": ~t_cell & (u[1] < _IGK_SEEN),
    }
    parts = []
    for locus, mask in seen.items():
        of_locus = _sequences(locus, t_clone == locus.startswith("TR"), seed)
        if locus == "TRA":
            invariant = clones.table["invariant"].to_numpy()
            of_locus.loc[invariant] = pd.Series(MAIT_CHAIN, index=of_locus.columns).to_list()
        parts.append(_rows(locus, of_locus.iloc[own[mask]], row[mask], seed))
    unproductive = t_cell & (u[2] < _UNPRODUCTIVE)
    parts.append(_unproductive(row[unproductive], seed))
    chains = pd.concat(parts, ignore_index=True).sort_values(["row", "locus"], kind="stable")
    chains["cell"] = cells.to_numpy()[chains["row"].to_numpy()]
    chains["clone_id"] = np.nan
    return chains[list(CHAIN_COLUMNS)].reset_index(drop=True)


def _sequences(locus: str, needed: Mask, seed: int) -> pd.DataFrame:
    """One chain per clone; empty text where the clone has no chain of the locus."""
    rng = stream(seed, "sequences " + locus)
    n = int(needed.sum())
    segments = SEGMENTS[locus]
    chosen = []
    for listed in (segments.v, segments.j):
        weight = np.array([w for _, _, w in listed])
        names = np.array([(gene, ends) for gene, ends, _ in listed], dtype=object)
        chosen.append(names[rng.choice(len(listed), n, p=weight / weight.sum())])
    shortest, longest = _LENGTHS[locus]
    letters = rng.choice(_RESIDUES, (n, longest))
    lengths = rng.integers(shortest, longest + 1, n)
    middle = ["".join(line[:k]) for line, k in zip(letters.tolist(), lengths, strict=True)]
    (v_call, start), (j_call, end) = chosen[0].T, chosen[1].T
    junction = [a + m + b for a, m, b in zip(start, middle, end, strict=True)]
    table = pd.DataFrame(
        "", index=range(needed.size), columns=["v_call", "j_call", "junction_aa"], dtype=object
    )
    table.loc[needed] = np.column_stack([v_call, j_call, np.array(junction, dtype=object)])
    return table


def _rows(
    locus: str, chains: pd.DataFrame, row: np.ndarray[Any, np.dtype[np.int64]], seed: int
) -> pd.DataFrame:
    umis = 1 + stream(seed, "chain UMIs " + locus).poisson(_UMIS[locus], row.size)
    return chains.assign(row=row, locus=locus, umis=umis, productive=True)


def _unproductive(row: np.ndarray[Any, np.dtype[np.int64]], seed: int) -> pd.DataFrame:
    """TRB contigs out of frame, written `_` inside the junction, with few UMIs."""
    chains = _sequences("TRB", np.ones(row.size, dtype=np.bool_), seed + 1)
    chains["junction_aa"] = [f"{text[:6]}_{text[6:]}" for text in chains["junction_aa"]]
    umis = stream(seed, "unproductive UMIs").integers(1, 3, row.size)
    return chains.assign(row=row, locus="TRB", umis=umis, productive=False)
