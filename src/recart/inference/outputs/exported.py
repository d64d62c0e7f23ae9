"""Outputs of new patients' cells as files hold them: in the order of the cohort, by chunks."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from typing import Any, Final, final

import numpy as np
import pandas as pd

from recart.inference.outputs.chosen import Rows, parts_of
from recart.inference.outputs.expression import Expression
from recart.inference.outputs.outputs import Floats, Outputs
from recart.problems import InputError, Problem

__all__ = ["OUTPUTS", "ExportedOutputs", "check_outputs"]

OUTPUTS: Final = (
    "latents",
    "denoised_rna",
    "denoised_protein",
    "protein_foreground_prob",
    "imputed_protein",
    "attribution",
)
_TABLES: Final = frozenset(OUTPUTS[2:5])
_CHUNK: Final = 1024
_PIECE: Final = 1 << 18  # entries of a chunk of the file
_PER_CELL: Final = 1e4  # the scale of scanpy's and scvi-tools' normalised counts


def check_outputs(names: Sequence[str]) -> None:
    """Refuse names of outputs that there are not.

    Raises
    ------
    InputError
        Naming all of them.
    """
    unknown = tuple(name for name in names if name not in OUTPUTS)
    if unknown:
        problem = Problem(
            code="E-OUT-009",
            what=f"unknown outputs: {', '.join(unknown)}",
            mend=f"choose among {', '.join(OUTPUTS)}",
            column="outputs",
        )
        raise InputError([problem])


@final
class ExportedOutputs:
    """The outputs asked for, of all cells, in the order in which the cohort was read.

    `denoised_rna` are expected counts per 10,000 of the modelled genes. `denoised_protein` is
    foreground only. `imputed_protein` are expected counts, background included, of proteins that a
    cell's sample did not measure; NaN where it did. Nothing is drawn.
    """

    def __init__(self, outputs: Outputs, names: Collection[str]) -> None:
        self.outputs = outputs
        self.names = frozenset(names)

    def tables(self) -> dict[str, pd.DataFrame]:
        """Tables of proteins (cells in rows), and `protein_measured`, which flags the imputed."""
        wanted = self.names & _TABLES
        if not wanted or not self.outputs.proteins:
            return {}
        shape = len(self.outputs.store.cells), len(self.outputs.proteins)
        values = {name: np.empty(shape, dtype=np.float32) for name in sorted(wanted)}
        measured = np.empty(shape, dtype=np.bool_)
        for rows in parts_of(None, self.outputs.store, _CHUNK):
            source = self._source(rows)
            measured[source] = self._measured(rows)
            if "denoised_protein" in values:
                values["denoised_protein"][source] = self._mean(Expression(), rows)[1]
            if "imputed_protein" in values:
                counts = Expression(include_protein_background=True, efficiency=True)
                values["imputed_protein"][source] = self._mean(counts, rows)[1]
            if "protein_foreground_prob" in values:
                values["protein_foreground_prob"][source] = self._foreground(rows)
        names = list(self.outputs.proteins)
        tables = {name: pd.DataFrame(array, columns=names) for name, array in values.items()}
        if "imputed_protein" in tables:
            tables["imputed_protein"] = tables["imputed_protein"].mask(measured)
        return {**tables, "protein_measured": pd.DataFrame(measured, columns=names)}

    def write_rna(self, layers: Any, genes: Sequence[str]) -> None:
        """Write `denoised_rna` into the HDF5 group of an AnnData's layers, chunk by chunk.

        A CSR matrix over `genes` with the modelled ones as its entries. Where it is there already,
        these cells are added to it.
        """
        place = pd.Index(genes).get_indexer(pd.Index(self.outputs.genes))
        order = np.argsort(place)
        cells, width = len(self.outputs.store.cells), len(place)
        group = layers.require_group("denoised_rna")
        before = _with_rows(group, cells, len(genes), width)
        data, indices = group["data"], group["indices"]
        scale = _PER_CELL if not self.outputs.store.normalised else 1.0
        columns = place[order].astype(indices.dtype)
        for rows in parts_of(None, self.outputs.store, _CHUNK):
            values = self._mean(Expression(library_size=scale), rows)[0][:, order]
            for row, own in zip(before + self._source(rows), values, strict=True):
                data[row * width : (row + 1) * width] = own
                indices[row * width : (row + 1) * width] = columns

    def _source(self, rows: Rows) -> Rows:
        source: Rows = self.outputs.store.cells["source"].to_numpy()[rows]
        return source

    def _measured(self, rows: Rows) -> np.ndarray[Any, np.dtype[np.bool_]]:
        store = self.outputs.store
        place = pd.Index(store.proteins).get_indexer(pd.Index(self.outputs.proteins))
        measured = np.zeros((len(rows), len(place)), dtype=np.bool_)
        sample = store.cells["sample"].to_numpy()[rows]
        measured[:, place >= 0] = store.protein_measured[sample][:, place[place >= 0]]
        return measured

    def _mean(self, asked: Expression, rows: Rows) -> tuple[Floats, Floats]:
        draws = self.outputs.draws(None)
        chunks = self.outputs.expression_chunks(asked, rows)
        _, _, rna, protein = next(chunks)
        for _, _, more_rna, more_protein in chunks:
            rna += more_rna
            protein += more_protein
        rna /= draws
        protein /= draws
        return rna, protein

    def _foreground(self, rows: Rows) -> Floats:
        chunks = self.outputs.foreground_chunks(Expression(), rows)
        probability: Floats = np.mean([own for _, _, own in chunks], axis=0)
        return probability


def _with_rows(group: Any, cells: int, genes: int, width: int) -> int:
    """Make room for rows of `width` entries in a CSR matrix on disk; returns the rows before."""
    if "data" not in group:
        group.attrs.update({"encoding-type": "csr_matrix", "encoding-version": "0.1.0"})
        # int64: how many there will be in all is not known
        for name, kind in (("data", np.float32), ("indices", np.int32), ("indptr", np.int64)):
            group.create_dataset(name, (0,), kind, maxshape=(None,), chunks=(_PIECE,))
    before = max(0, len(group["indptr"]) - 1)
    rows = before + cells
    for name in ("data", "indices"):
        group[name].resize((rows * width,))
    group["indptr"].resize((rows + 1,))
    group["indptr"][before:] = np.arange(before, rows + 1) * width
    group.attrs["shape"] = (rows, genes)
    return before
