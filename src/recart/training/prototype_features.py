"""Numbers of a bag by group: its mean, shares of cells and means on prototypes, changes, clones."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor

from recart.models.prototypes import Prototypes, centred_log_ratio, shrunken_means
from recart.training.bag_mean import BagMean
from recart.training.bag_sums import BagSums, Slot, slots_of, sum_bags
from recart.training.cell_view import CellView
from recart.training.changes import Changes, pairs_in_tissues
from recart.training.heads import BagLatents

__all__ = ["CellSums", "Features", "PrototypeFeatures"]


class Features(NamedTuple):
    """(n, f) features in float64, NaN where not measured; the group (f) and the name of each.

    The first `shared` of `group_names` have one unit each; the first `simple` have few features.
    """

    values: Tensor
    groups_f: Tensor
    names: list[str]
    group_names: list[str]
    shared: int
    simple: int


class CellSums(NamedTuple):
    """All that features take from the cells of bags: sums over cells, so they add.

    `fine` (n, k) cells on each of the further prototypes, `car` (n, slot, 2) CAR+ cells and cells
    of known status, of each slot but the CAR+ one; no slots where no transgene is known.
    """

    coarse: BagSums
    fine: tuple[Tensor, ...]
    car: Tensor


@dataclass(frozen=True, kw_only=True)
class PrototypeFeatures:
    """What was fitted to development bags without their labels, and makes features of any bag.

    `view` is what prototypes see of a cell. `prototypes` are coarse ones, which have shares of
    cells and means of latents and markers, and fine ones, which have shares only. `usual_kf` are
    the mean latents and markers of development cells on each coarse prototype, against which bags
    are compared, as their mean latents are by `bag_mean`; `shrinkage` is in cells. Slots, markers
    and extras are matched by name: those that a bag lacks are not measured in it, and those that
    development bags lacked are ignored. `changes` says what became of cells over time.
    Shares and counts among the extras are skewed, so their logarithms stand beside them, after
    adding `floor_e`: half of the least positive value, NaN where a value is negative.
    """

    view: CellView
    prototypes: tuple[Prototypes, ...]
    shrinkage: float
    usual_kf: Tensor
    bag_mean: BagMean
    slots: tuple[Slot, ...]
    changes: Changes
    marker_names: tuple[str, ...]
    extra_names: tuple[str, ...]
    extra_groups: tuple[str, ...]
    floor_e: Tensor

    @classmethod
    def fit(
        cls,
        view: CellView,
        prototypes: Sequence[Prototypes],
        bags: BagLatents,
        *,
        shrinkage: float,
        use_extras: bool,
    ) -> PrototypeFeatures:
        """Learn the usual means, and which slots, markers and extras there are."""
        slots = tuple(slots_of(bags))
        names = tuple(bags.marker_names) if len(bags.markers) else ()
        sums = sum_bags(prototypes[0], view, bags, slots, names)
        total, counts = sums.sums[:, 0].sum(0), sums.counts[:, 0].sum(0)
        extras = tuple(bags.extra_names) if use_extras else ()
        groups = tuple(bags.extra_groups) or ("extras",) * len(bags.extra_names)
        return cls(
            view=view,
            prototypes=tuple(prototypes),
            shrinkage=shrinkage,
            usual_kf=total / counts.clamp_min(1e-9),
            bag_mean=BagMean.fit(sums, total.shape[1] - len(names), shrinkage),
            slots=slots,
            changes=Changes.fit(prototypes[0], slots, sums),
            marker_names=names,
            extra_names=extras,
            extra_groups=groups[: len(extras)],
            floor_e=_floors(bags.extras[:, : len(extras)]),
        )

    def of(self, bags: BagLatents) -> Features:
        """Features of every bag, each from that bag alone; made once for the last bags read."""
        last = bags.last_read[:]  # as it is at one moment: threads may share the bags
        if not (last and last[0] is self):
            last = [self, self.of_sums(self.sums(bags), bags)]
            bags.last_read[:] = last
        found: Features = last[1]
        return found

    def sums(self, bags: BagLatents) -> CellSums:
        """What features take from the cells of every bag."""
        return CellSums(
            coarse=sum_bags(self.prototypes[0], self.view, bags, self.slots, self.marker_names),
            fine=tuple(
                sum_bags(own, self.view, bags, self.slots[:1], ()).mass[:, 0]
                for own in self.prototypes[1:]
            ),
            car=self._car_cells(bags),
        )

    def of_sums(self, sums: CellSums, bags: BagLatents) -> Features:
        """Features of bags by their sums, and by the extras of `bags`."""
        parts = self._of_the_bag(sums.coarse)
        simple = len(parts)
        parts += self._of_all_cells(sums.coarse)
        for own, mass in zip(self.prototypes[1:], sums.fine, strict=True):
            label = f"fractions of {len(own.centres_kl)}"
            parts.append((label, centred_log_ratio(mass), self._indices(own)))
        parts += self._of_samples(sums.coarse)
        parts += self._of_car(sums.car)
        shared = len(parts)
        parts += self._of_patient(bags)
        sizes = torch.tensor([value.shape[1] for _, value, _ in parts])
        return Features(
            values=torch.cat([value for _, value, _ in parts], dim=1),
            groups_f=torch.arange(len(parts)).repeat_interleave(sizes),
            names=[f"{group}:{name}" for group, _, names in parts for name in names],
            group_names=[group for group, _, _ in parts],
            shared=shared,
            simple=simple,
        )

    def state(self) -> dict[str, Any]:
        """Plain Python and tensors."""
        return {
            "view": self.view.state(),
            "centres": [own.centres_kl for own in self.prototypes],
            "widths": [own.width for own in self.prototypes],
            "shrinkage": self.shrinkage,
            "usual_kf": self.usual_kf,
            **self.bag_mean.state(),
            "slots": [tuple(slot) for slot in self.slots],
            "changes": self.changes.state(),
            "marker_names": list(self.marker_names),
            "extra_names": list(self.extra_names),
            "extra_groups": list(self.extra_groups),
            "floor_e": self.floor_e,
        }

    @classmethod
    def restore(cls, state: dict[str, Any]) -> PrototypeFeatures:
        """That of a checkpoint."""
        pairs = zip(state["centres"], state["widths"], strict=True)
        slots = tuple(Slot(*slot) for slot in state["slots"])
        return cls(
            view=CellView.restore(state["view"]),
            prototypes=tuple(Prototypes(centres_kl=c, width=w) for c, w in pairs),
            shrinkage=state["shrinkage"],
            usual_kf=state["usual_kf"],
            bag_mean=BagMean.restore(state),
            slots=slots,
            changes=Changes.restore(state["changes"], slots),
            marker_names=tuple(state["marker_names"]),
            extra_names=tuple(state["extra_names"]),
            extra_groups=tuple(state["extra_groups"]),
            floor_e=state["floor_e"],
        )

    @staticmethod
    def _indices(own: Prototypes) -> list[str]:
        return [str(k) for k in range(len(own.centres_kl))]

    def _kinds(self) -> list[tuple[str, list[int], list[str]]]:
        """Group, columns of `usual_kf` and names of latents, proteins and other markers."""
        latent = self.usual_kf.shape[1] - len(self.marker_names)
        proteins = [i for i, name in enumerate(self.marker_names) if name.startswith("protein:")]
        genes = [i for i in range(len(self.marker_names)) if i not in set(proteins)]
        of_markers = [
            (kind, [latent + i for i in own], [self.marker_names[i].split(":", 1)[-1] for i in own])
            for kind, own in (("proteins", proteins), ("genes", genes))
        ]
        of_latents = ("means", list(range(latent)), [str(i) for i in range(latent)])
        return [own for own in (of_latents, *of_markers) if own[1]]

    def _means(self, sums: BagSums, slot: int) -> Tensor:
        """(n, k, f) shrunken means; NaN where a marker, or the slot, was not measured."""
        counts = sums.counts[:, slot]
        means = shrunken_means(sums.sums[:, slot], counts, self.usual_kf, self.shrinkage)
        return torch.where(counts.sum(1, keepdim=True) > 0, means, torch.nan)

    def _fractions(self, sums: BagSums, slots: Sequence[int]) -> Tensor:
        """(n, k) of the cells of some slots together; NaN where a bag has none of them."""
        there = sums.cells[:, slots].sum(1, keepdim=True) > 0
        return torch.where(there, centred_log_ratio(sums.mass[:, slots].sum(1)), torch.nan)

    def _of_the_bag(self, sums: BagSums) -> list[tuple[str, Tensor, list[str]]]:
        latents = [str(i) for i in range(len(self.bag_mean.usual_l))]
        return [("bag means", self.bag_mean.of(sums, self.shrinkage), latents)] if latents else []

    def _of_all_cells(self, sums: BagSums) -> Iterator[tuple[str, Tensor, list[str]]]:
        index = self._indices(self.prototypes[0])
        yield "fractions", self._fractions(sums, [0]), index
        means = self._means(sums, 0)
        for kind, columns, names in self._kinds():
            yield kind, means[..., columns].flatten(1), [f"{k}:{n}" for k in index for n in names]

    def _of_samples(self, sums: BagSums) -> list[tuple[str, Tensor, list[str]]]:
        """Each slot's shares, their changes within a tissue, and the changes of cells."""
        if len(self.slots) == 1:
            return []
        index = self._indices(self.prototypes[0])
        own = range(1, len(self.slots))
        fractions = {slot: self._fractions(sums, [slot]) for slot in own}
        parts = [
            (
                "sample fractions",
                torch.cat([fractions[slot] for slot in own], dim=1),
                [f"{self.slots[slot].name}:{k}" for slot in own for k in index],
            )
        ]
        if pairs := list(pairs_in_tissues(self.slots)):
            titles = [title for title, _, _ in pairs]
            change = torch.cat(
                [fractions[late] - self._fractions(sums, early) for _, late, early in pairs], dim=1
            )
            labels = [f"{title}:{k}" for title in titles for k in index]
            parts.append(("changes of fractions", change, labels))
        if titles := self.changes.titles:
            moved = self.changes.of(sums)
            families = range(moved.shape[2])
            for kind, columns, names in self._kinds():
                labels = [f"{title}:{j}:{n}" for title in titles for j in families for n in names]
                parts.append((f"changes of {kind}", moved[..., columns].flatten(1), labels))
        return parts

    @property
    def car_slots(self) -> list[Slot]:
        """Slots whose share of CAR+ cells is a feature."""
        known = any(slot.car for slot in self.slots)
        return [slot for slot in self.slots if known and not slot.car]

    def _car_cells(self, bags: BagLatents) -> Tensor:
        """(n, slot, 2) CAR+ cells and cells of known CAR status."""
        slots = self.car_slots
        table = torch.zeros((len(bags.latents), len(slots), 2), dtype=torch.float64)
        for to, slot in enumerate(slots):
            within = np.array([bool(t.car) and slot.holds(t) for t in bags.tokens], dtype=bool)
            positive = np.array([token.car == "+" for token in bags.tokens], dtype=bool) & within
            for n, own in enumerate(bags.token_of_cell):
                table[n, to, 0], table[n, to, 1] = int(positive[own].sum()), int(within[own].sum())
        return table

    def _of_car(self, car: Tensor) -> list[tuple[str, Tensor, list[str]]]:
        """Log share of CAR+ cells in all cells and in each sample, half a cell added."""
        if not car.shape[1]:
            return []
        positive, cells = car.unbind(-1)
        share = torch.where(cells > 0, torch.log((positive + 0.5) / (cells + 1)), torch.nan)
        return [("CAR+ shares", share, [slot.name or "all" for slot in self.car_slots])]

    def _of_patient(self, bags: BagLatents) -> list[tuple[str, Tensor, list[str]]]:
        """Extras by group, their logarithms, and whether each was not measured."""
        column = {name: i for i, name in enumerate(bags.extra_names)}
        table = np.full((len(bags.latents), len(self.extra_names)), np.nan)
        for to, name in enumerate(self.extra_names):
            if name in column:
                table[:, to] = bags.extras[:, column[name]]
        extras = torch.from_numpy(table)
        logs = torch.log(extras + self.floor_e)  # NaN where a development bag was negative
        missing = (~torch.isfinite(extras)).double()
        parts = []
        for group in dict.fromkeys(self.extra_groups):
            own = [i for i, of in enumerate(self.extra_groups) if of == group]
            names = [self.extra_names[i] for i in own]
            value = torch.cat((extras[:, own], logs[:, own], missing[:, own]), dim=1)
            kinds = ("", ":log", ":missing")
            parts.append((group, value, [f"{name}{kind}" for kind in kinds for name in names]))
        return parts


def _floors(extras: np.ndarray[Any, np.dtype[Any]]) -> Tensor:
    positive = np.where(extras > 0, extras, np.inf).min(axis=0, initial=np.inf)
    negative = (extras < 0).any(axis=0) | ~np.isfinite(positive)
    return torch.from_numpy(np.where(negative, np.nan, positive / 2).astype(np.float64))
