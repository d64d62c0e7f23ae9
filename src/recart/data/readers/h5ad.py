"""Reads one `.h5ad` file."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import final

from recart.data.cohort import Cohort
from recart.data.readers.assemble import Parts, assemble
from recart.data.readers.chains import airr_chains, obs_chains
from recart.data.readers.columns import Columns
from recart.data.readers.elements import read_frame
from recart.data.readers.file_kind import require_kind
from recart.data.readers.genes import gene_table, merge_duplicates
from recart.data.readers.hdf5_guard import guard_hdf5, opened
from recart.data.readers.proteins import obsm_proteins, split_features
from recart.data.readers.reader import Reader
from recart.data.readers.rna import read_rna
from recart.data.readers.sample_tables import read_side_tables
from recart.problems import Problems

__all__ = ["H5adReader"]


@final
class H5adReader(Reader):
    """RNA in X, raw or a layer; proteins in `obsm` or `var`; receptors in `obs` or `obsm['airr']`.

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
        require_kind(self.path, "h5ad")
        guard_hdf5(self.path)
        problems = Problems()
        side = read_side_tables(self.samples, self.patients, self.columns, problems)
        dropped: dict[str, int] = {}
        with opened(self.path) as file:
            obs = read_frame(file, "obs", self.path)
            matrix, features = read_rna(file, self.layer, self.path)
            proteins = obsm_proteins(file, self.protein, self.protein_names, self.path, problems)
            chains = airr_chains(file, obs.index, self.path, problems)
        rna, features, by_type = split_features(matrix, features, dropped)
        rna, genes = merge_duplicates(rna, gene_table(features), self.duplicate_genes, dropped)
        if chains is None:
            chains, used = obs_chains(self.columns.rename(obs))
            obs = obs.drop(columns=used, errors="ignore")
        parts = Parts(
            rna=rna,
            genes=genes,
            obs=obs,
            proteins=proteins or by_type,
            chains=chains,
            source={"rna": self.path, "protein": self.path, "chains": self.path},
            dropped=dropped,
        )
        return assemble(parts, self.columns, side, problems)
