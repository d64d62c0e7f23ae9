"""What the evaluation knows of the folds beyond who was held out where."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final

from recart.data.bags import Bags
from recart.data.split import Kind, Split
from recart.evaluation.outside import Place
from recart.training.jobs import labelled_bags

__all__ = ["PARTITION", "FoldDesign"]


@dataclass(frozen=True, kw_only=True)
class FoldDesign:
    """The kind of a split, and the class balance that each fold's models were trained on.

    `prevalence` is the share of positive bags among the development bags by (repeat, fold). Where a
    fold is not in it, a partition's is that of the bags that are not held out with it. `place` is
    what makes held-out patients an outside cohort; None: nothing shows that they are one. `locked`
    says that the model was finished before it met these patients: nothing was cross-validated.
    """

    kind: Kind = Kind.PARTITION
    prevalence: Mapping[tuple[int, int], float] = field(default_factory=dict)
    place: Place | None = None
    locked: bool = False

    @property
    def elsewhere(self) -> bool:
        """Whether the held-out patients are shown to be an outside cohort."""
        return self.place is not None or self.locked

    @classmethod
    def of(cls, split: Split, bags: Bags, place: Place | None = None) -> FoldDesign:
        """The design of a split of these bags."""
        label = bags.table["label"].to_numpy()
        return cls(
            kind=split.kind,
            place=place,
            prevalence={
                (fold.repeat, fold.fold): float(
                    label[labelled_bags(bags, (*fold.train, *fold.validation))].mean()
                )
                for fold in split.folds
            },
        )


PARTITION: Final = FoldDesign()
