"""Reads `filtered_feature_bc_matrix.h5`: whole, or its features alone."""

from __future__ import annotations

import warnings
from pathlib import Path

import numpy as np
import pandas as pd
from scipy import sparse

from recart.data.readers.elements import as_csr
from recart.data.readers.file_kind import require_kind
from recart.data.readers.hdf5_guard import damaged, guard_hdf5, opened
from recart.problems import InputError

__all__ = ["read_10x", "read_10x_features"]


def read_10x(path: Path) -> tuple[sparse.csr_matrix, pd.DataFrame, pd.Index]:
    """Counts of cells by features, the features with their types, and the barcodes.

    Raises
    ------
    InputError
        If it is no such file, or damaged.
    """
    import scanpy as sc

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
