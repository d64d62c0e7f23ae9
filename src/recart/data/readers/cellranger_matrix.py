"""Reads `filtered_feature_bc_matrix`, `.h5` or `.mtx`: whole, or its features alone."""

from __future__ import annotations

import csv
import re
import warnings
import zlib
from pathlib import Path
from typing import Final

import numpy as np
import pandas as pd
from scipy import sparse

from recart.data.readers.elements import as_csr
from recart.data.readers.file_kind import require_kind
from recart.data.readers.hdf5_guard import damaged, guard_hdf5, opened
from recart.problems import InputError, Problem

__all__ = ["matrix_files", "read_10x", "read_10x_features"]

_BESIDE: Final = {"features": ("features.tsv", "genes.tsv"), "barcodes": ("barcodes.tsv",)}
_MTX: Final = re.compile(r"matrix\.mtx(\.gz)?$")


def matrix_files(path: Path) -> list[Path]:
    """The file of a matrix, and those of its features and barcodes where they lie beside it."""
    if not _MTX.search(path.name):
        return [path]
    return [path, *(own for kind in _BESIDE if (own := _beside(path, kind)) is not None)]


def read_10x(path: Path) -> tuple[sparse.csr_matrix, pd.DataFrame, pd.Index]:
    """Counts of cells by features, the features with their types, and the barcodes.

    Raises
    ------
    InputError
        If it is no such file, or damaged.
    """
    import scanpy as sc

    if _MTX.search(path.name):
        return _read_mtx(path)
    require_kind(path, "10x")
    guard_hdf5(path)
    with warnings.catch_warnings():
        # symbols that stand twice are dealt with by `merge_duplicates`
        warnings.filterwarnings("ignore", message="Variable names are not unique")
        try:
            adata = sc.read_10x_h5(path, gex_only=False)
        except Exception as error:  # scanpy raises whatever its decoders raise
            raise InputError([damaged(path, error)]) from error
    matrix = as_csr(adata.X, str(path), "matrix")
    return matrix, adata.var, pd.Index(adata.obs_names.astype(str), dtype=object)


def read_10x_features(path: Path) -> tuple[pd.DataFrame, int] | None:
    """The features as `read_10x` gives them, and the number of cells; no count is read.

    None for files of Cell Ranger 2, which has another layout.

    Raises
    ------
    InputError
        As `read_10x`.
    """
    if _MTX.search(path.name):
        features, barcodes = _tables_of_mtx(path)
        return features, len(barcodes)
    require_kind(path, "10x")
    guard_hdf5(path)
    with opened(path) as file:
        if "matrix/features" not in file:
            return None
        features = file["matrix/features"]
        ids = features["gene_id" if "gene_id" in features else "id"]
        columns = {"gene_ids": ids, "feature_types": features["feature_type"]}
        text = {name: own[:].astype(str).astype(object) for name, own in columns.items()}
        names = features["name"][:].astype(str).astype(object)
        return pd.DataFrame(text, index=pd.Index(names)), int(np.asarray(file["matrix/shape"])[1])


def _read_mtx(path: Path) -> tuple[sparse.csr_matrix, pd.DataFrame, pd.Index]:
    from scipy.io import mmread

    features, barcodes = _tables_of_mtx(path)
    try:
        matrix = sparse.coo_matrix(mmread(path)).T
    except Exception as error:  # scipy raises whatever its parser raises
        raise InputError([damaged(path, error)]) from error
    if matrix.shape != (len(barcodes), len(features)):
        text = (
            f"it has {matrix.shape[1]} features of {matrix.shape[0]} cells, the tables beside it "
        )
        text += f"{len(features)} of {len(barcodes)}"
        raise InputError([damaged(path, ValueError(text))])
    counts = as_csr(matrix.tocsr().astype(np.float32), str(path), "matrix")
    return counts, features, barcodes


def _tables_of_mtx(path: Path) -> tuple[pd.DataFrame, pd.Index]:
    """Features (`features.tsv`, or `genes.tsv` without types) and barcodes beside a matrix."""
    features, barcodes = (_table_of_mtx(path, kind) for kind in _BESIDE)
    names = features[1 if 1 in features else 0]
    table = {
        "gene_ids": features[0].to_numpy(),
        "feature_types": features[2].to_numpy() if 2 in features else "Gene Expression",
    }
    index = pd.Index(names.to_numpy(dtype=object))
    return pd.DataFrame(table, index=index), pd.Index(barcodes[0].to_numpy(dtype=object))


def _table_of_mtx(path: Path, kind: str) -> pd.DataFrame:
    place = _beside(path, kind)
    if place is None:
        names = " or ".join(_MTX.sub(own, path.name) for own in _BESIDE[kind])
        problem = Problem(
            code="E-FILE-001",
            what=f"{names} (or .gz) does not lie beside it",
            mend="keep the three files of a matrix together, under the names of Cell Ranger",
            file=str(path),
        )
        raise InputError([problem])
    try:
        return pd.read_csv(
            place, sep="\t", header=None, dtype=str, keep_default_na=False, quoting=csv.QUOTE_NONE
        )
    except (OSError, EOFError, ValueError, zlib.error) as error:
        raise InputError([damaged(place, error)]) from error


def _beside(path: Path, kind: str) -> Path | None:
    """The file of features or barcodes that goes with a matrix; a prefix of its name is kept."""
    names = (_MTX.sub(own, path.name) + packed for own in _BESIDE[kind] for packed in ("", ".gz"))
    return next((place for name in names if (place := path.with_name(name)).is_file()), None)
