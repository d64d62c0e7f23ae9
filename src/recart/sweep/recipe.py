"""What a sweep is: a space, how it is searched, on what score, and how long."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final, final

from recart.sweep.pruners import Pruner
from recart.sweep.samplers import Sampler
from recart.sweep.storages import Storage

__all__ = ["FEW", "FEW_BUDGET", "MANY_BUDGET", "OBJECTIVES", "Sweep"]

FEW: Final = 60
"""Patients up to which the default budget is small."""
FEW_BUDGET: Final = 20
MANY_BUDGET: Final = 50

OBJECTIVES: Final = {
    "inner_loss": "the head's log loss over inner folds of the development patients",
    "encoder_loss": "the encoder's loss on inner-validation patients, per cell",
}
"""What may be made small. Neither has seen a held-out patient."""


@final
@dataclass(frozen=True, kw_only=True)
class Sweep:
    """The recipe of a sweep.

    Parameters
    ----------
    space
        Distributions by key of the configuration, nested as the configuration is.
    sampler, pruner, storage
        How configurations are drawn, which are given up early, and where trials are kept.
    objectives
        Names of `OBJECTIVES`. The first one chooses; further ones guide a sampler of several.
    budget
        Configurations for each outer fold, the configuration as it stands among them; None takes 20
        for up to 60 patients, and 50 for more.
    repeats
        Repeats of the cross-validation that are searched, the first ones. Each of their folds is
        searched by itself, so that the cost is proportional.
    """

    space: Mapping[str, Any]
    sampler: Sampler
    pruner: Pruner
    storage: Storage
    objectives: Sequence[str]
    budget: int | None
    repeats: int

    def budget_for(self, patients: int) -> int:
        """Configurations for each outer fold."""
        if self.budget is not None:
            return self.budget
        return FEW_BUDGET if patients <= FEW else MANY_BUDGET
