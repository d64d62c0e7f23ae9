"""The fixed receptors that TCRdist landmarks are: germline V genes, and junctions made by rule."""

from __future__ import annotations

from bisect import bisect
from functools import lru_cache
from itertools import accumulate
from random import Random
from typing import Final

from recart.data.simulate.germline import SEGMENTS

__all__ = ["LANDMARK_V_GENES", "landmark_junctions"]

_N_JUNCTIONS: Final = 256
_SEED: Final = 20260101

# Amino acids between germline V and J, more often the small and the charged ones; how many.
_RESIDUES: Final = "GGGGSSSSRRRAAALLPPTTDDEEQQVVNNKIYHFWM"
_LENGTHS: Final = {"TRA": (2, 6), "TRB": (4, 8)}


def _named(locus: str, numbers: str) -> tuple[str, ...]:
    return tuple(locus + number for number in numbers.split())


# Functional human V genes (IMGT). A fixed list: the coordinates of all depend on each of them.
LANDMARK_V_GENES: Final = {
    "TRA": _named(
        "TRAV",
        """
        1-1 1-2 2 3 4 5 6 7 8-1 8-2 8-3 8-4 8-6 9-1 9-2 10 12-1 12-2 12-3 13-1 13-2 14/DV4 16 17 18
        19 20 21 22 23/DV6 24 25 26-1 26-2 27 29/DV5 30 34 35 36/DV7 38-1 38-2/DV8 39 40 41
        """,
    ),
    "TRB": _named(
        "TRBV",
        """
        2 3-1 4-1 4-2 4-3 5-1 5-4 5-5 5-6 5-8 6-1 6-2 6-3 6-4 6-5 6-6 6-8 6-9 7-2 7-3 7-4 7-6 7-7
        7-8 7-9 9 10-1 10-2 10-3 11-1 11-2 11-3 12-2 12-3 12-4 12-5 13 14 15 16 18 19 20-1 24-1 25-1
        27 28 29-1 30
        """,
    ),
}


@lru_cache(maxsize=2)
def landmark_junctions(locus: str) -> tuple[str, ...]:
    """The landmark junctions of `TRA` or `TRB`: germline ends about residues drawn by rule.

    Drawn with the one stream of numbers that Python promises never to change, so that they are
    the same in every version and on every machine, and come from nobody.
    """
    rng = Random(f"{_SEED} {locus}")
    segments, (fewest, most) = SEGMENTS[locus], _LENGTHS[locus]
    made: dict[str, None] = {}
    while len(made) < _N_JUNCTIONS:
        v, j = (_drawn(listed, rng.random()) for listed in (segments.v, segments.j))
        length = fewest + int(rng.random() * (most - fewest + 1))
        middle = (_RESIDUES[int(rng.random() * len(_RESIDUES))] for _ in range(length))
        made[v + "".join(middle) + j] = None
    return tuple(made)


def _drawn(listed: tuple[tuple[str, str, float], ...], share: float) -> str:
    """Germline residues of the segment at a share of the total weight."""
    until = list(accumulate(weight for *_, weight in listed))
    return listed[bisect(until, share * until[-1])][1]
