"""What prototypes see of a cell: its latents, and the leading components of its proteins."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Final

import numpy as np
import torch
from torch import Tensor

from recart.training.heads import Array, BagLatents

__all__ = ["CellView"]

_COMPONENTS: Final = 30
# Proteins weigh this much against latents, which smooth over a protein that few cells carry.
_WEIGHT: Final = 1.5
_CELLS: Final = 150  # of each bag, for the components


@dataclass(frozen=True, kw_only=True)
class CellView:
    """Latents over `scale`, beside `(proteins - mean_p) @ components_pd`; proteins by name.

    A protein that was not measured counts as its mean. Without proteins these are the latents.
    """

    scale: float
    names: tuple[str, ...]
    mean_p: Tensor
    components_pd: Tensor

    @classmethod
    def fit(cls, bags: BagLatents, seed: int) -> CellView:
        """Learn scales and components from development cells."""
        z = np.concatenate([own.astype(np.float64) for own in bags.latents])
        names = [own for own in bags.marker_names if own.startswith("protein:")]
        if not (len(bags.markers) and names):
            nothing = torch.zeros(0, dtype=torch.float64)
            return cls(scale=1.0, names=(), mean_p=nothing, components_pd=nothing.reshape(0, 0))
        column = [list(bags.marker_names).index(name) for name in names]
        rng = np.random.default_rng([seed, 1])
        drawn = []
        for n in range(len(bags.latents)):
            x = bags.markers[n][:, column].astype(np.float64)
            drawn.append(x if len(x) <= _CELLS else x[rng.choice(len(x), _CELLS, False)])
        x = np.concatenate(drawn)
        there = np.isfinite(x)
        mean = np.where(there, x, 0.0).sum(0) / np.maximum(there.sum(0), 1)
        centred = np.where(there, x - mean, 0.0)
        values, vectors = np.linalg.eigh(centred.T @ centred / len(centred))
        kept = vectors[:, ::-1][:, :_COMPONENTS]
        spread = np.sqrt(max(float(values[::-1][:_COMPONENTS].sum()), 1e-12))
        return cls(
            scale=max(float(np.sqrt(z.var(0).sum())), 1e-12),
            names=tuple(names),
            mean_p=torch.from_numpy(mean),
            components_pd=torch.from_numpy(np.ascontiguousarray(kept * (_WEIGHT / spread))),
        )

    def of(self, bags: BagLatents, n: int) -> Tensor:
        """(c, d) of the cells of bag `n`."""
        z_cl = torch.from_numpy(bags.latents[n].astype(np.float64)) / self.scale
        if not self.names:
            return z_cl
        x = np.full((len(z_cl), len(self.names)), np.nan)
        if len(bags.markers):
            column = {name: i for i, name in enumerate(bags.marker_names)}
            there = [i for i, name in enumerate(self.names) if name in column]
            x[:, there] = bags.markers[n][:, [column[self.names[i]] for i in there]]
        centred = (torch.from_numpy(x) - self.mean_p).nan_to_num(nan=0.0)
        return torch.cat((z_cl, centred @ self.components_pd), dim=1)

    def cells(self, bags: BagLatents, at_most: int, seed: int) -> Array:
        """At most `at_most` cells, drawn equally from every bag."""
        rng = np.random.default_rng(seed)
        per_bag = max(1, at_most // len(bags.latents))
        drawn = []
        for n in range(len(bags.latents)):
            own = self.of(bags, n).numpy()
            drawn.append(own if len(own) <= per_bag else own[rng.choice(len(own), per_bag, False)])
        return np.concatenate(drawn)

    def state(self) -> dict[str, Any]:
        """Plain Python and tensors."""
        return {
            "scale": self.scale,
            "names": list(self.names),
            "mean_p": self.mean_p,
            "components_pd": self.components_pd,
        }

    @classmethod
    def restore(cls, state: dict[str, Any]) -> CellView:
        """That of a checkpoint."""
        return cls(**{**state, "names": tuple(state["names"])})
