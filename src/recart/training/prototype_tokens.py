"""Tokens of a bag: each prototype at each time point, tissue and CAR status, and changes."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

from recart.models.prototypes import Prototypes
from recart.training.cell_view import CellView
from recart.training.heads import Array, BagLatents, Token

__all__ = ["PrototypeTokens", "TokenScaling", "known_token_of_cell", "tokens_of"]

_SHRINKAGE = 20.0  # cells on the centre, as if they were there
_LIMIT = 4.0  # training standard deviations beyond which a token counts as the outermost
_ALL = Token("", 0, "", "")
_CAR = {"+": ("+", ""), "-": ("-", ""), "": ("", "-", "+")}  # what a status may stand for


def tokens_of(bags: BagLatents) -> tuple[Token, ...]:
    """What the bags tell apart; one token for all cells where they tell nothing apart."""
    return tuple(Token(*own) for own in bags.tokens) or (_ALL,)


def known_token_of_cell(bags: BagLatents, n: int, known: Sequence[Token]) -> Array:
    """(c) row of `known` of each cell of bag `n`; -1 for a token that is not among them.

    Cells of unknown CAR status count as CAR-, which nearly all cells are, or as CAR+ where only
    these are known. Where the known tokens do not tell the status, all cells are of the one.
    """
    own = tokens_of(bags)
    # the stage is not part of the name: it may be counted otherwise in another cohort
    row = {(t.timepoint, t.tissue, t.car): i for i, t in enumerate(known)}
    if len(known) == 1 and known[0] == _ALL:  # fitted without tokens: all cells are of the one
        return np.zeros(len(bags.latents[n]), dtype=np.int64)
    names = [[(t.timepoint, t.tissue, car) for car in _CAR[t.car]] for t in own]
    matched = np.array([next((row[name] for name in of if name in row), -1) for of in names])
    if not len(bags.token_of_cell):
        return np.full(len(bags.latents[n]), matched[0])
    found: Array = matched[np.asarray(bags.token_of_cell[n], dtype=np.int64)]
    return found


@dataclass(frozen=True, kw_only=True)
class TokenScaling:
    """Mean of each token's features over training bags, and one unit a feature for all tokens."""

    mean_rkf: Tensor
    scale_f: Tensor

    @staticmethod
    def fit(x_nrkf: Tensor, mask_nr: Tensor, rows: Array) -> TokenScaling:
        """On the training bags `rows`, where a token is there."""
        x, mask = x_nrkf[torch.from_numpy(rows)], mask_nr[torch.from_numpy(rows)]
        weight = mask.to(x.dtype)[..., None, None]
        mean = (x * weight).sum(0) / weight.sum(0).clamp_min(1.0)
        square = ((x - mean).square() * weight).sum((0, 1, 2))
        count = (weight.sum() * x.shape[2]).clamp_min(1.0)
        return TokenScaling(mean_rkf=mean, scale_f=(square / count).sqrt().clamp_min(1e-6))

    def apply(self, x_nrkf: Tensor) -> Tensor:
        """Scaled features; nothing is extrapolated far."""
        return ((x_nrkf - self.mean_rkf) / self.scale_f).clamp(-_LIMIT, _LIMIT)


@dataclass(frozen=True, kw_only=True)
class PrototypeTokens:
    """Turns bags into tokens, by the names of what their cells are.

    Axis `r` runs over `tokens` and then over `pairs`: a pair is a tissue and CAR status that has
    more than one time point, and its token the change from the patient's first to the last of
    these. Tokens that a bag lacks are masked, never imputed. `view` is what prototypes see of a
    cell, and what is averaged.
    """

    prototypes: Prototypes
    view: CellView
    tokens: tuple[Token, ...]

    @property
    def pairs(self) -> list[list[int]]:
        """Rows of the tokens of each pair, in order of time."""
        groups: dict[tuple[str, str], list[int]] = {}
        for row in sorted(range(len(self.tokens)), key=lambda i: self.tokens[i].stage):
            if self.tokens[row].stage >= 0:
                groups.setdefault((self.tokens[row].tissue, self.tokens[row].car), []).append(row)
        return [rows for rows in groups.values() if len(rows) > 1]

    @property
    def names(self) -> list[str]:
        """Of axis `r`."""
        own = [" ".join(filter(None, (t.timepoint, t.tissue, t.car))) for t in self.tokens]
        of_pair = [self.tokens[rows[0]] for rows in self.pairs]
        return own + [" ".join(filter(None, ("change", t.tissue, t.car))) for t in of_pair]

    def pool(self, bags: BagLatents) -> tuple[Tensor, Tensor]:
        """(n, r, k, 1 + d) CLR fraction and shrunken mean of each token; (n, r) is it there."""
        k, seen = self.prototypes.centres_kl.shape
        own = len(self.tokens)
        x = torch.zeros(len(bags.latents), own + len(self.pairs), k, 1 + seen).double()
        mask = torch.zeros(x.shape[:2], dtype=torch.bool)
        for n in range(len(bags.latents)):
            seen_cd = self.view.of(bags, n)
            token_c = known_token_of_cell(bags, n, self.tokens)
            for row in range(own):
                cells = seen_cd[torch.from_numpy(token_c == row)]
                if not len(cells):
                    continue
                x[n, row] = _pooled(self.prototypes, cells)
                mask[n, row] = True
            for row, times in enumerate(self.pairs, start=own):
                there = [t for t in times if mask[n, t]]
                if len(there) > 1:
                    x[n, row] = x[n, there[-1]] - x[n, there[0]]
                    mask[n, row] = True
        return x, mask

    def instances(
        self, x_nrkf: Tensor, mask_nr: Tensor, scaling: TokenScaling
    ) -> tuple[Tensor, Tensor]:
        """(n, c, i) what attention reads: scaled features, which token, which prototype; mask."""
        n, r, k, _ = x_nrkf.shape
        which_r = torch.eye(r).double()[None, :, None].expand(n, r, k, r)
        which_k = torch.eye(k).double()[None, None].expand(n, r, k, k)
        x = torch.cat((scaling.apply(x_nrkf), which_r, which_k), dim=-1)
        return x.flatten(1, 2), mask_nr[:, :, None].expand(n, r, k).flatten(1, 2)

    def state(self) -> dict[str, Any]:
        """Plain Python and tensors; the prototypes are the base head's."""
        return {"tokens": [list(token) for token in self.tokens]}


def _pooled(prototypes: Prototypes, seen_cd: Tensor) -> Tensor:
    """(k, 1 + d) centred log-ratio and shrunken mean, from the centre, of cells by prototype."""
    weight_ck = prototypes.assign(seen_cd)
    mass_k = weight_ck.sum(0)
    # half a cell on each keeps the logarithm finite where none is there
    log_k = torch.log(mass_k + 0.5)
    sum_kd = weight_ck.T @ seen_cd - mass_k.unsqueeze(-1) * prototypes.centres_kl
    mean_kd = sum_kd / (mass_k + _SHRINKAGE).unsqueeze(-1)
    return torch.cat(((log_k - log_k.mean()).unsqueeze(-1), mean_kd), dim=-1)
