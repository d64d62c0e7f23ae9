"""Reads one `.h5ad` file."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import NamedTuple, final

import pandas as pd

from recart.data.cohort import Cohort
from recart.data.readers.assemble import Parts, assemble
from recart.data.readers.barcodes import named_once
from recart.data.readers.chains import (
    airr_chains,
    has_sequences,
    obs_chains,
    refuse_ids_beside_cells,
    with_given_ids,
)
from recart.data.readers.columns import Columns
from recart.data.readers.elements import Rows, by_rows, read_frame, read_levels
from recart.data.readers.file_kind import require_kind
from recart.data.readers.genes import gene_table, merge_duplicates
from recart.data.readers.hdf5_guard import guard_hdf5, opened
from recart.data.readers.parts import PartReader, of_rows, patients_in_parts
from recart.data.readers.proteins import obsm_proteins, split_features, without_hashtags
from recart.data.readers.reader import Reader
from recart.data.readers.rna import find_rna, read_rna
from recart.data.readers.sample_tables import SideTables, read_side_tables
from recart.data.readers.turned import Turned, by_columns, turn
from recart.problems import Problems

__all__ = ["H5adReader"]


@final
class H5adReader(Reader):
    """RNA in X, raw or a layer; proteins in `obsm` or `var`; receptors in `obs` or `obsm['airr']`.

    Clone ids in `obs` go before sequences; before those of `obsm['airr']` only ids of a column that
    is named in `columns`, or called `clone_id` or `bcr_clone_id`.

    Parameters
    ----------
    path
        The file.
    columns
        Column names by role, see `Columns`.
    layer
        `X`, `raw` or a layer; None where the file leaves no doubt.
    samples, patients
        Tables beside the file; None where `obs` holds everything.
    protein
        Name in `obsm`; None tries the usual ones.
    protein_names
        Place in `uns` of the protein names, where `obsm` holds a bare matrix.
    duplicate_genes
        What becomes of symbols that stand twice: `error`, `sum`, `first` or `ensembl`.
    """

    def __init__(
        self,
        path: str,
        columns: Columns | Mapping[str, str | None] | None = None,
        layer: str | None = None,
        samples: str | None = None,
        patients: str | None = None,
        protein: str | None = None,
        protein_names: str | None = None,
        duplicate_genes: str = "error",
    ) -> None:
        self.path = str(path)
        self.columns = Columns.of(columns)
        self.layer = layer
        self.samples = samples
        self.patients = patients
        self.protein = protein
        self.protein_names = protein_names
        self.duplicate_genes = duplicate_genes

    def files(self) -> Sequence[Path]:
        """The file and the tables beside it."""
        return [Path(path) for path in (self.path, self.samples, self.patients) if path is not None]

    def read(self) -> Cohort:
        """Read the elements that are needed; the rest of the file is not loaded."""
        return self._cohort(self._tables(None), None)

    def parts(self, cells: int) -> Sequence[Reader]:
        """Patient by patient; a matrix that lies column by column is turned first."""
        tables = self._tables(2**63)
        groups = patients_in_parts(tables.obs, self.columns, tables.side, cells)
        if len(groups) == 1:
            return [self]
        with opened(self.path) as file:
            matrix = file[find_rna(file, self.layer, self.path)]
            turned = turn(matrix, self.path) if by_columns(matrix) else None
            if turned is None and not by_rows(matrix):
                return [self]
        read = partial(self._cohort, tables, turned=turned)
        return [PartReader(rows, read, self.files()) for rows in groups]

    def _tables(self, max_bytes: int | None) -> _Tables:
        """What is read of the whole file in any case: its tables."""
        require_kind(self.path, "h5ad")
        guard_hdf5(self.path, max_bytes=max_bytes)
        problems = Problems()
        side = read_side_tables(self.samples, self.patients, self.columns, problems)
        with opened(self.path) as file:
            obs = named_once(read_frame(file, "obs", self.path), self.columns)
            levels = read_levels(file, "obs")
            chains = airr_chains(file, obs.index, self.path, problems)
        refuse_ids_beside_cells(self.columns, obs, side.header, self.path, problems)
        if chains is None:
            chains, used = obs_chains(self.columns.rename(obs))
            obs = obs.drop(columns=used, errors="ignore")
        else:
            ids = self.columns.clone_ids(obs, aliases=not has_sequences(chains))
            chains = with_given_ids(chains, ids)
        return _Tables(obs, levels, chains, side, problems)

    def _cohort(self, tables: _Tables, rows: Rows | None, turned: Turned | None = None) -> Cohort:
        """All cells, or those of `rows`; `turned` is the matrix row by row."""
        problems = Problems(errors=[*tables.problems.errors])
        dropped: dict[str, int] = {}
        obs, chains = of_rows(tables.obs, tables.chains, rows)
        with opened(self.path) as file:
            matrix, features = read_rna(file, self.layer, self.path, rows, turned)
            proteins = obsm_proteins(
                file, self.protein, self.protein_names, self.path, problems, rows
            )
        if proteins is not None:
            proteins = without_hashtags(proteins, dropped)
        rna, features, by_type = split_features(matrix, features, dropped)
        rna, genes = merge_duplicates(rna, gene_table(features), self.duplicate_genes, dropped)
        parts = Parts(
            rna=rna,
            genes=genes,
            obs=obs,
            levels=tables.levels,
            proteins=proteins or by_type,
            chains=chains,
            source={"rna": self.path, "protein": self.path, "chains": self.path},
            dropped=dropped,
        )
        return assemble(parts, self.columns, tables.side, problems)


class _Tables(NamedTuple):
    obs: pd.DataFrame
    levels: dict[str, tuple[str, ...]]
    chains: pd.DataFrame | None
    side: SideTables
    problems: Problems
