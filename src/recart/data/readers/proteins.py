"""Surface-protein counts of the cells, and the splitting of a matrix by feature type."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Any, Final

import h5py
import numpy as np
import pandas as pd
from scipy import sparse

from recart.data.checks.spelling import nearest
from recart.data.readers.elements import (
    Rows,
    members,
    read_frame,
    read_matrix,
    read_node,
    read_numbers,
)
from recart.problems import Problem, Problems

__all__ = ["UNS_NAMES", "Proteins", "obsm_proteins", "split_features", "without_hashtags"]

Counts = np.ndarray[Any, np.dtype[np.float32]]

_OBSM_NAMES: Final = (
    *("protein_counts", "protein_expression", "protein", "proteins", "prot", "adt"),
    *("adt_counts", "antibody_capture", "antibodies"),
)
UNS_NAMES: Final = ("protein_names", "protein_counts_names", "adt_names")
_RNA_TYPES: Final = ("gene expression", "gex", "rna")
_PROTEIN_TYPES: Final = ("antibody capture", "protein", "adt", "prot")
_NEITHER: Final = "features that are neither RNA nor surface protein"
_HASHTAG: Final = re.compile(r"hash|(?:^|[ ._-])hto", re.IGNORECASE)


@dataclass(frozen=True)
class Proteins:
    """Raw counts (cells, proteins) and their names; NaN where a cell was not measured."""

    counts: Counts
    names: list[str]


def without_hashtags(proteins: Proteins, dropped: dict[str, int]) -> Proteins:
    """Without antibodies that only mark the sample of origin, which are counted in `dropped`."""
    kept = np.array([not _is_hashtag(name) for name in proteins.names], dtype=np.bool_)
    if kept.all():
        return proteins
    dropped[_NEITHER] = dropped.get(_NEITHER, 0) + int((~kept).sum())
    names = [name for name, keep in zip(proteins.names, kept, strict=True) if keep]
    return Proteins(proteins.counts[:, kept], names)


def _is_hashtag(name: str) -> bool:
    return bool(_HASHTAG.search(name))


def obsm_proteins(
    group: h5py.Group,
    key: str | None,
    names_key: str | None,
    file: str,
    problems: Problems,
    rows: Rows | None = None,
) -> Proteins | None:
    """Proteins kept in `obsm`: a table, or a matrix with its names in `uns`.

    Parameters
    ----------
    group
        An AnnData group.
    key
        Name in `obsm`; None tries the usual names, and is content with none of them.
    names_key
        Where `uns` keeps the names of a matrix; None tries the usual places.
    file
        For error messages.
    problems
        Collects what is wrong.
    rows
        The only cells to be read, ascending; None reads all.
    """
    stored = members(group, "obsm")
    by_lower = {name.lower(): name for name in stored}
    found = key or next((by_lower[name] for name in _OBSM_NAMES if name in by_lower), None)
    if found is None:
        return None
    if found not in stored:
        near = nearest(found, stored)
        problems.error(
            Problem(
                code="E-COL-001",
                what=f"there is no obsm[{found!r}]",
                mend=f"obsm has {', '.join(stored) or 'nothing'}"
                + (f"; nearest: {near[0]}" if near else ""),
                file=file,
                column=found,
            )
        )
        return None
    place = f"obsm/{found}"
    encoding = group[place].attrs.get("encoding-type", "")
    if encoding == "dataframe" and (words := _words(group[place])):
        problems.error(
            Problem(
                code="E-PROT-007",
                what=f"obsm[{found!r}] has columns without numbers: {', '.join(words[:5])}",
                mend="keep only the counts of proteins in it",
                file=file,
                column=words[0],
                feature="protein",
                count=len(words),
            )
        )
        return None
    if rows is not None:
        dense, columns = read_numbers(group, place, file, rows)
        if encoding == "dataframe":
            return Proteins(dense.astype(np.float32), columns)
    elif encoding == "dataframe":
        frame = read_frame(group, place, file)
        counts = frame.to_numpy(dtype=np.float32, na_value=np.nan)
        return Proteins(counts, [str(name) for name in frame.columns])
    else:
        dense = read_matrix(group, place, file).toarray()
    names = _names(group, names_key, file)
    if names is None or len(names) != dense.shape[1]:
        problems.error(
            Problem(
                code="E-PROT-007",
                what=f"obsm[{found!r}] has {dense.shape[1]} columns and "
                + ("no names" if names is None else f"{len(names)} names"),
                mend="store it as a table (DataFrame), or its names in uns['protein_names']",
                file=file,
                column=found,
                feature="protein",
                count=int(dense.shape[1]),
            )
        )
        return None
    return Proteins(dense.astype(np.float32), names)


def _words(table: h5py.Group) -> list[str]:
    """Columns of a table that hold no numbers."""
    found = []
    for name in map(str, table.attrs["column-order"]):
        values = table[name]  # of numbers with gaps a group
        values = values.get("values") if isinstance(values, h5py.Group) else values
        if values is None or values.dtype.kind not in "biuf":
            found.append(name)
    return found


def _names(group: h5py.Group, names_key: str | None, file: str) -> list[str] | None:
    keys = [names_key] if names_key else [k for k in UNS_NAMES if k in members(group, "uns")]
    if not keys:
        return None
    return [str(name) for name in np.asarray(read_node(group, f"uns/{keys[0]}", file)).ravel()]


def split_features(
    matrix: sparse.csr_matrix, features: pd.DataFrame, dropped: dict[str, int]
) -> tuple[sparse.csr_matrix, pd.DataFrame, Proteins | None]:
    """RNA, genes and proteins of a matrix whose features carry `feature_types`.

    Other types (hashtags, CRISPR guides, antigens) are left out and counted in `dropped`.
    """
    column = next((c for c in ("feature_types", "feature_type") if c in features.columns), None)
    if column is None:
        return matrix, features, None
    types = features[column].astype(str).str.strip().str.lower()
    rna = types.isin(_RNA_TYPES).to_numpy()
    hashtag = np.array([_is_hashtag(str(name)) for name in features.index])
    protein = types.isin(_PROTEIN_TYPES).to_numpy() & ~hashtag
    count = int((~rna & ~protein).sum())
    if count:
        dropped[_NEITHER] = dropped.get(_NEITHER, 0) + count
    genes = features[rna].drop(columns=[column])
    if not protein.any():
        return matrix[:, rna], genes, None
    counts = matrix[:, protein].toarray().astype(np.float32)
    return matrix[:, rna], genes, Proteins(counts, list(map(str, features.index[protein])))
