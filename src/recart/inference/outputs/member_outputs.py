"""What one trained member says of the cells of a store."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from typing import final

import numpy as np
import torch
from torch import Tensor

from recart.contracts import CellBatch
from recart.data.batches import gather
from recart.data.features import BoundFeatures
from recart.data.store import CohortStore
from recart.inference.outputs.chosen import Rows, parts_of, rows_of
from recart.inference.outputs.decoding import draw_latent
from recart.inference.outputs.draws import generator_of
from recart.inference.outputs.expression import (
    Expression,
    foreground_probability,
    normalised_expression,
)
from recart.inference.outputs.outputs import Floats, Outputs
from recart.inference.outputs.predictive import predictive_samples
from recart.models.totalvi import TotalVIStack

__all__ = ["MemberOutputs"]


@final
class MemberOutputs(Outputs):
    """Latents and all other outputs of one member.

    A cell whose batch the member does not know is decoded under every batch that it knows, weighed
    by the batch's share of the training cells, as its latent is.

    Parameters
    ----------
    stack
        A stack of one member.
    bound
        Its features, met with `store`.
    store
        The cells.
    chunk
        Cells decoded at once.
    """

    def __init__(
        self, stack: TotalVIStack, bound: BoundFeatures, store: CohortStore, chunk: int = 1024
    ) -> None:
        if len(stack.sizes.batches) != 1:
            raise ValueError(f"a stack of one member is needed, not {len(stack.sizes.batches)}")
        self.stack = stack.eval()
        self.bound = bound
        self.store = store
        self.chunk = chunk
        spec = bound.features.spec
        self._gene = np.flatnonzero(bound.genes >= 0)
        self._protein = np.flatnonzero(bound.features.protein_seen)
        self.genes = tuple(spec.genes[g] for g in self._gene)
        self.proteins = tuple(spec.proteins[a] for a in self._protein)
        self.batches = spec.batches

    @torch.no_grad()
    def get_latent_representation(
        self,
        indices: Rows | None = None,
        *,
        give_mean: bool = True,
        return_dist: bool = False,
        seed: int = 0,
    ) -> Floats | tuple[Floats, Floats]:
        """Latents (c, l): the mean of `q(z | cell)`, or a draw; or its mean and variance."""
        shape = (len(rows_of(indices, self.store)), self.stack.recipe.latent)
        latent, variance = np.empty((2, *shape), dtype=np.float32)
        for at, batch, generator in self._chunks(indices, seed):
            posterior = self.stack.latent(batch)
            z_mbl = posterior.mean_mbl
            if not (give_mean or return_dist):
                z_mbl = draw_latent(self.stack, posterior, generator)
            latent[at], variance[at] = _array(z_mbl), _array(posterior.variance_mbl)
        return (latent, variance) if return_dist else latent

    def get_latent_library_size(self, indices: Rows | None = None) -> Floats:
        """Library size (c, 1): the observed one, over the member's genes.

        The model conditions on it (`use_observed_lib_size` in scvi-tools); there is no latent one.
        """
        library = np.empty((len(rows_of(indices, self.store)), 1), dtype=np.float32)
        for at, batch, _ in self._chunks(indices, 0):
            library[at] = _array(batch.x.row_sums(batch.x.value_n).unsqueeze(-1))
        return library

    def draws(self, n_samples: int | None) -> int:
        """As many as are asked for; one where none are, of means."""
        return n_samples or 1

    def draw_expression(self, asked: Expression, rows: Rows, seed: int) -> tuple[Floats, Floats]:
        """One draw for each of `rows`."""
        rna = np.empty((len(rows), len(self.genes)), dtype=np.float32)
        protein = np.empty((len(rows), len(self.proteins)), dtype=np.float32)
        for at, _, rna_cg, protein_ca in self.expression_chunks(
            replace(asked, n_samples=1), rows, seed
        ):
            rna[at], protein[at] = rna_cg, protein_ca
        return rna, protein

    @torch.no_grad()
    def expression_chunks(
        self, asked: Expression, indices: Rows | None = None, seed: int = 0
    ) -> Iterator[tuple[slice, int, Floats, Floats]]:
        """Normalised expression of every chunk and draw."""
        own = self._categories(asked)
        for at, batch, generator in self._chunks(indices, seed):
            drawn = normalised_expression(self.stack, batch, asked, own, generator)
            for draw, (rna, protein) in enumerate(drawn):
                yield at, draw, self._rna(rna), self._proteins(protein)

    @torch.no_grad()
    def foreground_chunks(
        self, asked: Expression, indices: Rows | None = None, seed: int = 0
    ) -> Iterator[tuple[slice, int, Floats]]:
        """Foreground probabilities of every chunk and draw."""
        own = self._categories(asked)
        for at, batch, generator in self._chunks(indices, seed):
            drawn = foreground_probability(self.stack, batch, asked, own, generator)
            for draw, probability in enumerate(drawn):
                yield at, draw, self._proteins(probability)

    @torch.no_grad()
    def predictive_chunks(
        self, n_samples: int, indices: Rows | None = None, seed: int = 0
    ) -> Iterator[tuple[slice, int, Floats, Floats]]:
        """Counts of every chunk and draw."""
        for at, batch, generator in self._chunks(indices, seed):
            drawn = predictive_samples(self.stack, batch, n_samples, generator)
            for draw, (rna, protein) in enumerate(drawn):
                yield at, draw, self._rna(rna), self._proteins(protein)

    def _chunks(
        self, indices: Rows | None, seed: int
    ) -> Iterator[tuple[slice, CellBatch, torch.Generator]]:
        device = self.stack.log_protein_theta.device
        start = 0
        for part, rows in enumerate(parts_of(indices, self.store, self.chunk)):
            batch = gather(self.store, [self.bound], [rows], width=len(rows)).to(device)
            yield slice(start, start + len(rows)), batch, generator_of(seed, part)
            start += len(rows)

    def _categories(self, asked: Expression) -> list[int] | None:
        if asked.transform_batch is None:
            return None
        return [self.batches.index(name) for name in asked.transform_batch]

    def _rna(self, values_mbg: Tensor) -> Floats:
        return _array(values_mbg)[:, self._gene]

    def _proteins(self, values_mba: Tensor) -> Floats:
        return _array(values_mba)[:, self._protein]


def _array(values: Tensor) -> Floats:
    """Values of the only member."""
    array: Floats = values[0].cpu().numpy()
    return array
