"""What became of each patient's cells from earlier time points to later ones, beyond the usual."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
import torch
from torch import Tensor

from recart.models.prototypes import Prototypes
from recart.training.bag_sums import BagSums, Slot

__all__ = ["Changes", "pairs_in_tissues"]

# In cells: a change counts in full where its two means have many more. Between 10 and 50 the AUROC
# of simulated cohorts moves by .02.
_SHRINKAGE: Final = 25.0
# Prototypes a family, on average: one prototype has a handful of a sample's cells.
_PROTOTYPES: Final = 2


@dataclass(frozen=True, kw_only=True)
class Changes:
    """Changes of latents and markers by family of prototypes, over all tissues.

    Prototypes near each other are a family. Each cell counts by its distance from what is usual in
    its time point, tissue and family, `usual_sjf`, so that a time point may have blood in one
    patient and marrow in another. `families_kj` is 1 where a prototype is of a family. `slots` are
    those of the features, of which `usual_sjf` has one row each; the first row is of all cells.
    """

    slots: tuple[Slot, ...]
    families_kj: Tensor
    usual_sjf: Tensor

    @classmethod
    def fit(cls, prototypes: Prototypes, slots: Sequence[Slot], sums: BagSums) -> Changes:
        """Learn families, and the usual of each slot from the `sums` of development bags."""
        families = _families(prototypes.centres_kl)
        total = torch.einsum("nskf,kj->sjf", sums.sums, families)
        cells = torch.einsum("nskf,kj->sjf", sums.counts, families)
        of_all = total[0] / cells[0].clamp_min(1e-9)
        usual = (total + _SHRINKAGE * of_all) / (cells + _SHRINKAGE)
        return cls(slots=tuple(slots), families_kj=families, usual_sjf=usual)

    @property
    def titles(self) -> list[str]:
        """Of each change: the later time point and the one before it, or `before` for several."""
        return [f"{_word(late)} - {_before(early)}" for late, early in self._pairs()]

    def of(self, sums: BagSums) -> Tensor:
        """(n, change, j, f) later mean less earlier, shrunken; NaN where either was not measured.

        Earlier are all samples of a patient before the later time point, so that one who lacks the
        cohort's first time point has a change too.

        Means of few cells are noise: the difference of `a` and `b` cells is one of `ab / (a + b)`
        cells, and shrunken as such, as a whole, so that a level that stays is no change. All slots
        must be summed.
        """
        changes = []
        for pair in self._pairs():
            (late, a), (early, b) = (self._deviation(sums, own) for own in pair)
            cells = a * b / (a + b).clamp_min(1e-9)
            change = (late - early) * cells / (cells + _SHRINKAGE)
            measured = (a.sum(1, keepdim=True) > 0) & (b.sum(1, keepdim=True) > 0)
            changes.append(torch.where(measured, change, torch.nan))
        return torch.stack(changes, dim=1)

    def state(self) -> dict[str, Any]:
        """Plain Python and tensors."""
        return {"families": self.families_kj, "usual": self.usual_sjf}

    @classmethod
    def restore(cls, state: dict[str, Any], slots: Sequence[Slot]) -> Changes:
        """Those of a checkpoint."""
        return cls(slots=tuple(slots), families_kj=state["families"], usual_sjf=state["usual"])

    def _pairs(self) -> Iterator[tuple[list[Slot], list[Slot]]]:
        """Slots of each later time point, and those of all time points before it."""
        stages = sorted({slot.stage for slot in self.slots if slot.stage >= 0})
        at = {stage: [slot for slot in self.slots if slot.stage == stage] for stage in stages}
        for stage in stages[1:]:
            yield at[stage], [slot for own in stages if own < stage for slot in at[own]]

    def _deviation(self, sums: BagSums, slots: Sequence[Slot]) -> tuple[Tensor, Tensor]:
        """(n, j, f) mean of the cells of some slots, less what is usual in each slot; and cells."""
        rows = [self.slots.index(slot) for slot in slots]
        cells = torch.einsum("nskf,kj->nsjf", sums.counts[:, rows], self.families_kj)
        total = torch.einsum("nskf,kj->nsjf", sums.sums[:, rows], self.families_kj)
        total = (total - cells * self.usual_sjf[rows]).sum(1)
        cells = cells.sum(1)
        return total / cells.clamp_min(1e-9), cells


def pairs_in_tissues(slots: Sequence[Slot]) -> Iterator[tuple[str, int, list[int]]]:
    """Title, row of a tissue's later slot, and rows of its earlier ones.

    Earlier slots of several stages are pooled, so that a patient who lacks a tissue's first time
    point has a change too.
    """
    for late, one in enumerate(slots):
        early = [
            row
            for row, other in enumerate(slots)
            if 0 <= other.stage < one.stage and other.tissue == one.tissue
        ]
        if len({slots[row].stage for row in early}) > 1:
            yield f"{one.name} - before", late, early
        else:
            yield from ((f"{one.name} - {slots[row].name}", late, [row]) for row in early)


def _word(slots: Sequence[Slot]) -> str:
    return "/".join(dict.fromkeys(slot.timepoint or "" for slot in slots))


def _before(slots: Sequence[Slot]) -> str:
    return "before" if len({slot.stage for slot in slots}) > 1 else _word(slots)


def _families(centres_kl: Tensor) -> Tensor:
    """(k, j) families of centres by Ward's method (1963)."""
    from scipy.cluster.hierarchy import fcluster, linkage

    prototypes = len(centres_kl)
    families = max(prototypes // _PROTOTYPES, 1)
    family = np.zeros(prototypes, dtype=np.int64)
    if families > 1:
        tree = linkage(centres_kl.numpy(), "ward")
        family = fcluster(tree, families, "maxclust") - 1
    member = torch.zeros(prototypes, int(family.max()) + 1, dtype=torch.float64)
    member[torch.arange(prototypes), torch.from_numpy(family).long()] = 1.0
    return member
