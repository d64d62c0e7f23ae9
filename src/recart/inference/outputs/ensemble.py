"""What all members of a run say together: their draws pooled, over the features they share."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import final

import numpy as np

from recart.inference.outputs.chosen import Rows, positions_of
from recart.inference.outputs.expression import Expression
from recart.inference.outputs.member_outputs import MemberOutputs
from recart.inference.outputs.outputs import Floats, Outputs

__all__ = ["EnsembleOutputs"]


@final
class EnsembleOutputs(Outputs):
    """Outputs of several members of the same store; a mean over draws is one over members.

    Genes, proteins and batches are those that all members know; frequencies of RNA are among these
    genes. There are no latents: the axes of different members do not correspond.
    """

    def __init__(self, members: Sequence[MemberOutputs]) -> None:
        if not members:
            raise ValueError("an ensemble of no members")
        if any(member.store is not members[0].store for member in members):
            raise ValueError("the members do not look at the same store")
        self.members = tuple(members)
        self.store = members[0].store
        self.genes = _shared([member.genes for member in members])
        self.proteins = _shared([member.proteins for member in members])
        self.batches = _shared([member.batches for member in members])
        self._gene = [positions_of(self.genes, member.genes, "gene") for member in members]
        self._protein = [
            positions_of(self.proteins, member.proteins, "protein") for member in members
        ]

    def draws(self, n_samples: int | None) -> int:
        """As many of each member."""
        return len(self.members) * (n_samples or 1)

    def expression_chunks(
        self, asked: Expression, indices: Rows | None = None, seed: int = 0
    ) -> Iterator[tuple[slice, int, Floats, Floats]]:
        """Normalised expression of every member, chunk and draw."""
        for m, member in enumerate(self.members):
            first = m * (asked.n_samples or 1)
            for at, draw, rna, protein in member.expression_chunks(asked, indices, seed):
                yield at, first + draw, self._rna(m, rna, asked), protein[:, self._protein[m]]

    def foreground_chunks(
        self, asked: Expression, indices: Rows | None = None, seed: int = 0
    ) -> Iterator[tuple[slice, int, Floats]]:
        """Foreground probabilities of every member, chunk and draw."""
        for m, member in enumerate(self.members):
            first = m * (asked.n_samples or 1)
            for at, draw, probability in member.foreground_chunks(asked, indices, seed):
                yield at, first + draw, probability[:, self._protein[m]]

    def predictive_chunks(
        self, n_samples: int, indices: Rows | None = None, seed: int = 0
    ) -> Iterator[tuple[slice, int, Floats, Floats]]:
        """Counts of every member, chunk and draw."""
        for m, member in enumerate(self.members):
            for at, draw, rna, protein in member.predictive_chunks(n_samples, indices, seed):
                drawn = rna[:, self._gene[m]], protein[:, self._protein[m]]
                yield at, m * n_samples + draw, *drawn

    def draw_expression(self, asked: Expression, rows: Rows, seed: int) -> tuple[Floats, Floats]:
        """One draw for each of `rows`: the members take turns."""
        rna = np.empty((len(rows), len(self.genes)), dtype=np.float32)
        protein = np.empty((len(rows), len(self.proteins)), dtype=np.float32)
        for m, member in enumerate(self.members):
            turn = slice(m, None, len(self.members))
            own_rna, own_protein = member.draw_expression(asked, rows[turn], seed)
            rna[turn] = self._rna(m, own_rna, asked)
            protein[turn] = own_protein[:, self._protein[m]]
        return rna, protein

    def _rna(self, m: int, rna: Floats, asked: Expression) -> Floats:
        shared: Floats = rna[:, self._gene[m]]
        if asked.library_size == "latent" or not self.members[m].stack.recipe.rna.counts:
            return shared
        # members have genes of their own: frequencies compare only among those of all members
        total = shared.sum(axis=1, keepdims=True)
        scaled: Floats = shared * (asked.library_size / np.maximum(total, np.finfo("f4").tiny))
        return scaled


def _shared(names: Sequence[tuple[str, ...]]) -> tuple[str, ...]:
    common = set(names[0]).intersection(*names[1:])
    return tuple(name for name in names[0] if name in common)
