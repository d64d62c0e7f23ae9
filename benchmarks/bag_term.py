"""Claim: a response term pooled over the minibatch itself adds under 7 % to an encoder step.

A minibatch of 8 patients x 64 cells is trained on with the encoder's loss alone, and with a term
that pools the posterior means of each patient's cells, reads the pooled bag with a linear head, and
sends the gradient of its cross-entropy into the encoder. Two poolings: soft prototypes (centred log
fractions and shrunken means of 20 prototypes, as the default head has them) and gated attention
(Ilse et al., 2018). The same minibatches in turn, each contender with its own weights; a step is
forward, backward and optimizer, without the assembly of the minibatch, on one thread, in CPU
seconds. recart trains in stages so far: the term stands here and not in the package.

    python benchmarks/bag_term.py [--genes 4000] [--steps 150]
"""

from __future__ import annotations

import argparse
import statistics
import sys
import time
from abc import ABC, abstractmethod
from typing import Any, final

import numpy as np
import torch
from cells import bags_of, random_store
from contenders import HIDDEN, LATENT, LR, quiet, recipes
from torch import Tensor, nn

from recart.contracts import CellBatch
from recart.data.batches import gather
from recart.data.features import bind
from recart.models.noise import MemberNoise
from recart.models.prototypes import Prototypes
from recart.models.totalvi import Sizes
from recart.training.optimizer import StackedAdam

BAGS, CELLS, PROTEINS, PATIENTS, PROTOTYPES, SHRINKAGE = 8, 64, 140, 24, 20, 20.0
_WARM = 10  # steps that are not counted
_ALONE = "encoder alone"


class BagTerm(nn.Module, ABC):
    """A response loss of one member's minibatch; parameters have a leading member axis of 1."""

    def __init__(self, features: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.zeros(1, features))
        self.bias = nn.Parameter(torch.zeros(1, 1))

    @abstractmethod
    def pool(self, z_ncl: Tensor) -> Tensor:
        """(n f) features of each bag."""

    def forward(self, z_ncl: Tensor, label_n: Tensor) -> Tensor:
        """Mean cross-entropy over bags."""
        logit_n = self.pool(z_ncl) @ self.weight[0] + self.bias[0]
        return nn.functional.binary_cross_entropy_with_logits(logit_n, label_n)


@final
class PrototypeTerm(BagTerm):
    """`Prototypes.pool` of all bags at once, with centres that learn."""

    def __init__(self) -> None:
        super().__init__(PROTOTYPES * (1 + LATENT))
        generator = torch.Generator().manual_seed(0)
        self.centres = nn.Parameter(torch.randn(1, PROTOTYPES, LATENT, generator=generator))

    def pool(self, z_ncl: Tensor) -> Tensor:
        """Centred log fractions and shrunken means."""
        bags, cells, latent = z_ncl.shape
        centres_kl = self.centres[0]
        parts = Prototypes(centres_kl=centres_kl, width=1.0, shrinkage=SHRINKAGE)
        weight_nck = parts.assign(z_ncl.reshape(-1, latent)).view(bags, cells, -1)
        mass_nk = weight_nck.sum(1)
        log_nk = torch.log(mass_nk + 0.5)
        sum_nkl = weight_nck.mT @ z_ncl - mass_nk.unsqueeze(-1) * centres_kl
        mean_nkl = sum_nkl / (mass_nk + parts.shrinkage).unsqueeze(-1)
        return torch.cat((log_nk - log_nk.mean(-1, keepdim=True), mean_nkl.flatten(1)), dim=-1)


@final
class GatedTerm(BagTerm):
    """Mean and gated attention over cells, side by side."""

    def __init__(self, units: int = 64) -> None:
        super().__init__(2 * LATENT)
        generator = torch.Generator().manual_seed(0)
        self.gates = nn.Parameter(torch.randn(1, LATENT, 2 * units, generator=generator) / 8)
        self.score = nn.Parameter(torch.randn(1, units, generator=generator) / 8)

    def pool(self, z_ncl: Tensor) -> Tensor:
        """Weighted and plain mean."""
        open_ncu, value_ncu = (z_ncl @ self.gates[0]).chunk(2, dim=-1)
        score_nc = (torch.tanh(value_ncu) * torch.sigmoid(open_ncu)) @ self.score[0]
        weight_nc = torch.softmax(score_nc, dim=-1)
        return torch.cat(((weight_nc.unsqueeze(1) @ z_ncl).squeeze(1), z_ncl.mean(1)), dim=-1)


