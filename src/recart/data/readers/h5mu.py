"""Reads one MuData `.h5mu` file: modalities `rna`, and where present `prot` and `airr`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Final, NamedTuple, final

import h5py
import numpy as np
import pandas as pd

from recart.data.cohort import Cohort
from recart.data.readers.assemble import Parts, assemble
from recart.data.readers.barcodes import match_barcodes, named_once, refuse_repeated
from recart.data.readers.chains import (
    airr_chains,
    has_sequences,
    obs_chains,
    refuse_ids_beside_cells,
    with_given_ids,
)
from recart.data.readers.columns import CHAIN_ROLES, Columns
from recart.data.readers.elements import Rows, by_rows, read_frame, read_levels
from recart.data.readers.file_kind import require_kind
from recart.data.readers.genes import gene_table, merge_duplicates
from recart.data.readers.hdf5_guard import guard_hdf5, opened
from recart.data.readers.modalities import cells_with_protein, modality_chains
from recart.data.readers.parts import PartReader, of_rows, patients_in_parts
from recart.data.readers.proteins import Proteins
from recart.data.readers.reader import Reader
from recart.data.readers.rna import find_rna, read_rna
from recart.data.readers.sample_tables import SideTables, read_side_tables
from recart.data.readers.turned import Turned, by_columns, turn
from recart.problems import InputError, Problem, Problems

__all__ = ["H5muReader"]

_NAMES: Final = {
    "rna": ("rna", "gex", "gene_expression"),
    "prot": ("prot", "adt", "protein", "proteins", "antibody_capture"),
    "airr": ("airr", "tcr", "vdj"),
}


@final
class H5muReader(Reader):
    """RNA (`rna` or `gex`), proteins (`prot`, `adt`, `protein`), receptors (scirpy's `airr`).

    Cells are those of the RNA; the other modalities are joined to them by barcode. Clone ids in
    `obs` of the receptors, else of the RNA, go before sequences; before those of `obsm['airr']`
    only ids of a column that is named in `columns`, or called `clone_id` or `bcr_clone_id`.

    Parameters
    ----------
    path
        The file.
    columns
        Column names by role, in the `obs` of the file or of a modality; see `Columns`.
    samples, patients
        Tables beside the file; None where `obs` holds everything.
    layer, protein_layer
        `X`, `raw` or a layer of the RNA and of the protein modality; None where there is no doubt.
    duplicate_genes
        What becomes of symbols that stand twice: `error`, `sum`, `first` or `ensembl`.
    """

    def __init__(
        self,
        path: str,
        columns: Columns | Mapping[str, str | None] | None = None,
        samples: str | None = None,
        patients: str | None = None,
        layer: str | None = None,
        protein_layer: str | None = None,
        duplicate_genes: str = "error",
    ) -> None:
        self.path = str(path)
        self.columns = Columns.of(columns)
        self.samples = samples
        self.patients = patients
        self.layer = layer
        self.protein_layer = protein_layer
        self.duplicate_genes = duplicate_genes

    def files(self) -> Sequence[Path]:
        """The file and the tables beside it."""
        return [Path(path) for path in (self.path, self.samples, self.patients) if path is not None]

    def read(self) -> Cohort:
        """Read the elements that are needed; the rest of the file is not loaded."""
        return self._cohort(self._tables(None), None, None)

    def parts(self, cells: int) -> Sequence[Reader]:
        """Patient by patient; matrices that lie column by column are turned first."""
        tables = self._tables(2**63)
        rows = patients_in_parts(tables.obs, self.columns, tables.side, cells)
        if len(rows) == 1:
            return [self]
        turned: dict[str, Turned] = {}
        with opened(self.path) as file:
            groups = _modalities(file, self.path)
            for role, setting in {"rna": "layer", "prot": "protein_layer"}.items():
                if role not in groups:
                    continue
                place = find_rna(groups[role], getattr(self, setting), self.path, setting)
                matrix = groups[role][place]
                own = turn(matrix, self.path) if by_columns(matrix) else None
                if own is not None:
                    turned[role] = own
                elif not by_rows(matrix):
                    return [self]
        at = None
        if tables.barcodes is not None:
            at = self._cell_of_barcode(tables.barcodes, tables.obs.index)
        read = partial(self._cohort, tables._replace(turned=turned), at)
        return [PartReader(own, read, self.files()) for own in rows]

    def _tables(self, max_bytes: int | None) -> _Tables:
        """What is read of the whole file in any case: its tables."""
        require_kind(self.path, "h5mu")
        guard_hdf5(self.path, max_bytes=max_bytes)
        problems = Problems()
        side = read_side_tables(self.samples, self.patients, self.columns, problems)
        dropped: dict[str, int] = {}
        with opened(self.path) as file:
            groups = _modalities(file, self.path)
            obs, levels = _joined_obs(file, groups, self.path)
            if len(groups) > 1:
                refuse_repeated(obs.index, "rna", self.path, problems)
            else:
                obs = named_once(obs, self.columns)
            barcodes = chains = None
            own = pd.DataFrame()  # clone ids of the receptors themselves
            if "prot" in groups:
                barcodes = read_frame(groups["prot"], "obs", self.path).index
                refuse_repeated(barcodes, "prot", self.path, problems)
            if "airr" in groups:
                airr_obs = read_frame(groups["airr"], "obs", self.path)
                refuse_repeated(airr_obs.index, "airr", self.path, problems)
                chains = airr_chains(groups["airr"], airr_obs.index, self.path, problems)
                own = self.columns.clone_ids(airr_obs, aliases=not has_sequences(chains))
                if chains is None:
                    rest = airr_obs.drop(columns=list(CHAIN_ROLES), errors="ignore")
                    chains, _ = obs_chains(pd.concat([rest, own], axis=1))
                else:
                    chains = with_given_ids(chains, own)
        refuse_ids_beside_cells(self.columns, obs, side.header, self.path, problems)
        if chains is None:
            chains, used = obs_chains(self.columns.rename(obs))
            obs = obs.drop(columns=used, errors="ignore")
        else:
            chains = modality_chains(chains, obs.index, self.path, problems, dropped)
            of_rna = self.columns.clone_ids(obs, aliases=not has_sequences(chains))
            chains = with_given_ids(chains, of_rna.drop(columns=own.columns, errors="ignore"))
        return _Tables(obs, levels, chains, barcodes, side, problems, dropped)

    def _cohort(self, tables: _Tables, at: Rows | None, rows: Rows | None) -> Cohort:
        """All cells, or those of `rows`; `at` is then the cell of each row of protein."""
        problems = Problems(errors=[*tables.problems.errors])
        dropped = dict(tables.dropped)
        obs, chains = of_rows(tables.obs, tables.chains, rows)
        barcodes = tables.barcodes
        proteins = None
        with opened(self.path) as file:
            groups = _modalities(file, self.path)
            matrix, features = read_rna(
                groups["rna"], self.layer, self.path, rows, tables.turned.get("rna")
            )
            if barcodes is not None:
                own = None
                if rows is not None and at is not None:
                    own = np.flatnonzero(np.isin(at, rows))
                    barcodes = barcodes[own]
                turned = tables.turned.get("prot")
                counts, names = read_rna(
                    groups["prot"], self.protein_layer, self.path, own, turned, "protein_layer"
                )
                proteins = Proteins(
                    counts.toarray().astype(np.float32), [str(name) for name in names.index]
                )
        rna, genes = merge_duplicates(matrix, gene_table(features), self.duplicate_genes, dropped)
        parts = Parts(
            rna=rna,
            genes=genes,
            obs=obs,
            levels=tables.levels,
            chains=chains,
            source={"rna": self.path, "protein": self.path, "chains": self.path},
            dropped=dropped,
        )
        joinable = barcodes is not None and barcodes.is_unique and obs.index.is_unique
        if proteins is not None and barcodes is not None and joinable:
            available = list(map(str, obs.columns))
            sample = self.columns.find("sample", available)
            sample = sample or self.columns.find("patient", available)
            parts = cells_with_protein(parts, proteins, barcodes, sample, self.path, problems)
        return assemble(parts, self.columns, tables.side, problems)

    def _cell_of_barcode(self, barcodes: pd.Index, cells: pd.Index) -> Rows:
        """Row of `cells` of each barcode of the proteins, -1 without one."""
        return match_barcodes(
            barcodes,
            cells,
            file=self.path,
            sample="",
            modality="protein",
            problems=Problems(),  # said where the protein is joined to its cells
        )


class _Tables(NamedTuple):
    obs: pd.DataFrame
    levels: dict[str, tuple[str, ...]]
    chains: pd.DataFrame | None
    barcodes: pd.Index | None
    side: SideTables
    problems: Problems
    dropped: dict[str, int]
    turned: Mapping[str, Turned] = {}  # matrices row by row, by role


def _modalities(file: h5py.File, path: str) -> dict[str, h5py.Group]:
    by_lower = {name.lower(): name for name in file["mod"]}
    found = {
        role: file["mod"][by_lower[alias]]
        for role, aliases in _NAMES.items()
        for alias in reversed(aliases)
        if alias in by_lower
    }
    if "rna" not in found:
        raise InputError(
            [
                Problem(
                    code="E-FILE-005",
                    what=f"no modality rna or gex among {', '.join(file['mod']) or 'none'}",
                    mend="name the modality of gene expression `rna`",
                    file=path,
                    feature="/mod/rna",
                )
            ]
        )
    return found


def _joined_obs(
    file: h5py.File, groups: dict[str, h5py.Group], path: str
) -> tuple[pd.DataFrame, dict[str, tuple[str, ...]]]:
    """`obs` of the RNA, then what only the file or another modality knows of its cells.

    Beside it the levels of those columns that are ordered.
    """
    obs, levels = read_frame(groups["rna"], "obs", path), read_levels(groups["rna"], "obs")
    others = [file] if "obs" in file else []
    others += [groups[role] for role in ("prot", "airr") if role in groups]
    for group in others:
        other, own = read_frame(group, "obs", path), read_levels(group, "obs")
        if not (other.index.is_unique and obs.index.is_unique):
            continue
        for column in other.columns:
            # mudata pulls columns of a modality up as `rna:column`
            name = str(column).split(":", 1)[-1]
            if name not in obs.columns:
                obs[name] = other[column].reindex(obs.index)
                levels |= {name: own[column]} if column in own else {}
    return obs, levels
