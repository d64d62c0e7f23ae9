"""Cells, latents and markers of bags summed over prototypes and slots of samples."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final, NamedTuple

import numpy as np
import torch
from torch import Tensor

from recart.models.prototypes import Prototypes
from recart.training.cell_view import CellView
from recart.training.head_problems import rows_of
from recart.training.heads import BagLatents, Token

__all__ = ["BagCells", "BagSums", "Slot", "bag_cells", "slots_of", "sum_bags"]

_CHUNK: Final = 1 << 16  # cells whose numbers are in memory at once


class Slot(NamedTuple):
    """Cells that are pooled together: of a time point and tissue, of the CAR+ ones, or all.

    None stands for any; empty text is a sample's time point or tissue that was not given.
    """

    timepoint: str | None
    tissue: str | None
    car: str
    stage: int

    @property
    def name(self) -> str:
        """Its parts, for names of features; nothing for all cells."""
        parts = [part for part in (self.timepoint, self.tissue, self.car and "CAR+") if part]
        return "/".join(parts) or ("" if self.timepoint is None else "not given")

    def holds(self, token: Token) -> bool:
        """Whether cells of the token are in it."""
        pairs = ((self.timepoint, token.timepoint), (self.tissue, token.tissue))
        return all(own in (None, given) for own, given in pairs) and self.car in ("", token.car)


def slots_of(bags: BagLatents) -> list[Slot]:
    """All cells; then each time point and tissue, if there are two; then CAR+ cells, if any."""
    seen = sorted({n for own in bags.token_of_cell for n in np.unique(own).tolist()})
    tokens = [bags.tokens[n] for n in seen]
    samples = sorted({(t.stage, t.timepoint, t.tissue) for t in tokens})
    slots = [Slot(None, None, "", -1)]
    if len(samples) > 1:
        slots += [Slot(timepoint, tissue, "", stage) for stage, timepoint, tissue in samples]
    if any(t.car == "+" for t in tokens):
        slots.append(Slot(None, None, "+", -1))
    return slots


@dataclass(frozen=True, kw_only=True)
class BagSums:
    """`mass` (n, slot, k) cells; `sums` and `counts` (n, slot, k, f) of latents, then markers.

    `counts` are the cells in which a feature was measured, `cells` (n, slot) all cells. A bag
    without cells of a slot has 0 there.
    """

    mass: Tensor
    sums: Tensor
    counts: Tensor
    cells: Tensor


class BagCells(NamedTuple):
    """Cells of one bag: membership (c, k), latents and markers (c, f), and what was measured.

    `rows` are the cells of each slot.
    """

    weight_ck: Tensor
    x_cf: Tensor
    measured_cf: Tensor
    rows: list[Tensor]


def bag_cells(
    prototypes: Prototypes,
    view: CellView,
    bags: BagLatents,
    n: int,
    slots: Sequence[Slot],
    marker_names: Sequence[str],
) -> BagCells:
    """The cells of bag `n`; tokens and markers are matched by name, unknown ones ignored."""
    z_cl = torch.from_numpy(bags.latents[n].astype(np.float64))
    weight_ck = prototypes.assign(view.of(bags, n))
    column = {name: i for i, name in enumerate(bags.marker_names)}
    wanted = [column.get(name, -1) for name in marker_names]
    marker_cp = np.full((len(z_cl), len(wanted)), np.nan)
    if len(bags.markers) and len(wanted):
        there = [i for i, w in enumerate(wanted) if w >= 0]
        marker_cp[:, there] = bags.markers[n][:, [wanted[i] for i in there]]
    x_cf = torch.cat((z_cl, torch.from_numpy(marker_cp)), dim=1)
    rows = [torch.arange(len(z_cl))]
    for slot in slots[1:]:
        holds = np.array([slot.holds(token) for token in bags.tokens], dtype=bool)
        inside = holds[bags.token_of_cell[n]] if len(bags.token_of_cell) else holds[:0]
        rows.append(torch.from_numpy(np.flatnonzero(inside)))
    return BagCells(weight_ck, x_cf.nan_to_num(nan=0.0), torch.isfinite(x_cf), rows)


def sum_bags(
    prototypes: Prototypes,
    view: CellView,
    bags: BagLatents,
    slots: Sequence[Slot],
    marker_names: Sequence[str],
) -> BagSums:
    """Sum every bag by itself, a large one in chunks: it takes no more memory than a small one."""
    each = []
    for n, z in enumerate(bags.latents):
        if len(z) <= _CHUNK:
            each.append(_sums(bag_cells(prototypes, view, bags, n, slots, marker_names)))
            continue
        alone = rows_of(bags, [n])
        chunks = [
            _sums(bag_cells(prototypes, view, alone.with_cells([rows]), 0, slots, marker_names))
            for rows in np.split(np.arange(len(z)), range(_CHUNK, len(z), _CHUNK))
        ]
        mass, sums, counts, cells = (torch.stack(own).sum(0) for own in zip(*chunks, strict=True))
        each.append((mass, sums, counts, cells))
    parts = [torch.stack(part) for part in zip(*each, strict=True)]
    return BagSums(mass=parts[0], sums=parts[1], counts=parts[2], cells=parts[3])


def _sums(bag: BagCells) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    whole = bool(bag.measured_cf.all())
    mass, sums, counts, cells = [], [], [], []
    for rows in bag.rows:
        own_ck = bag.weight_ck[rows]
        mass.append(own_ck.sum(0))
        sums.append(own_ck.T @ bag.x_cf[rows])
        counts.append(
            mass[-1].unsqueeze(-1).expand_as(sums[-1])
            if whole
            else own_ck.T @ bag.measured_cf[rows].double()
        )
        cells.append(torch.tensor(float(len(own_ck))))
    return torch.stack(mass), torch.stack(sums), torch.stack(counts), torch.stack(cells)
