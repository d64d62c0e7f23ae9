"""Receptor chains from AnnData: scirpy's awkward `obsm['airr']`, or columns of `obs`."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from typing import Any, Final

import h5py
import numpy as np
import pandas as pd

from recart.data.cohort import CHAIN_COLUMNS
from recart.data.readers.columns import CHAIN_ROLES, Columns
from recart.data.readers.elements import members, read_node
from recart.problems import Problem, Problems

__all__ = [
    "airr_chains",
    "chain_frame",
    "has_sequences",
    "obs_chains",
    "refuse_ids_beside_cells",
    "with_given_ids",
]

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
    # where no cell has a chain no field is known either
    if not fields and len(records) == len(cells) and not len(ak.flatten(records, axis=None)):
        return chain_frame({}, 0)
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
    frames = [
        frame
        for (arm, _), columns in slots.items()
        if (frame := _slot_chains(obs, arm, columns)) is not None
    ]
    used += [role for role in CHAIN_ROLES if role in obs.columns]
    return with_given_ids(_joined(frames), obs), used


def has_sequences(chains: pd.DataFrame | None) -> bool:
    """Whether any chain has a sequence to call clones by."""
    return chains is not None and bool(chains["junction_aa"].notna().any())


def with_given_ids(chains: pd.DataFrame | None, obs: pd.DataFrame) -> pd.DataFrame | None:
    """Chains with the clone ids that columns `clone_id` and `bcr_clone_id` of `obs` give cells.

    A `clone_id` goes to all chains of its cell that have none yet, a `bcr_clone_id` to those of B
    cells in any case. An id stands alone where its cell has no chain; that of a B cell always.
    """
    frames = [] if chains is None else [chains]
    if "clone_id" in obs.columns:
        frames = [frame.assign(clone_id=_ids_of(frame, obs["clone_id"])) for frame in frames]
        with_chain = obs.index.isin(set() if chains is None else set(chains["cell"]))
        frames.append(_alone(obs["clone_id"][~with_chain], np.nan))
    if "bcr_clone_id" in obs.columns:
        of_b_cells = obs["bcr_clone_id"]
        frames = [frame.assign(clone_id=_b_ids_of(frame, of_b_cells)) for frame in frames]
        frames.append(_alone(of_b_cells, "IGH"))
    return _joined(frames)


def refuse_ids_beside_cells(
    columns: Columns, obs: pd.DataFrame, header: Sequence[str], file: str, problems: Problems
) -> None:
    """Clone ids are those of cells: no constant, and no column of samples or patients only."""
    named = columns.explicit()
    for role in CHAIN_ROLES:
        name = named.get(role)
        beside = name in header and name not in obs.columns
        if beside or role in columns.constants():
            problems.error(
                Problem(
                    code="E-REC-002",
                    what=f"data.columns.{role} names no column of the cells",
                    mend="name a column of obs that has a clone id for each cell",
                    file=file,
                    column=name or role,
                )
            )


def _joined(frames: list[pd.DataFrame]) -> pd.DataFrame | None:
    frames = [frame for frame in frames if len(frame)] or frames[:1]
    return pd.concat(frames, ignore_index=True) if frames else None


def _alone(ids: pd.Series, locus: object) -> pd.DataFrame:
    """A row without a sequence for each cell with a clone id."""
    ids = ids[ids.notna()]
    columns = {
        "cell": ids.index.to_numpy(dtype=object),
        "locus": np.full(len(ids), locus, dtype=object),
        "clone_id": ids.to_numpy(dtype=object),
    }
    frame = chain_frame(columns, len(ids))
    return frame[frame["clone_id"].notna()]


def _ids_of(frame: pd.DataFrame, ids: pd.Series) -> pd.Series:
    """Clone ids of the chains: their own, else their cells'."""
    given = ids[~ids.index.duplicated()].reindex(frame["cell"])
    own = _map_unique(pd.Series(given.to_numpy(dtype=object), index=frame.index), _clone)
    return frame["clone_id"].where(frame["clone_id"].notna(), own)


def _b_ids_of(frame: pd.DataFrame, ids: pd.Series) -> pd.Series:
    """Clone ids of the chains: those of B cells for their chains, others as they are."""
    own = _ids_of(frame.assign(clone_id=np.nan), ids)
    return own.where(frame["locus"].isin(("IGH", "IGK", "IGL")), frame["clone_id"])


def _slot_chains(obs: pd.DataFrame, arm: str, columns: dict[str, str]) -> pd.DataFrame | None:
    """Chains of one slot (`TRA`, or scirpy's `VJ` `1`) of all cells that have one."""
    if "junction_aa" not in columns:
        return None
    values: dict[str, Any] = {n: obs[c].to_numpy(dtype=object) for n, c in columns.items()}
    values["cell"] = obs.index.to_numpy(dtype=object)
    if arm in _LOCI:
        values["locus"] = np.full(len(obs), arm, dtype=object)
    frame = chain_frame(values, len(obs))
    if arm not in _LOCI and "locus" not in columns:
        # scirpy's flat form may leave the locus out; the V gene names it
        frame["locus"] = frame["v_call"].astype("string").str[:3].astype(object)
    return frame[frame["junction_aa"].notna()]
