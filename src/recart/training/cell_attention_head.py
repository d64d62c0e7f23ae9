"""The cells head: masked gated attention over cells, for comparison and explanation."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, final

import numpy as np
import torch

from recart.models.gated_attention import GatedAttention
from recart.ranges import AT_LEAST_ONE, Range
from recart.training.cell_attention_training import CellProblem, CellTraining
from recart.training.cell_views import CellScaling, all_cells, known_cells
from recart.training.head_problems import (
    HeadProblem,
    chosen_elsewhere,
    head_problems,
    log_losses,
)
from recart.training.heads import (
    Array,
    BagLatents,
    ChosenHead,
    Head,
    HeadWords,
    Token,
)
from recart.training.prototype_tokens import tokens_of

__all__ = ["CellAttentionHead", "FittedCellAttentionHead"]

_LOOKS = 10  # at the inner folds, over the epochs


@final
@dataclass(frozen=True, kw_only=True)
class CellAttentionHead(Head):
    """Recipe of gated attention over cells (Ilse, Tomczak & Welling, 2018).

    In each step `training` draws several random views of each bag, so that a bag of many cells
    costs no more than a small one; evaluation reads all cells. The number of epochs, at most
    `epochs`, is that of least log loss over `inner_folds`; 0 leaves the share of responders.
    Markers, clones and covariates are not read.
    """

    training: CellTraining
    epochs: int
    inner_folds: int

    reads_extras: ClassVar[bool] = False
    reads_markers: ClassVar[bool] = False
    ranges: ClassVar[Mapping[str, Range]] = {"epochs": AT_LEAST_ONE}
    words: ClassVar[HeadWords] = HeadWords(
        penalty="weight decay, random views of the cells, and a number of epochs chosen on inner "
        "folds, none where these favour the share of responders",
        predictors="latents of cells are standardised on the training patients",
        reading="tells by its attention which cells weighed, not why; the run says how far scores "
        "move without these cells",
    )

    def fit_stack(
        self, bags: Sequence[BagLatents], labels: Sequence[Array], seeds: Sequence[int]
    ) -> list[FittedCellAttentionHead]:
        """Choose the number of epochs on inner folds, train so long on all given bags."""
        problems = head_problems(bags, labels, seeds, self.inner_folds)
        every = max(1, self.epochs // _LOOKS)

        def ready(own: HeadProblem, epochs: int) -> CellProblem:
            member, train, test = own
            cells = bags[member]
            return CellProblem(
                bags=cells,
                labels=np.asarray(labels[member]),
                tokens=tokens_of(cells),
                scaling=CellScaling.fit(cells.latents, train),
                train=train,
                test=test,
                seed=seeds[member],
                epochs=epochs,
            )

        folds = [own for own in problems if len(own.test)]
        followed = self.training.fit([ready(own, self.epochs) for own in folds], every)
        logits = [np.zeros((self.epochs // every + 1, len(y))) for y in labels]
        for own, (_, path) in zip(folds, followed, strict=True):
            logits[own.member][:, own.test] = path
        losses = [log_losses(own, y).mean(-1) for own, y in zip(logits, labels, strict=True)]
        best = [int(own.argmin()) for own in losses]
        inner = [
            chosen_elsewhere(own, y, [fold.test for fold in folds if fold.member == m])
            for m, (own, y) in enumerate(zip(logits, labels, strict=True))
        ]
        finals = [ready(own, best[own.member] * every) for own in problems if not len(own.test)]
        trained = self.training.fit(finals, every)
        return [
            FittedCellAttentionHead(
                network=network,
                tokens=own.tokens,
                scaling=own.scaling,
                prior=own.prior,
                chosen={
                    "epochs": own.epochs,
                    "inner_log_loss": float(log_losses(inner[m], labels[m]).mean()),
                    "inner_log_losses": [float(x) for x in losses[m]],
                    "inner_logits": [float(x) for x in inner[m]],
                },
            )
            for m, (own, (network, _)) in enumerate(zip(finals, trained, strict=True))
        ]

    def restore(self, state: dict[str, Any]) -> FittedCellAttentionHead:
        """The fitted head of a checkpoint."""
        return FittedCellAttentionHead(
            network=self.training.restore(state["network"]),
            tokens=tuple(Token(*own) for own in state["tokens"]),
            scaling=CellScaling(state["mean"].numpy(), state["scale"].numpy()),
            prior=state["prior"],
            chosen=state["chosen"],
        )


@final
@dataclass(frozen=True, kw_only=True)
class FittedCellAttentionHead(ChosenHead):
    """Network, tokens and scaling of one member; `prior` is the log odds of its responders."""

    network: GatedAttention
    tokens: tuple[Token, ...]
    scaling: CellScaling
    prior: float
    chosen: dict[str, Any]

    def logits(self, bags: BagLatents) -> Array:
        """(n) log odds."""
        pooled = torch.from_numpy(self._pooled(bags)).unsqueeze(1)
        with torch.no_grad():  # bag by bag: in any company the same numbers
            rows = [float(self.network.read(own.unsqueeze(0))) for own in pooled]
        return self.prior + np.array(rows)

    @torch.no_grad()
    def attention(self, bags: BagLatents) -> list[Array]:
        """(c) attention of each cell of each bag; it sums to 1, and is 0 for an unknown token."""
        attentions = []
        for n, z in enumerate(bags.latents):
            scores = [
                self.network.instances(x)[1][0]
                for x in all_cells(bags, n, self.tokens, self.scaling)
            ]
            own = np.zeros(len(z))
            if scores:
                known, _ = known_cells(bags, n, self.tokens)
                own[known] = torch.softmax(torch.cat(scores), dim=0).numpy()
            attentions.append(own)
        return attentions

    def embedding(self, bags: BagLatents) -> tuple[Array, list[str]]:
        """(n, h) attention-weighted mean of the cells' hidden units."""
        pooled = self._pooled(bags)
        return pooled, [f"attention:{i}" for i in range(pooled.shape[1])]

    def state(self) -> dict[str, Any]:
        """Plain Python and tensors."""
        return {
            "network": dict(self.network.state_dict()),
            "tokens": [list(own) for own in self.tokens],
            "mean": torch.from_numpy(self.scaling.mean),
            "scale": torch.from_numpy(self.scaling.scale),
            "prior": self.prior,
            "chosen": self.chosen,
        }

    @torch.no_grad()
    def _pooled(self, bags: BagLatents) -> Array:
        rows = [
            self.network.pool_chunks(all_cells(bags, n, self.tokens, self.scaling))[0]
            for n in range(len(bags.latents))
        ]
        pooled: Array = torch.stack(rows).numpy()
        return pooled
