"""Receptor chains from AnnData: scirpy's awkward `obsm['airr']`, or columns of `obs`."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any, Final

import h5py
import numpy as np
import pandas as pd

from recart.data.cohort import CHAIN_COLUMNS
from recart.data.readers.elements import members, read_node
from recart.problems import Problem, Problems

__all__ = ["airr_chains", "chain_frame", "obs_chains"]

_FIELDS: Final[dict[str, tuple[str, ...]]] = {
    "locus": ("locus", "chain"),
    "v_call": ("v_call", "v_gene", "v"),
    "j_call": ("j_call", "j_gene", "j"),
    "junction_aa": ("junction_aa", "cdr3", "cdr3_aa", "cdr3aa"),
    "umis": ("umi_count", "umis", "duplicate_count"),
    "productive": ("productive",),
}
_LOCI: Final = ("TRA", "TRB", "TRG", "TRD", "IGH", "IGK", "IGL")
# `TRA_cdr3`, `TRB_v_gene`; scirpy: `IR_VJ_1_junction_aa`, `VDJ_2_v_call`
_BY_LOCUS: Final = re.compile(rf"^({'|'.join(_LOCI)})(?:_(\d))?_(.+)$", re.IGNORECASE)
_BY_ARM: Final = re.compile(r"^(?:IR_)?(VJ|VDJ)_(\d)_(.+)$", re.IGNORECASE)
_MISSING: Final = frozenset({"", "none", "nan", "na", "<na>", "null"})
# what tools write into a column of clone ids where a cell has no clone
_NO_CLONE: Final = frozenset({"-1", "-1.0", "no_contig", "no_clone", "no_clonotype", "unassigned"})
_TRUE, _FALSE = frozenset({"true", "t", "1", "1.0"}), frozenset({"false", "f", "0", "0.0"})


def chain_frame(columns: dict[str, Any], n: int) -> pd.DataFrame:
    """A frame of `CHAIN_COLUMNS` of `n` rows: text or NaN, `umis` as float, missing columns NaN."""
    frame = pd.DataFrame(index=pd.RangeIndex(n))
    for name in CHAIN_COLUMNS:
        values = pd.Series(columns.get(name, np.full(n, np.nan)), index=frame.index, dtype=object)
        if name == "umis":
            frame[name] = pd.to_numeric(values, errors="coerce").astype(float)
        elif name == "productive":
            frame[name] = _map_unique(values, _flag)
        elif name == "clone_id":
            frame[name] = _map_unique(values, _clone)
        else:
            frame[name] = _map_unique(values, _text)
    return frame


def _map_unique(values: pd.Series, function: Callable[[object], object]) -> pd.Series:
    codes, unique = pd.factorize(values, use_na_sentinel=False)
    mapped = np.empty(len(unique), dtype=object)
    mapped[:] = [function(value) for value in unique]
    return pd.Series(mapped[codes], index=values.index, dtype=object)


def _text(value: object) -> object:
    text = str(value).strip()
    return np.nan if text.lower() in _MISSING else text


def _clone(value: object) -> object:
    text = _text(value)
    return np.nan if str(text).lower() in _NO_CLONE else text


def _flag(value: object) -> object:
    text = str(value).strip().lower()
    return True if text in _TRUE else False if text in _FALSE else np.nan


def airr_chains(
    group: h5py.Group, cells: pd.Index, file: str, problems: Problems
) -> pd.DataFrame | None:
    """Chains of scirpy's `obsm['airr']`: cells x variable number of chains x AIRR record."""
    if "airr" not in members(group, "obsm"):
        return None
    import awkward as ak

    records = ak.Array(read_node(group, "obsm/airr", file))
    fields = {name.lower(): name for name in getattr(records, "fields", ())}
    found = {
        name: next((fields[alias] for alias in aliases if alias in fields), None)
        for name, aliases in _FIELDS.items()
    }
    if len(records) != len(cells) or found["locus"] is None:
        problems.error(
            Problem(
                code="E-REC-002",
                what=f"holds {len(records)} rows for {len(cells)} cells"
                if len(records) != len(cells)
                else f"has no field locus, only {', '.join(sorted(fields)) or 'none'}",
                mend="write it with scirpy",
                file=file,
                column="airr",
                feature="obsm['airr']",
            )
        )
        return None
    number = ak.to_numpy(ak.num(records, axis=1))
    columns: dict[str, Any] = {"cell": np.repeat(cells.to_numpy(dtype=object), number)}
    for name, field in found.items():
        if field is not None:
            flat = ak.to_list(ak.flatten(records[field], axis=1))
            columns[name] = np.array([np.nan if v is None else v for v in flat], dtype=object)
    return chain_frame(columns, int(number.sum()))


