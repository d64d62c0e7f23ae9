"""Receptor chains of cells to clonotypes of patients."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Final

import numpy as np
import pandas as pd

from recart.problems import InputError, Problem

__all__ = ["BCR", "TCR", "Clonotypes", "ReceptorType", "call_clonotypes"]

Codes = np.ndarray[Any, np.dtype[np.int32]]
Mask = np.ndarray[Any, np.dtype[np.bool_]]


@dataclass(frozen=True)
class ReceptorType:
    """The two chains of a receptor: loci, suffix of columns, name of the column of presence."""

    name: str
    loci: tuple[tuple[str, ...], tuple[str, ...]]
    suffixes: tuple[str, str]
    present: tuple[str, str]

    @property
    def all_loci(self) -> tuple[str, ...]:
        """The loci of both chains."""
        return tuple(locus for loci in self.loci for locus in loci)


TCR: Final = ReceptorType("TCR", (("TRA",), ("TRB",)), ("a", "b"), ("has_alpha", "has_beta"))
BCR: Final = ReceptorType("BCR", (("IGK", "IGL"), ("IGH",)), ("l", "h"), ("has_light", "has_heavy"))

# Above this share of clone ids that contradict their own sequences the ids are not of clones.
_CONTRADICTION: Final = 0.5
_FEWEST_IDS: Final = 10
# Share of a clone's cells that must show one TRB sequence.
_AGREEING: Final = 0.9

_MISSING: Final = frozenset({"", "NONE", "NAN", "NA", "<NA>"})


@dataclass(frozen=True)
class Clonotypes:
    """Clonotypes of one receptor type; a clonotype belongs to one patient.

    Attributes
    ----------
    table
        One row per clonotype, ordered by patient. Columns `patient` (str), `v_x`, `j_x`, `cdr3_x`
        for the suffix x of each chain (`a`, `b` for TCR; `l`, `h` for BCR; None where the chain is
        not known), `has_alpha` and `has_beta` (`has_light`, `has_heavy`), `given` (True where the
        clone id was given) and `n_cells`.
    of_cell
        (cells,) row of `table` for each cell, -1 for cells without a clonotype.
    second_first
        (cells,) True where a second alpha (TCR) or light (BCR) chain was seen: frequent in single
        T cells, because allelic exclusion of TRA is incomplete.
    doublet
        (cells,) True where two different pairs, or more than two of one chain, were seen. Such
        cells keep the clonotype of their top chains.
    dropped
        Number of chains left out, by reason.
    """

    table: pd.DataFrame
    of_cell: Codes
    second_first: Mask
    doublet: Mask
    dropped: dict[str, int]


def call_clonotypes(
    chains: pd.DataFrame,
    cells: pd.Index[str],
    patients: pd.Series[str],
    receptor: ReceptorType = TCR,
    samples: pd.Series[str] | None = None,
) -> Clonotypes:
    """Call clonotypes by identity of V gene and CDR3 amino acids within a patient.

    Chains known to be unproductive are dropped; unknown productivity is kept. Of each chain the one
    with most UMIs counts (ties: by sequence, so that the order of rows never matters). Cells with
    both chains share a clonotype when V gene (without allele) and junction agree in both; a cell
    with one chain forms a clonotype with cells that have that chain only, since a lone chain does
    not say which pair it belongs to. Somatic hypermutation is not modelled: BCR lineages need
    given clone ids. A given `clone_id` wins over the sequences and works without them.

    Parameters
    ----------
    chains
        One row per chain, columns `CHAIN_COLUMNS` of `recart.data.cohort`.
    cells
        Ids of all cells of the cohort, unique.
    patients
        Patient of each cell, in the order of `cells`.
    receptor
        `TCR` or `BCR`; chains of other loci are counted and left out.
    samples
        Sample of each cell, in the order of `cells`. With them given ids are also judged among the
        patients of several samples alone, since only there ids can contradict that start anew.

    Raises
    ------
    InputError
        If given clone ids contradict the sequences, as ids do that start anew in each sample.
    """
    kept, dropped = _usable_chains(chains, cells, receptor)
    top, counts = _top_chains(kept, receptor)
    first, second = receptor.suffixes
    per_cell = top.assign(patient=patients.to_numpy(dtype=object)[top.index.to_numpy()])
    if receptor is TCR:
        given = per_cell[(per_cell["clone_id"] != "") & (per_cell["cdr3_b"] != "")]
        _refuse_contradictory_ids(given)
        if samples is not None:
            own = given.assign(sample=samples.to_numpy(dtype=object)[given.index.to_numpy()])
            _refuse_contradictory_ids(_of_several_samples(own), " of patients of several samples")
    table, code = _group(per_cell, receptor)

    of_cell = np.full(len(cells), -1, dtype=np.int32)
    of_cell[top.index.to_numpy()] = code
    n_first, n_second = (counts[f"n_{suffix}"].to_numpy() for suffix in (first, second))
    second_first, doublet = np.zeros((2, len(cells)), dtype=np.bool_)
    second_first[counts.index.to_numpy()] = n_first == 2
    doublet[counts.index.to_numpy()] = (
        ((n_first >= 2) & (n_second >= 2)) | (n_first > 2) | (n_second > 2)
    )
    return Clonotypes(table, of_cell, second_first, doublet, dropped)


def _usable_chains(
    chains: pd.DataFrame, cells: pd.Index[str], receptor: ReceptorType
) -> tuple[pd.DataFrame, dict[str, int]]:
    """Chains that can name a clonotype, with `row` (of the cell) and `suffix`; and what went."""
    suffix_of = {
        locus: suffix
        for loci, suffix in zip(receptor.loci, receptor.suffixes, strict=True)
        for locus in loci
    }
    frame = pd.DataFrame(
        {
            "row": cells.get_indexer(pd.Index(chains["cell"])),
            "suffix": chains["locus"].map(suffix_of).to_numpy(dtype=object),
            "v": _text(chains["v_call"].astype(object).map(_gene)),
            "j": _text(chains["j_call"]),
            "cdr3": _text(chains["junction_aa"]),
            "umis": pd.to_numeric(chains["umis"], errors="coerce").fillna(0).to_numpy(),
            "clone_id": chains["clone_id"].to_numpy(dtype=object),
        }
    )
    unproductive = chains["productive"].astype(str).str.lower().isin({"false", "f", "0", "0.0"})
    nameless = (frame["cdr3"] == "") & frame["clone_id"].isna()
    # A row with a clone id and no locus names its cell's clone although it holds no sequence.
    other_locus = frame["suffix"].isna() & ~(chains["locus"].isna() & ~nameless).to_numpy()
    broken = frame["cdr3"].str.contains(r"[*_]", regex=True)

    dropped: dict[str, int] = {}
    keep = np.ones(len(frame), dtype=np.bool_)
    for reason, bad in (
        ("cell not in cohort", frame["row"] < 0),
        (f"locus not of a {receptor.name}", other_locus),
        ("not productive", unproductive),
        ("stop codon or frameshift in junction", broken),
        ("no junction", nameless),
    ):
        now = keep & bad.to_numpy(dtype=np.bool_)
        if now.any():
            dropped[reason] = int(now.sum())
        keep &= ~now
    return frame[keep], dropped


def _gene(symbol: object) -> object:
    """Symbol without its allele: callers of alleles differ between libraries of one patient."""
    return symbol.partition("*")[0] if isinstance(symbol, str) else symbol


def _text(column: pd.Series[Any]) -> pd.Series[str]:
    """Upper-case text; empty where the value is missing in any of the usual spellings."""
    code, values = pd.factorize(column.astype(object))  # few values, many rows: clean values only
    words = [str(value).strip().upper() for value in values]
    text = np.array(["" if word in _MISSING else word for word in words] + [""], dtype=object)
    return pd.Series(text[code], dtype=object)


def _top_chains(kept: pd.DataFrame, receptor: ReceptorType) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Per cell (index: row of the cell) its top chains; and its numbers of different chains."""
    # Sequences as codes in alphabetical order: sorting and taking the least then cost nothing.
    named = kept[kept["suffix"].notna() & (kept["cdr3"] != "")].copy()
    words = {}
    for column in ("v", "j", "cdr3"):
        named[column], words[column] = pd.factorize(named[column], sort=True)
    # Two contigs of one cell with the same V and junction are one chain sequenced twice.
    distinct = (
        named.groupby(["row", "suffix", "v", "cdr3"], sort=False, as_index=False)
        .agg(umis=("umis", "sum"), j=("j", "min"))
        .sort_values(
            ["row", "suffix", "umis", "cdr3", "v"],
            ascending=[True, True, False, True, True],
            kind="stable",
        )
    )
    rows = pd.Index(np.unique(kept["row"].to_numpy()), name="row")
    top, counts = pd.DataFrame(index=rows), pd.DataFrame(index=rows)
    for suffix in receptor.suffixes:
        chain = distinct[distinct["suffix"] == suffix]
        best = chain.drop_duplicates("row").set_index("row").reindex(rows)
        for column in ("v", "j", "cdr3"):
            code = best[column].fillna(-1).astype(int)
            top[f"{column}_{suffix}"] = np.append(words[column], "")[code]
        counts[f"n_{suffix}"] = chain["row"].value_counts().reindex(rows, fill_value=0)
    given = kept[kept["clone_id"].notna()].sort_values(["row", "umis"], ascending=[True, False])
    ids = given.drop_duplicates("row").set_index("row")["clone_id"].astype(str)
    top["clone_id"] = ids.reindex(rows).fillna("")
    return top, counts


