"""Sizes of the data that a stack of members reads."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

__all__ = ["Sizes"]


@dataclass(frozen=True, kw_only=True)
class Sizes:
    """Sizes of the data, as the store and the members' features give them.

    `genes` is the length of the longest gene list, `genes_m` of each member's; None: all are of
    that length. `batches[m]` is how many batch categories member `m` knows.
    """

    genes: int
    proteins: int
    receptor: int
    batches: tuple[int, ...]
    genes_m: tuple[int, ...] | None = None

    @property
    def own_genes(self) -> tuple[int, ...]:
        """How many genes each member has."""
        return (self.genes,) * len(self.batches) if self.genes_m is None else self.genes_m

    def of(self, members: Sequence[int]) -> Sizes:
        """Sizes of a stack of these members alone."""
        genes = tuple(self.own_genes[m] for m in members)
        return Sizes(
            genes=max(genes),
            proteins=self.proteins,
            receptor=self.receptor,
            batches=tuple(self.batches[m] for m in members),
            genes_m=genes,
        )
