"""The questions that scvi-tools' users ask of a TOTALVI model, by the names they know."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
import pandas as pd

from recart.data.store import CohortStore
from recart.inference.outputs.chosen import Rows, positions_of, rows_of
from recart.inference.outputs.expression import Expression, LibrarySize

__all__ = ["Batches", "Floats", "Outputs"]

Floats = np.ndarray[Any, np.dtype[np.float32]]
Batches = str | Sequence[str] | None


class Outputs(ABC):
    """Denoised values, foreground probabilities and samples of the cells of a store.

    Cells are rows of the store, given by numbers or by a mask; all where none are given. They are
    decoded chunk by chunk. What is drawn follows from the argument `seed` alone.

    Attributes
    ----------
    store
        The cells.
    genes, proteins
        Columns of RNA and protein. Proteins are those seen in training, whether the store has them
        or not: what was not measured is imputed from what was.
    batches
        Batches that can be decoded under, for `transform_batch`.
    """

    store: CohortStore
    genes: tuple[str, ...]
    proteins: tuple[str, ...]
    batches: tuple[str, ...]

    @abstractmethod
    def draws(self, n_samples: int | None) -> int:
        """How many draws there are of each cell where `n_samples` are asked for."""

    @abstractmethod
    def expression_chunks(
        self, asked: Expression, indices: Rows | None = None, seed: int = 0
    ) -> Iterator[tuple[slice, int, Floats, Floats]]:
        """Where a chunk stands among the cells asked for, the number of the draw, RNA, protein.

        RNA (c, g) has the columns of `genes`, protein (c, a) those of `proteins`.
        """

    @abstractmethod
    def foreground_chunks(
        self, asked: Expression, indices: Rows | None = None, seed: int = 0
    ) -> Iterator[tuple[slice, int, Floats]]:
        """Where a chunk stands, the number of the draw, foreground probabilities (c, a)."""

    @abstractmethod
    def predictive_chunks(
        self, n_samples: int, indices: Rows | None = None, seed: int = 0
    ) -> Iterator[tuple[slice, int, Floats, Floats]]:
        """Where a chunk stands, the number of the draw, drawn RNA and protein counts."""

    @abstractmethod
    def draw_expression(self, asked: Expression, rows: Rows, seed: int) -> tuple[Floats, Floats]:
        """One draw of RNA and protein for each of `rows`, in which a cell may stand repeatedly."""

    def get_normalized_expression(
        self,
        indices: Rows | None = None,
        *,
        transform_batch: Batches = None,
        gene_list: Sequence[str] | None = None,
        protein_list: Sequence[str] | None = None,
        library_size: LibrarySize = 1.0,
        n_samples: int | None = None,
        sample_protein_mixing: bool = False,
        scale_protein: bool = False,
        include_protein_background: bool = False,
        return_mean: bool = True,
        seed: int = 0,
    ) -> tuple[Any, Any]:
        """Denoised RNA and protein, two tables with cells in rows.

        Parameters
        ----------
        indices
            Cells.
        transform_batch
            Batch to decode all cells under, or several that are averaged over; None: their own.
        gene_list, protein_list
            Which to return, in this order; None: all.
        library_size
            1 gives frequencies that sum to 1 over the member's genes; "latent" expected counts at
            the cell's observed library. No effect on a model of normalised values.
        n_samples
            Draws of latent and protein background. None decodes the mean latent and the expected
            background, and draws nothing; the default of scvi-tools is one draw.
        sample_protein_mixing
            Draw whether a protein shows background or foreground.
        scale_protein
            Let the proteins of a cell sum to 1.
        include_protein_background
            Add the background's share.
        return_mean
            The mean over draws; False gives two arrays (cells, features, samples) instead.
        seed
            Of what is drawn.

        Raises
        ------
        InputError
            If a cell, batch, gene or protein is unknown.
        """
        asked = Expression(
            transform_batch=self._named(transform_batch),
            n_samples=n_samples,
            library_size=library_size,
            include_protein_background=include_protein_background,
            scale_protein=scale_protein,
            sample_protein_mixing=sample_protein_mixing,
        )
        gene = positions_of(gene_list, self.genes, "gene")
        protein = positions_of(protein_list, self.proteins, "protein")
        cells = rows_of(indices, self.store)
        draws = self.draws(n_samples)
        if not return_mean:
            rna = np.empty((len(cells), len(gene), draws), dtype=np.float32)
            proteins = np.empty((len(cells), len(protein), draws), dtype=np.float32)
            for at, draw, rna_cg, protein_ca in self.expression_chunks(asked, indices, seed):
                rna[at, :, draw], proteins[at, :, draw] = rna_cg[:, gene], protein_ca[:, protein]
            return rna, proteins
        rna = np.zeros((len(cells), len(gene)), dtype=np.float32)
        proteins = np.zeros((len(cells), len(protein)), dtype=np.float32)
        for at, _, rna_cg, protein_ca in self.expression_chunks(asked, indices, seed):
            rna[at] += rna_cg[:, gene] / draws
            proteins[at] += protein_ca[:, protein] / draws
        index = self.store.cells.index[cells]
        return (
            pd.DataFrame(rna, index=index, columns=[self.genes[g] for g in gene]),
            pd.DataFrame(proteins, index=index, columns=[self.proteins[a] for a in protein]),
        )

    def get_protein_foreground_probability(
        self,
        indices: Rows | None = None,
        *,
        transform_batch: Batches = None,
        protein_list: Sequence[str] | None = None,
        n_samples: int | None = None,
        seed: int = 0,
    ) -> pd.DataFrame:
        """Probability that a protein's counts are foreground and not background, cells in rows.

        Arguments as in `get_normalized_expression`.
        """
        protein = positions_of(protein_list, self.proteins, "protein")
        asked = Expression(transform_batch=self._named(transform_batch), n_samples=n_samples)
        cells = rows_of(indices, self.store)
        draws = self.draws(n_samples)
        probability = np.zeros((len(cells), len(protein)), dtype=np.float32)
        for at, _, foreground_ca in self.foreground_chunks(asked, indices, seed):
            probability[at] += foreground_ca[:, protein] / draws
        names = [self.proteins[a] for a in protein]
        return pd.DataFrame(probability, index=self.store.cells.index[cells], columns=names)

    def posterior_predictive_sample(
        self,
        indices: Rows | None = None,
        *,
        n_samples: int = 1,
        gene_list: Sequence[str] | None = None,
        protein_list: Sequence[str] | None = None,
        seed: int = 0,
    ) -> dict[str, Floats]:
        """Draws of the counts of the same cells: `rna` and `protein`, (cells, features, samples).

        The last axis is left out for one sample. Name the features where there are many cells, or
        take `predictive_chunks`.
        """
        gene = positions_of(gene_list, self.genes, "gene")
        protein = positions_of(protein_list, self.proteins, "protein")
        cells, draws = len(rows_of(indices, self.store)), self.draws(n_samples)
        rna = np.empty((cells, len(gene), draws), dtype=np.float32)
        proteins = np.empty((cells, len(protein), draws), dtype=np.float32)
        for at, draw, rna_cg, protein_ca in self.predictive_chunks(n_samples, indices, seed):
            rna[at, :, draw], proteins[at, :, draw] = rna_cg[:, gene], protein_ca[:, protein]
        drawn = {"rna": rna, "protein": proteins}
        return {key: value[..., 0] for key, value in drawn.items()} if draws == 1 else drawn

    def _named(self, batches: Batches) -> tuple[str, ...] | None:
        if batches is None:
            return None
        return tuple(self.batches[e] for e in positions_of(batches, self.batches, "batch"))
