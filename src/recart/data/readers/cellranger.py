"""Reads Cell Ranger outputs named in a sample sheet."""

from __future__ import annotations

import warnings
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import final

import numpy as np
import pandas as pd
from scipy import sparse

from recart.data.cohort import Cohort
from recart.data.readers.assemble import Parts, assemble
from recart.data.readers.columns import Columns
from recart.data.readers.contigs import contig_chains, read_contigs, sample_column
from recart.data.readers.elements import as_csr
from recart.data.readers.file_kind import require_kind
from recart.data.readers.genes import gene_table, merge_duplicates
from recart.data.readers.hdf5_guard import damaged, guard_hdf5
from recart.data.readers.libraries import Library, stack_genes, stack_proteins
from recart.data.readers.proteins import split_features
from recart.data.readers.reader import Reader
from recart.data.readers.sample_tables import read_side_tables
from recart.data.readers.sheet import Run, read_sheet, refuse_copies
from recart.problems import InputError, Problems

__all__ = ["CellRangerReader"]


@final
class CellRangerReader(Reader):
    """RNA and antibodies from `filtered_feature_bc_matrix.h5`, receptors from contig annotations.

    Cell ids are `sample:barcode`. Genes are those that all samples share; a protein that a sample's
    panel lacks is not measured there.

    Parameters
    ----------
    sheet
        CSV with columns `sample`, `patient`, `gex` and optionally `vdj` (or `vdj_t`, `vdj_b`) and
        any property of the sample; or the folder of a `cellranger multi` run.
    columns
        Column names by role, see `Columns`.
    samples, patients
        Further tables; None where the sheet holds everything.
    duplicate_genes
        What becomes of symbols that stand twice, as in every reference of Cell Ranger: `sum`,
        `first`, `ensembl` or `error`.
    """

    def __init__(
        self,
        sheet: str,
        columns: Columns | Mapping[str, str | None] | None = None,
        samples: str | None = None,
        patients: str | None = None,
        duplicate_genes: str = "sum",
    ) -> None:
        self.sheet = str(sheet)
        self.columns = Columns.of(columns)
        self.samples = samples
        self.patients = patients
        self.duplicate_genes = duplicate_genes

    def files(self) -> Sequence[Path]:
        """The sheet, the further tables, and every matrix and contig file that the sheet names."""
        unsaid = Problems()  # `read` says them
        side = read_side_tables(self.samples, self.patients, self.columns, unsaid)
        runs, _ = read_sheet(self.sheet, side, self.columns, unsaid)
        tables = [Path(path) for path in (self.sheet, self.samples, self.patients) if path]
        found = [file for run in runs for file in (run.gex, *run.contigs)]
        # of a folder, the sheet of a `cellranger multi` run, only its files are read
        return list(dict.fromkeys([*(path for path in tables if not path.is_dir()), *found]))

    def read(self) -> Cohort:
        """Read all samples, one after the other."""
        problems = Problems()
        dropped: dict[str, int] = {}
        side = read_side_tables(self.samples, self.patients, self.columns, problems)
        runs, side = read_sheet(self.sheet, side, self.columns, problems)
        contigs = {
            path: frame
            for path in dict.fromkeys(file for run in runs for file in run.contigs)
            if (frame := read_contigs(path, problems)) is not None
        }
        shared = {path for path, frame in contigs.items() if sample_column(frame) is not None}
        refuse_copies(runs, shared, self.sheet, problems)
        libraries = [
            library
            for run in runs
            if (library := self._library(run, problems, dropped)) is not None
        ]
        problems.raise_if_any()
        chains = [
            contig_chains(
                contigs[path],
                library.barcodes,
                library.cells,
                file=str(path),
                sample=run.sample,
                problems=problems,
                dropped=dropped,
            )
            for run, library in zip(runs, libraries, strict=True)
            for path in run.contigs
        ]
        genes = stack_genes(libraries, self.sheet, problems, dropped)
        proteins, measured = stack_proteins(libraries, self.sheet, problems)
        problems.raise_if_any()
        columns = [library.genes.index.get_indexer(genes.index) for library in libraries]
        rna = sparse.csr_matrix(
            sparse.vstack(
                [lib.rna[:, at] for lib, at in zip(libraries, columns, strict=True)], "csr"
            )
        )
        cells = pd.Index(np.concatenate([library.cells for library in libraries]), dtype=object)
        sizes = [len(library.cells) for library in libraries]
        obs = pd.DataFrame(
            {
                "sample": np.repeat([library.sample for library in libraries], sizes),
                "barcode": np.concatenate([library.barcodes for library in libraries]),
            },
            index=cells,
        )
        parts = Parts(
            rna=rna,
            genes=genes,
            obs=obs,
            proteins=proteins,
            protein_measured=measured,
            chains=pd.concat(chains, ignore_index=True) if chains else None,
            source={"rna": self.sheet, "protein": self.sheet, "chains": self.sheet},
            dropped=dropped,
        )
        return assemble(parts, self.columns, side, problems)

    def _library(self, run: Run, problems: Problems, dropped: dict[str, int]) -> Library | None:
        """One sample's matrix; None after an error."""
        try:
            require_kind(run.gex, "10x")
            guard_hdf5(run.gex)
            matrix, features, barcodes = _read_10x(run.gex)
            rna, features, proteins = split_features(matrix, features, dropped)
            merged: dict[str, int] = {}
            rna, genes = merge_duplicates(rna, gene_table(features), self.duplicate_genes, merged)
        except InputError as error:
            for problem in error.problems:
                problems.error(problem)
            return None
        # the same genes are shared in every sample; they are counted once
        for key, number in merged.items():
            dropped[key] = max(dropped.get(key, 0), number)
        return Library(run.sample, barcodes, rna, genes, proteins)


def _read_10x(path: Path) -> tuple[sparse.csr_matrix, pd.DataFrame, pd.Index]:
    import scanpy as sc

    with warnings.catch_warnings():
        # symbols that stand twice are dealt with by `merge_duplicates`
        warnings.filterwarnings("ignore", message="Variable names are not unique")
        try:
            adata = sc.read_10x_h5(path, gex_only=False)
        except Exception as error:  # scanpy raises whatever its decoders raise
            raise InputError([damaged(path, error)]) from error
    matrix = as_csr(adata.X, str(path), "matrix")
    return matrix, adata.var, pd.Index(adata.obs_names.astype(str), dtype=object)
