"""What cell states add to the scores of bags: the mean over members, and how far they differ."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import pandas as pd

__all__ = ["CellStates"]


@dataclass(frozen=True, kw_only=True)
class CellStates:
    """What each cell state adds to scores, over members.

    Attributes
    ----------
    added
        (n, k) by bag and cell state of the first member: mean over members, in log-odds, or the log
        hazard of a survival endpoint.
    sd
        (n, k) over members.
    members
        That could be asked: those whose states markers join with the first's.
    """

    added: pd.DataFrame
    sd: pd.DataFrame
    members: int

    @classmethod
    def over(cls, told: Sequence[pd.DataFrame]) -> CellStates | None:
        """Of what `state_drivers` says of each member; None where none says anything."""
        if not told:
            return None
        values = np.stack([own.to_numpy() for own in told])
        bags, states = told[0].index, told[0].columns
        return cls(
            added=pd.DataFrame(values.mean(axis=0), index=bags, columns=states),
            sd=pd.DataFrame(values.std(axis=0), index=bags, columns=states),
            members=len(told),
        )

    @classmethod
    def joined(cls, parts: Sequence[CellStates]) -> CellStates:
        """Of the bags of all parts."""
        return cls(
            added=pd.concat([own.added for own in parts]),
            sd=pd.concat([own.sd for own in parts]),
            members=parts[0].members,
        )

    def of(self, bags: pd.Index[Any]) -> CellStates:
        """Of some bags."""
        return replace(self, added=self.added.loc[bags], sd=self.sd.loc[bags])
