"""What a response head is: fitted on the latents of development bags, it gives logits of others."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, ClassVar, Final, NamedTuple

import numpy as np

from recart.ranges import Range, require

__all__ = [
    "BAGS",
    "BOUNDS",
    "BagLatents",
    "ChosenHead",
    "FittedHead",
    "Head",
    "HeadWords",
    "Token",
]

Array = np.ndarray[Any, np.dtype[Any]]

BAGS: Final = "bags"
"""Under this name a bundle has the number of bags in place of their inner logits."""

BOUNDS: Final = ("posterior:low", "posterior:high")
"""Outputs of a head that are bounds of the probability of response."""


class Token(NamedTuple):
    """Cells of one time point, tissue and CAR status.

    `stage` orders the time points in time, 0 first: earlier samples have smaller numbers; -1 where
    a sample's time point is not given. `car` is "+" or "-", and "" where the cohort has no CAR
    transgene.
    """

    timepoint: str
    stage: int
    tissue: str
    car: str


@dataclass(frozen=True, kw_only=True)
class BagLatents:
    """Bags as a head sees them.

    `latents[n]` is (c, l): the cells of bag `n` under one member. `extras` (n, f) holds features
    known of each patient, such as clone statistics and covariates, NaN where they were not
    measured; `extra_names` names them and `extra_groups` says the group of each ("clones",
    "covariates"; () means that all are "extras"). `patients` (n) groups bags for inner folds: by
    patient, or by block of patients where the split has blocks.

    `token_of_cell[n]` (c) is each cell's row of `tokens`; () means one token for all. `markers[n]`
    (c, p) holds log-normalised proteins and named genes of each cell, NaN where they were not
    measured, under `marker_names` ("protein:CD3", "gene:BCL2"). Both are the same for every member,
    which share the arrays.

    `last_read` is for a head to keep what it has made of them, so that its logits, its embedding
    and its explanation are of one reading. Other bags are to be made of them by `replace`, which
    are read anew; what is changed in place, in arrays that were read, is not seen.
    """

    latents: Sequence[Array]
    extras: Array
    extra_names: Sequence[str]
    patients: Array
    extra_groups: Sequence[str] = ()
    token_of_cell: Sequence[Array] = ()
    tokens: Sequence[Token] = ()
    markers: Sequence[Array] = ()
    marker_names: Sequence[str] = ()
    last_read: list[Any] = field(default_factory=list, init=False, repr=False, compare=False)

    def with_cells(self, rows: Sequence[Array]) -> BagLatents:
        """The same bags with some of their cells alone: `rows[n]` of bag `n`."""

        def own(values: Sequence[Array]) -> Sequence[Array]:
            if not len(values):
                return ()
            return [part[at] for part, at in zip(values, rows, strict=True)]

        return replace(
            self,
            latents=own(self.latents),
            token_of_cell=own(self.token_of_cell),
            markers=own(self.markers),
        )


class FittedHead(ABC):
    """A head with its weights."""

    @property
    @abstractmethod
    def inner_loss(self) -> float:
        """Log loss over the inner folds of the development bags, at the chosen strengths."""

    @property
    @abstractmethod
    def inner_logits(self) -> Array:
        """(n) logits of the development bags, each from the inner fold that left it out."""

    @abstractmethod
    def logits(self, bags: BagLatents) -> Array:
        """(n) log odds of response of each bag, each from that bag alone."""

    def outputs(self, bags: BagLatents) -> dict[str, Array]:  # noqa: ARG002
        """(n) each: what the endpoint or the head says of bags beside log odds, by name."""
        return {}

    @abstractmethod
    def embedding(self, bags: BagLatents) -> tuple[Array, list[str]]:
        """(n, f) the features of each bag that the head reads, and their names."""

    @abstractmethod
    def state(self) -> dict[str, Any]:
        """Plain Python and tensors, for the checkpoint."""


class ChosenHead(FittedHead):
    """A head whose `chosen` records, beside its choices, the inner log loss and logits.

    In a bundle there are no logits but their number, as `BAGS`.
    """

    chosen: dict[str, Any]

    @property
    def fitted_bags(self) -> int | None:
        """How many bags it was fitted to; None of a bundle of before, which does not say."""
        told = self.chosen.get(BAGS, len(self.chosen["inner_logits"]))
        return int(told) or None

    @property
    def inner_loss(self) -> float:
        """Log loss of the choice over the inner folds."""
        return float(self.chosen["inner_log_loss"])

    @property
    def inner_logits(self) -> Array:
        """(n) logits of the development bags, each from inner folds that left it out."""
        return np.array(self.chosen["inner_logits"], dtype=np.float64)


class HeadWords(NamedTuple):
    """What a report says of a head: what holds it back, how features enter, what can be read."""

    penalty: str
    predictors: str
    reading: str


_GRID: Final = Range("numbers above 0", lambda x: len(x) > 0 and all(float(v) > 0 for v in x))
# of the fields that heads have alike
_ALIKE: Final = {
    "inner_folds": Range("at least 2", lambda x: x >= 2),
    "strengths": _GRID,
    "weightings": _GRID,
}


class Head(ABC):
    """A recipe for a head; one class and one YAML each.

    `words` are for the report; a class that has none leaves them to the author. `reads_extras` and
    `reads_markers`: whether clones and covariates, and proteins and named genes, enter. `ranges`
    are those of fields by name.
    """

    words: ClassVar[HeadWords | None] = None
    reads_extras: ClassVar[bool] = True
    reads_markers: ClassVar[bool] = True
    ranges: ClassVar[Mapping[str, Range]] = {}

    def __post_init__(self) -> None:
        """Refuse values that nothing can be fitted with, before anything is trained.

        Raises
        ------
        ValueError
            With all fields that are null or outside of their range.
        """
        require(self, {**_ALIKE, **self.ranges})

    @property
    def quickly_refitted(self) -> bool:
        """Whether hundreds of labellings take seconds, for what no label enters is fitted once."""
        return False

    def fit(self, bags: BagLatents, labels: Array, seed: int) -> FittedHead:
        """Fit to development bags (all given bags), choosing strengths on inner folds of them."""
        return self.fit_stack([bags], [labels], [seed])[0]

    @abstractmethod
    def fit_stack(
        self, bags: Sequence[BagLatents], labels: Sequence[Array], seeds: Sequence[int]
    ) -> Sequence[FittedHead]:
        """Fit the heads of many members; each is what `fit` gives for it alone, to rounding.

        Members that differ in their labels only, as in a permutation test, should be given the
        very same `BagLatents`: what is fitted without labels is then fitted once.
        """

    def fit_beside(
        self,
        bags: Sequence[BagLatents],
        labels: Sequence[Array],
        seeds: Sequence[int],
        fitted: Sequence[tuple[Head, Sequence[FittedHead]]],  # noqa: ARG002
    ) -> Sequence[FittedHead]:
        """As `fit_stack`; `fitted` are other heads' fits to the same, for a head that holds one."""
        return self.fit_stack(bags, labels, seeds)

    def relabelled_logits(
        self,
        fitted: FittedHead,  # noqa: ARG002
        development: BagLatents,
        held_out: BagLatents,
        labels: Sequence[Array],
        seed: int,
    ) -> Array:
        """(k, n) log odds of the held-out bags by heads fitted to each of `labels`, (n) each.

        As `fit` and `logits` for each of them. A head may take from `fitted`, which was fitted to
        the same development bags with the same seed, what no label has entered.
        """
        count = len(labels)
        heads = self.fit_stack([development] * count, labels, [seed] * count)
        return np.stack([head.logits(held_out) for head in heads])

    @abstractmethod
    def restore(self, state: dict[str, Any]) -> FittedHead:
        """The fitted head whose `state` this is."""
