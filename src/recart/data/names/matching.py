"""Two lists of names met: in passes, the surest first, and never two for one."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

import pandas as pd

__all__ = ["NameMatches", "Pass", "match_names"]

Keys = Callable[[int, str], Iterable[str]]
"""What the name at a position is known by in a pass; empty texts don't count."""


@dataclass(frozen=True, kw_only=True)
class Pass:
    """One way for names to be equal: `how` it is called, and the keys of either list's names."""

    how: str
    wanted: Keys
    given: Keys


@dataclass(frozen=True, kw_only=True)
class NameMatches:
    """What was found of the wanted names.

    Attributes
    ----------
    kind
        `gene` or `protein`.
    wanted
        Names that were looked for.
    found
        Position among the given names and how it was found, by wanted name.
    ambiguous
        Wanted names for which several given ones stood equally well: none was taken, they count as
        missing. The given names, by wanted name.
    doubles
        Given names that mean what another was taken for already: left aside, not summed.
    """

    kind: str
    wanted: tuple[str, ...]
    found: dict[str, tuple[int, str]]
    ambiguous: dict[str, tuple[str, ...]]
    doubles: dict[str, str]

    @property
    def missing(self) -> tuple[str, ...]:
        """Wanted names that stand for nothing of what is given."""
        return tuple(name for name in self.wanted if name not in self.found)

    def table(self, given: Sequence[str]) -> pd.DataFrame:
        """One row a wanted name: `kind`, `name`, `given` and `how` it was matched, empty if not.

        Rows of what was left aside follow, where `how` says why.
        """
        rows = []
        for name in self.wanted:
            position, how = self.found.get(name, (-1, ""))
            if name in self.ambiguous:
                how = "several, none taken: " + "; ".join(self.ambiguous[name])
            rows.append((self.kind, name, given[position] if position >= 0 else "", how))
        rows += [(self.kind, name, own, "left aside") for own, name in self.doubles.items()]
        return pd.DataFrame(rows, columns=["kind", "name", "given", "how"])

    def summary(self) -> str:
        """One line for the screen; no name of what only the user's data hold."""
        ways: dict[str, int] = defaultdict(int)
        for _, how in self.found.values():
            ways[how] += 1
        by = ", ".join(f"{count:,} by {how}" for how, count in ways.items())
        text = f"{len(self.found):,} of {len(self.wanted):,} {self.kind}s found"
        text += f" ({by})" if by else ""
        if self.ambiguous:
            text += f"; {len(self.ambiguous):,} ambiguous, masked"
        if self.doubles:
            text += f"; {len(self.doubles):,} given twice, the second left aside"
        return text


def match_names(
    kind: str, wanted: Sequence[str], given: Sequence[str], passes: Sequence[Pass]
) -> NameMatches:
    """Match in the order of `passes`; each sees what those before have left.

    A wanted name that several given ones fit in one pass is closed: a later, looser pass may not
    choose between them. A given name that several wanted ones fit is taken for none of them.
    """
    found: dict[str, tuple[int, str]] = {}
    ambiguous: dict[str, tuple[str, ...]] = {}
    taken: set[int] = set()
    meant: dict[int, str] = {}
    for own in passes:
        of_wanted = _by_key(own.wanted, enumerate(wanted))
        open_given = [(i, name) for i, name in enumerate(given) if i not in taken]
        fits: dict[str, list[int]] = defaultdict(list)
        for key, positions in _by_key(own.given, open_given).items():
            names = [wanted[w] for w in of_wanted.get(key, ())]
            if len(names) != 1:
                continue
            for position in positions:
                if position not in fits[names[0]]:
                    fits[names[0]].append(position)
                meant.setdefault(position, names[0])
        for name, positions in fits.items():
            if name in found or name in ambiguous:
                continue
            if len(positions) > 1:
                ambiguous[name] = tuple(given[i] for i in positions)
            elif positions[0] not in taken:
                found[name] = (positions[0], own.how)
                taken.add(positions[0])
    doubles = {
        given[i]: name for i, name in sorted(meant.items()) if i not in taken and name in found
    }
    return NameMatches(
        kind=kind, wanted=tuple(wanted), found=found, ambiguous=ambiguous, doubles=doubles
    )


def _by_key(keys: Keys, names: Iterable[tuple[int, str]]) -> dict[str, list[int]]:
    by_key: dict[str, list[int]] = defaultdict(list)
    for position, name in names:
        for key in dict.fromkeys(keys(position, name)):
            if key:
                by_key[key].append(position)
    return by_key