class Contender:
    """An encoder with its optimizer, and the term it is trained with, if any."""

    def __init__(self, sizes: Sizes, genes: int, term: BagTerm | None) -> None:
        self.stack = recipes(genes, epochs=1, batch=BAGS * CELLS).model.stack(sizes, [0])
        self.term = term
        own = [] if term is None else list(term.parameters())
        self.optimizer = StackedAdam([*self.stack.parameters(), *own], [LR], 1e-6, 10.0)
        self.posterior: Any = None
        self.stack.encoder.register_forward_hook(self._keep)
        self.stack.train()

    def _keep(self, _module: nn.Module, _given: Any, posterior: Any) -> None:
        self.posterior = posterior

    def step(self, batch: CellBatch, label_n: Tensor, step: int) -> float:
        """CPU seconds of one training step."""
        start = time.process_time()
        self.optimizer.zero_grad(set_to_none=True)
        terms = self.stack.terms(batch, MemberNoise([0], step))
        loss = self.stack.loss(terms, batch.weight_mb, 1.0).sum()
        if self.term is not None:
            loss = loss + self.term(self.posterior.mean_mbl.view(BAGS, CELLS, LATENT), label_n)
        loss.backward()
        self.optimizer.step()
        return time.process_time() - start


def main(genes: int, steps: int) -> None:
    """Print milliseconds and what the terms add."""
    torch.set_num_threads(1)
    quiet()
    per_patient = 4 * CELLS
    store = random_store(PATIENTS * per_patient, genes, PROTEINS, PATIENTS)
    made = recipes(genes, epochs=1, batch=BAGS * CELLS)
    features = made.features.fit(store, np.arange(len(store.cells)), 0)
    bound = bind(features, store)
    sizes = Sizes(genes=genes, proteins=PROTEINS, receptor=0, batches=(len(features.spec.batches),))
    label_p = torch.as_tensor(bags_of(store).table["label"].to_numpy(), dtype=torch.float32)
    contenders = {
        _ALONE: Contender(sizes, genes, None),
        "with prototypes": Contender(sizes, genes, PrototypeTerm()),
        "with gated attention": Contender(sizes, genes, GatedTerm()),
    }
    rng = np.random.default_rng(0)
    spent: dict[str, list[float]] = {name: [] for name in contenders}
    for step in range(_WARM + steps):
        chosen = rng.choice(PATIENTS, BAGS, replace=False)
        starts = chosen * per_patient + rng.integers(4, size=BAGS) * CELLS
        rows = (starts[:, None] + np.arange(CELLS)).ravel()
        batch = gather(store, [bound], [rows], width=BAGS * CELLS)
        order = list(contenders.items())
        for name, contender in order[step % 3 :] + order[: step % 3]:
            taken = contender.step(batch, label_p[chosen], step)
            if step >= _WARM:
                spent[name].append(taken)
    lines = [
        f"{BAGS} patients x {CELLS} cells, {genes:,} genes, {PROTEINS} proteins, hidden {HIDDEN}, "
        f"latent {LATENT}, one thread, medians of {steps} steps in turn",
        f"{'':22s} CPU ms a step   adds   middle half of pairs",
    ]
    for name, seconds in spent.items():
        pairs = np.array(seconds) / np.array(spent[_ALONE]) - 1
        low, high = np.percentile(pairs, [25, 75])
        lines.append(
            f"{name:22s} {1000 * statistics.median(seconds):13.1f} {np.median(pairs):6.1%}   "
            f"{low:.1%} to {high:.1%}"
        )
    sys.stdout.write("\n".join(lines) + "\n")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--genes", type=int, default=4_000)
    parser.add_argument("--steps", type=int, default=150)
    given = parser.parse_args()
    main(given.genes, given.steps)
