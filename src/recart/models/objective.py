"""The objective of a member: the terms of its evidence lower bound, weighted."""

from __future__ import annotations

from dataclasses import dataclass

from jaxtyping import Float
from torch import Tensor

from recart.ranges import NOT_NEGATIVE, require

__all__ = ["TermWeights"]


@dataclass(frozen=True)
class TermWeights:
    """Weights of the terms of the objective; the training warms some of them up.

    `kl` weighs the divergence of `z` alone; a member may have its own in its settings.
    With `clone_level` the receptor is reconstructed once a clone of a sample, not once a cell: a
    clone of a thousand cells is one receptor, and would else drown the others. Presence stays a
    matter of cells.
    """

    protein: float = 1.0
    receptor: float = 1.0
    presence: float = 1.0
    clone_level: bool = False
    kl: float = 1.0

    def __post_init__(self) -> None:
        """Refuse what is no weight, as a `ValueError`."""
        require(self, dict.fromkeys(("protein", "receptor", "presence", "kl"), NOT_NEGATIVE))

    def total(
        self,
        terms: dict[str, Float[Tensor, "m b"]],
        kl_weight: float | Tensor,
        kl_weight_m: Float[Tensor, " m"],
    ) -> Float[Tensor, "m b"]:
        """The weighted sum for every cell.

        As in scvi-tools, the warm-up `kl_weight` also scales the protein term. A member's own
        `kl_weight_m` scales the divergence of `z` alone.
        """
        kl_z = kl_weight_m.unsqueeze(-1) * terms["kl_z"]
        warmed = self.protein * terms["protein"] + kl_z + terms["kl_background"]
        rest = self.receptor * terms["receptor"] + self.presence * terms["presence"]
        return terms["rna"] + rest + kl_weight * warmed
