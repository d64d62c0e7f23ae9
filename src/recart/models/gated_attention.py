"""Gated attention over the instances of a bag, cells or tokens, for a stack of members."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import final

import torch
from jaxtyping import Bool, Float
from torch import Tensor, nn

from recart.models.stacked import StackedLinear, initialise

__all__ = ["GatedAttention", "attention_parameters", "masked_softmax"]


def attention_parameters(inputs: int, hidden: int) -> int:
    """Parameters of one member."""
    return (inputs + 1) * hidden + 2 * (hidden + 1) * hidden + (hidden + 1) + hidden


def masked_softmax(
    score_mnc: Float[Tensor, "*m n c"], mask_mnc: Bool[Tensor, "*m n c"]
) -> Float[Tensor, "*m n c"]:
    """Weights over the instances that are there; all 0 where a bag has none."""
    score_mnc = score_mnc.masked_fill(~mask_mnc, -torch.inf)
    top = score_mnc.amax(-1, keepdim=True).nan_to_num(neginf=0.0).detach()
    weight = torch.exp(score_mnc - top)
    return weight / weight.sum(-1, keepdim=True).clamp_min(1e-300)


@final
class GatedAttention(nn.Module):
    """Gated attention (Ilse, Tomczak & Welling, 2018) with a readout that starts at zero.

    An instance `x` becomes `h = tanh(W x)`; its score is `w (tanh(V h) * sigmoid(U h))`, its weight
    the softmax of the scores over the instances of the bag that are there. The bag's logit is the
    readout of the weighted mean of `h`: 0 until the readout is trained, and 0 for a bag without
    instances. `seeds` has one seed a member; it draws the same weights in any company.
    """

    def __init__(self, seeds: Sequence[int], inputs: int, hidden: int) -> None:
        super().__init__()
        members = len(seeds)
        self.embed = StackedLinear(members, inputs, hidden)
        self.content = StackedLinear(members, hidden, hidden)
        self.gate = StackedLinear(members, hidden, hidden)
        self.score = StackedLinear(members, hidden, 1)
        self.readout = nn.Parameter(torch.zeros(members, hidden))
        initialise(self, seeds, [0] * members)
        self.double()  # small, and a member in company is then the member alone

    def instances(
        self, x_mri: Float[Tensor, "m r i"]
    ) -> tuple[Float[Tensor, "m r h"], Float[Tensor, "m r"]]:
        """Hidden units and score of each instance."""
        h = torch.tanh(self.embed(x_mri))
        gated = torch.tanh(self.content(h)) * torch.sigmoid(self.gate(h))
        return h, self.score(gated).squeeze(-1)

    def forward(
        self, x_mnci: Float[Tensor, "m n c i"], mask_mnc: Bool[Tensor, "m n c"]
    ) -> tuple[Float[Tensor, "m n"], Float[Tensor, "m n c"], Float[Tensor, "m n h"]]:
        """Logit, attention and weighted mean of each bag."""
        h, score = self.instances(x_mnci.flatten(1, 2))
        attention = masked_softmax(score.view(mask_mnc.shape), mask_mnc)
        pooled = torch.einsum("mnc,mnch->mnh", attention, h.view(*mask_mnc.shape, -1))
        return self.read(pooled), attention, pooled

    def read(self, pooled_mnh: Float[Tensor, "m n h"]) -> Float[Tensor, "m n"]:
        """Logit of a weighted mean."""
        return torch.einsum("mnh,mh->mn", pooled_mnh, self.readout)

    def pool_chunks(self, chunks: Iterable[Float[Tensor, "m c i"]]) -> Float[Tensor, "m h"]:
        """Weighted mean over all instances of one bag that come in chunks: large bags."""
        top = self.readout.new_full((len(self.readout), 1), -torch.inf)
        total = torch.zeros_like(top)
        pooled = torch.zeros_like(self.readout)
        for x_mci in chunks:
            h, score = self.instances(x_mci)
            now = torch.maximum(top, score.amax(-1, keepdim=True))
            weight, old = torch.exp(score - now), torch.exp(top - now)
            total = total * old + weight.sum(-1, keepdim=True)
            pooled = pooled * old + torch.einsum("mc,mch->mh", weight, h)
            top = now
        return pooled / total.clamp_min(1e-300)