def obs_chains(obs: pd.DataFrame) -> tuple[pd.DataFrame | None, list[str]]:
    """Chains kept as columns of `obs`, one row per chain; and the names of those columns.

    Understands `TRA_cdr3` (any locus, with `_1`, `_2` for several) and scirpy's
    `IR_VJ_1_junction_aa`, and a column `clone_id`, alone or beside sequences. `bcr_clone_id` names
    clones of B cells likewise.
    """
    slots: dict[tuple[str, str], dict[str, str]] = {}
    used: list[str] = []
    for column in map(str, obs.columns):
        match = _BY_LOCUS.match(column) or _BY_ARM.match(column)
        if match is None or column == "bcr_clone_id":
            continue
        field = match.group(3).lower()
        name = next((n for n, aliases in _FIELDS.items() if field in aliases), None)
        used.append(column)
        if name is not None:
            slots.setdefault((match.group(1).upper(), match.group(2) or "1"), {})[name] = column
    clone = obs["clone_id"].to_numpy(dtype=object) if "clone_id" in obs.columns else None
    frames = [
        frame
        for (arm, _), columns in slots.items()
        if (frame := _slot_chains(obs, arm, columns, clone)) is not None
    ]
    if clone is not None:
        with_chain = {cell for frame in frames for cell in frame["cell"]}
        rest = ~obs.index.isin(with_chain) & pd.notna(clone)
        columns_ = {"cell": obs.index[rest].to_numpy(dtype=object), "clone_id": clone[rest]}
        named = chain_frame(columns_, int(rest.sum()))
        frames.append(named[named["clone_id"].notna()])
        used.append("clone_id")
    if "bcr_clone_id" in obs.columns:
        of_b_cells = obs["bcr_clone_id"].to_numpy(dtype=object)
        frames = [frame.assign(clone_id=_ids_of(frame, obs.index, of_b_cells)) for frame in frames]
        frames.append(_named_b_cells(obs.index, of_b_cells))
        used.append("bcr_clone_id")
    if not frames:
        return None, used
    frames = [frame for frame in frames if len(frame)] or frames[:1]
    return pd.concat(frames, ignore_index=True), used


def _named_b_cells(cells: pd.Index, ids: np.ndarray[Any, Any]) -> pd.DataFrame:
    """A row of the heavy locus, without a sequence, for each cell with the id of a B cell clone."""
    named = pd.notna(ids)
    columns = {
        "cell": cells[named].to_numpy(dtype=object),
        "locus": np.full(int(named.sum()), "IGH", dtype=object),
        "clone_id": ids[named],
    }
    frame = chain_frame(columns, int(named.sum()))
    return frame[frame["clone_id"].notna()]


def _ids_of(frame: pd.DataFrame, cells: pd.Index, ids: np.ndarray[Any, Any]) -> np.ndarray:
    """Clone ids of the chains: those of B cells for their chains, others as they are."""
    at = cells.get_indexer_for(pd.Index(frame["cell"]))
    own = pd.Series(ids[at], index=frame.index).map(_clone)
    return np.where(frame["locus"].isin(("IGH", "IGK", "IGL")), own, frame["clone_id"])


def _slot_chains(
    obs: pd.DataFrame, arm: str, columns: dict[str, str], clone: np.ndarray[Any, Any] | None
) -> pd.DataFrame | None:
    """Chains of one slot (`TRA`, or scirpy's `VJ` `1`) of all cells that have one."""
    if "junction_aa" not in columns:
        return None
    values: dict[str, Any] = {n: obs[c].to_numpy(dtype=object) for n, c in columns.items()}
    values["cell"] = obs.index.to_numpy(dtype=object)
    if clone is not None:
        values["clone_id"] = clone
    if arm in _LOCI:
        values["locus"] = np.full(len(obs), arm, dtype=object)
    frame = chain_frame(values, len(obs))
    if arm not in _LOCI and "locus" not in columns:
        # scirpy's flat form may leave the locus out; the V gene names it
        frame["locus"] = frame["v_call"].astype("string").str[:3].astype(object)
    return frame[frame["junction_aa"].notna()]
