"""Reads Cell Ranger outputs named in a sample sheet."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple, final

import numpy as np
import pandas as pd
from scipy import sparse

from recart.data.cohort import Cohort
from recart.data.readers.assemble import Parts, assemble
from recart.data.readers.cellranger_matrix import matrix_files, read_10x, read_10x_features
from recart.data.readers.chains import refuse_ids_beside_cells
from recart.data.readers.columns import Columns
from recart.data.readers.contigs import (
    contig_chains,
    may_be_shared,
    read_contigs,
    refuse_other_samples,
)
from recart.data.readers.genes import gene_table, merge_duplicates
from recart.data.readers.libraries import Library, protein_names, stack_genes, stack_proteins
from recart.data.readers.parts import in_parts
from recart.data.readers.proteins import split_features
from recart.data.readers.reader import Reader
from recart.data.readers.sample_tables import SideTables, read_side_tables
from recart.data.readers.sheet import Run, read_sheet, refuse_copies
from recart.problems import InputError, Problems

__all__ = ["CellRangerReader"]


@final
class CellRangerReader(Reader):
    """RNA and antibodies from `filtered_feature_bc_matrix`, receptors from contig annotations.

    Cell ids are `sample:barcode`. Genes are those that all samples share; a protein that a sample's
    panel lacks is not measured there.

    Parameters
    ----------
    sheet
        CSV with columns `sample`, `patient`, `gex` (`.h5`, `matrix.mtx` with its tables, or a
        folder with either) and optionally `vdj` (or `vdj_t`, `vdj_b`) and any property of the
        sample; or the folder of a `cellranger multi` run.
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
        found = [file for run in runs for file in (*matrix_files(run.gex), *run.contigs)]
        # of a folder, the sheet of a `cellranger multi` run, only its files are read
        return list(dict.fromkeys([*(path for path in tables if not path.is_dir()), *found]))

    def read(self) -> Cohort:
        """Read all samples, one after the other."""
        sheet = self._sheet()
        shared = {path for run in sheet.runs for path in run.contigs if may_be_shared(path)}
        refuse_copies(sheet.runs, shared, self.sheet, sheet.problems)
        return self._cohort(sheet, None, sheet.runs)

    def parts(self, cells: int) -> Sequence[Reader]:
        """Patient by patient, whole samples; features of all samples are looked at before."""
        sheet = self._sheet()
        panel = self._panel(sheet)
        owners = self._owners(sheet)
        if panel is None or owners is None or sum(panel.sizes) <= cells:
            return [self]
        shared = {path for run in sheet.runs for path in run.contigs if may_be_shared(path)}
        refuse_copies(sheet.runs, shared, self.sheet, sheet.problems)
        codes, _ = pd.factorize(owners)
        sizes = np.bincount(codes, weights=panel.sizes).astype(np.int64)
        part_of_run = in_parts(sizes, cells)[codes]
        files = self.files()
        parts = []
        for part in range(part_of_run.max() + 1):
            own = np.flatnonzero(part_of_run == part)
            read = partial(self._cohort, sheet, panel, [sheet.runs[n] for n in own])
            parts.append(_SampleReader(read, files, int(sum(panel.sizes[n] for n in own))))
        return parts

    def _sheet(self) -> _Sheet:
        """The samples that are named, their properties, and what is wrong with either."""
        problems = Problems()
        side = read_side_tables(self.samples, self.patients, self.columns, problems)
        runs, side = read_sheet(self.sheet, side, self.columns, problems)
        refuse_ids_beside_cells(self.columns, pd.DataFrame(), side.header, self.sheet, problems)
        return _Sheet(runs, side, problems)

    def _owners(self, sheet: _Sheet) -> pd.Series[Any] | None:
        """Patient of each sample; None where reading will say that one has none."""
        samples = sheet.side.samples
        if "patient" in self.columns.constants() or samples is None or "patient" not in samples:
            return None
        owners = samples["patient"].reindex([run.sample for run in sheet.runs])
        return None if owners.isna().any() else owners

    def _panel(self, sheet: _Sheet) -> _Panel | None:
        """What all samples have together; None where their features can't be read alone.

        What is wrong with them is added to the problems of the sheet.
        """
        libraries, sizes = [], []
        for run in sheet.runs:
            try:
                found = read_10x_features(run.gex)
            except InputError as error:
                sheet.problems.errors += error.problems
                sizes.append(0)
                continue
            if found is None:
                return None
            features, size = found
            none = sparse.csr_matrix((0, len(features)), dtype=np.float32)
            library = self._library(run.sample, none, features, pd.Index([]), {})
            libraries.append(library)
            sizes.append(size)
        if not libraries:
            return None
        dropped: dict[str, int] = {}
        genes = stack_genes(libraries, self.sheet, sheet.problems, dropped)
        return _Panel(genes, protein_names(libraries), sizes, dropped)

    def _cohort(self, sheet: _Sheet, panel: _Panel | None, runs: list[Run]) -> Cohort:
        """Some samples; `panel` is that of all, where these are not all."""
        problems = Problems(errors=[*sheet.problems.errors])
        dropped: dict[str, int] = {} if panel is None else dict(panel.dropped)
        contigs = {
            path: frame
            for path in dict.fromkeys(file for run in runs for file in run.contigs)
            if (frame := read_contigs(path, problems)) is not None
        }
        for path, frame in contigs.items():
            named_for = [run.sample for run in sheet.runs if path in run.contigs]
            refuse_other_samples(frame, named_for, str(path), problems)
        libraries = [
            library
            for run in runs
            if (library := self._read_library(run, problems, dropped)) is not None
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
        genes, names = (
            (stack_genes(libraries, self.sheet, problems, dropped), protein_names(libraries))
            if panel is None
            else (panel.genes, panel.proteins)
        )
        proteins, measured = stack_proteins(libraries, names, self.sheet, problems)
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
        return assemble(parts, self.columns, sheet.side, problems)

    def _read_library(
        self, run: Run, problems: Problems, dropped: dict[str, int]
    ) -> Library | None:
        """One sample's matrix; None after an error."""
        try:
            return self._library(run.sample, *read_10x(run.gex), dropped)
        except InputError as error:
            for problem in error.problems:
                problems.error(problem)
            return None

    def _library(
        self,
        sample: str,
        matrix: sparse.csr_matrix,
        features: pd.DataFrame,
        barcodes: pd.Index,
        dropped: dict[str, int],
    ) -> Library:
        rna, features, proteins = split_features(matrix, features, dropped)
        merged: dict[str, int] = {}
        rna, genes = merge_duplicates(rna, gene_table(features), self.duplicate_genes, merged)
        # the same genes are shared in every sample; they are counted once
        for key, number in merged.items():
            dropped[key] = max(dropped.get(key, 0), number)
        return Library(sample, barcodes, rna, genes, proteins)


class _Sheet(NamedTuple):
    """The sample sheet as it was read."""

    runs: list[Run]
    side: SideTables
    problems: Problems


class _Panel(NamedTuple):
    """Genes that all samples have, proteins that any has, and cells of each sample."""

    genes: pd.DataFrame
    proteins: list[str]
    sizes: list[int]
    dropped: dict[str, int]


@final
@dataclass(frozen=True)
class _SampleReader(Reader):
    """Some samples of a sheet, with `size` cells; `whole` are the sheet's `files`."""

    read_samples: Callable[[], Cohort]
    whole: Sequence[Path]
    cells: int

    def files(self) -> Sequence[Path]:
        """Those of the whole cohort."""
        return self.whole

    def read(self) -> Cohort:
        """Read these samples alone."""
        return self.read_samples()

    @property
    def size(self) -> int:
        """Their cells."""
        return self.cells
