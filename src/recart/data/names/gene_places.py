"""Where named genes stand in a list of genes: by name, else by Ensembl id."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import lru_cache
from typing import Any

import numpy as np

from recart.data.names.gene_map import gene_id, known_ids

__all__ = ["gene_places"]


def gene_places(
    wanted: Sequence[str], genes: Sequence[str], ids: Sequence[str] = ()
) -> np.ndarray[Any, np.dtype[np.intp]]:
    """(w) position of each wanted gene in `genes`, -1 where it is not there.

    A symbol finds the gene in a cohort that is named by Ensembl ids, or by symbols of before, and
    the other way round. `ids` are the Ensembl ids of `genes`, empty where not given: the shipped
    map then tells. An id that several genes have finds none of them.
    """
    place = {name: position for position, name in enumerate(genes)}
    found = [place.get(name, -1) for name in wanted]
    if -1 in found:
        by_id = _by_id(tuple(genes), tuple(ids))
        found = [
            at if at >= 0 else by_id.get(gene_id(name), -1)
            for name, at in zip(wanted, found, strict=True)
        ]
    return np.array(found, dtype=np.intp)


@lru_cache(maxsize=8)  # of stores and members, whose genes are asked for bag by bag
def _by_id(genes: tuple[str, ...], ids: tuple[str, ...]) -> Mapping[str, int]:
    known = known_ids(genes, ids or ("",) * len(genes))
    place: dict[str, int] = {}
    for position, own in enumerate(known):
        if own:
            place[own] = -1 if own in place else position
    return place
