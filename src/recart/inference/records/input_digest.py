"""SHA-256 of what was predicted from: of the files, or of the counts where there are none."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from pathlib import Path
from typing import final

import numpy as np

from recart.data.cohort import Cohort

__all__ = ["ContentDigest", "digest_of"]


def digest_of(paths: Sequence[Path]) -> str:
    """SHA-256 of a file; of several, of their own in order. Empty without any."""
    digests = []
    for path in paths:
        with path.open("rb") as file:
            digests.append(hashlib.file_digest(file, "sha256").hexdigest())
    if len(digests) < 2:
        return "".join(digests)
    return hashlib.sha256("".join(digests).encode()).hexdigest()


@final
class ContentDigest:
    """Hash of cells as they were read, part by part: their ids, genes, RNA and protein counts.

    The type in which counts are kept does not matter, the order of cells and genes does.
    """

    def __init__(self) -> None:
        self._digest = hashlib.sha256()

    def add(self, cohort: Cohort) -> None:
        """Further cells, with their genes as given where a model has renamed them."""
        genes = cohort.genes.get("given_name", cohort.genes.index)
        for names in (cohort.cells.index, cohort.cells["sample"], genes):
            self._digest.update("\n".join(map(str, names)).encode() + b"\0")
        rna = cohort.rna
        for array, kind in ((rna.indptr, "<i8"), (rna.indices, "<i8"), (rna.data, "<f8")):
            self._digest.update(np.ascontiguousarray(array, dtype=kind).tobytes())
        if cohort.protein is not None:
            self._digest.update(np.ascontiguousarray(cohort.protein, dtype="<f8").tobytes())

    def hexdigest(self) -> str:
        """Of all cells so far."""
        return self._digest.hexdigest()