def _group(per_cell: pd.DataFrame, receptor: ReceptorType) -> tuple[pd.DataFrame, Codes]:
    """Clonotype table and the clonotype of each row of `per_cell`."""
    parts = [f"{column}_{x}" for x in receptor.suffixes for column in ("v", "cdr3")]
    key = per_cell[["patient", "clone_id", *parts]].copy()
    key.loc[key["clone_id"] != "", parts] = ""
    code = key.groupby(list(key.columns), sort=True).ngroup().to_numpy().astype(np.int32)

    # A given clone shows the receptor seen in most of its cells; complete pairs come first.
    shown = per_cell.drop(columns="clone_id").assign(
        code=code,
        given=per_cell["clone_id"] != "",
        chains=sum((per_cell[f"cdr3_{x}"] != "").astype(int) for x in receptor.suffixes),
    )
    columns = [column for column in shown.columns if column not in ("code", "chains")]
    ranked = (
        shown.groupby(["code", "chains", *columns], sort=False)
        .size()
        .rename("seen")
        .reset_index()
        .sort_values(
            ["code", "chains", "seen", *parts], ascending=[True, False, False, *[True] * 4]
        )
    )
    table = ranked.drop_duplicates("code").sort_values("code")[columns].reset_index(drop=True)
    for x, present in zip(receptor.suffixes, receptor.present, strict=True):
        table[present] = table[f"cdr3_{x}"] != ""
        for column in ("v", "j", "cdr3"):
            table[f"{column}_{x}"] = table[f"{column}_{x}"].replace("", None)
    table["n_cells"] = np.bincount(code, minlength=len(table))
    return table, code


