"""Whether every step of the training was finite, member by member, without waiting for a GPU."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Final, final

import torch
from torch import Tensor

__all__ = ["FiniteWatch", "not_finite"]

_MEND: Final = (
    "lower training.lr or set training.clip_norm, and check the counts for extreme values"
)
_NEVER: Final = -1


@final
class FiniteWatch:
    """Keeps, on the device, the first step of an epoch at which a term of a member was not finite.

    `see` keeps no host waiting; `ask` waits for the answer. On a CPU it can be asked at every step,
    on a GPU once an epoch.
    """

    def __init__(self) -> None:
        self._names: tuple[str, ...] = ()
        self._first_km: Tensor | None = None  # k runs over terms

    def forget(self) -> None:
        """Begin an epoch."""
        self._names, self._first_km = (), None

    def see(self, sums: Mapping[str, Tensor], step: int) -> None:
        """Note one step: `sums` of each term over the cells of each member."""
        found_km = torch.stack(list(sums.values())).isfinite()
        if self._first_km is None:
            self._names = tuple(sums)
            self._first_km = torch.full_like(found_km, _NEVER, dtype=torch.int64)
        new_km = ~found_km & (self._first_km == _NEVER)
        self._first_km = torch.where(new_km, step, self._first_km)

    def ask(self, members: Sequence[str], epoch: int) -> None:
        """Tell of the epoch so far; `members` are the names of the rows.

        Raises
        ------
        FloatingPointError
            If a term was not finite: the member, the first such step, the terms, the mend.
        """
        if self._first_km is None:
            return
        first_mk = self._first_km.T.tolist()
        found = []
        for name, first_k in zip(members, first_mk, strict=True):
            steps = [step for step in first_k if step != _NEVER]
            if steps:
                terms = [
                    term
                    for term, step in zip(self._names, first_k, strict=True)
                    if step == min(steps)
                ]
                found.append(
                    f"member {name}: {' and '.join(terms)} not finite at step {min(steps)} of "
                    f"epoch {epoch}"
                )
        if found:
            raise FloatingPointError(f"{'; '.join(found)}; {_MEND}")


def not_finite(member: str, place: str, means: Mapping[str, Tensor], row: int) -> str:
    """What is said of a member whose terms, in row `row`, were not finite in this place."""
    bad = [name for name, value in means.items() if not torch.isfinite(value[row])]
    return f"member {member}: {' and '.join(bad) or 'the sum of terms'} not finite {place}; {_MEND}"