def _of_several_samples(given: pd.DataFrame) -> pd.DataFrame:
    """Cells of the patients whose clone ids stand beside sequences in several samples."""
    samples = given.groupby("patient")["sample"].nunique()
    return given[given["patient"].isin(samples.index[samples > 1])]


def _refuse_contradictory_ids(given: pd.DataFrame, of: str = "") -> None:
    """Refuse clone ids whose cells carry different TCR beta chains more often than not.

    `given` are cells with both.
    """
    clones = (
        given.groupby(["patient", "clone_id", "cdr3_b"])
        .size()
        .groupby(level=["patient", "clone_id"])
        .agg(["sum", "max"])
    )
    several = clones[clones["sum"] > 1]
    # An odd chain in a large clone is a doublet or ambient RNA, not a contradiction.
    wrong = int((several["max"] < _AGREEING * several["sum"]).sum())
    if wrong >= _FEWEST_IDS and wrong > _CONTRADICTION * len(several):
        raise InputError(
            [
                Problem(
                    code="E-REC-011",
                    column="clone_id",
                    count=wrong,
                    what=f"{wrong} of {len(several)} clone ids{of} with several cells of one "
                    "patient cover different TRB sequences, as ids do that start anew in each "
                    "sample (Cell Ranger's raw_clonotype_id)",
                    mend="take the column of ids out of obs, and sequences name the clonotypes, "
                    "or give ids that are unique within the patient",
                )
            ]
        )
