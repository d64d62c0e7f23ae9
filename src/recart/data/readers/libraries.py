"""Puts the features of several libraries side by side."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from functools import reduce
from typing import Any, Final

import numpy as np
import pandas as pd
from scipy import sparse

from recart.data.readers.proteins import Proteins
from recart.problems import Problem, Problems

__all__ = ["Library", "protein_names", "stack_genes", "stack_proteins"]

_MAX_LOST_GENES: Final = 0.1


@dataclass(frozen=True)
class Library:
    """Matrix of one sample as Cell Ranger wrote it."""

    sample: str
    barcodes: pd.Index
    rna: sparse.csr_matrix
    genes: pd.DataFrame
    proteins: Proteins | None

    @property
    def cells(self) -> pd.Index:
        """Cell ids, unique in the cohort."""
        return pd.Index(self.sample + ":" + self.barcodes, dtype=object)


def stack_genes(
    libraries: list[Library], file: str, problems: Problems, dropped: dict[str, int]
) -> pd.DataFrame:
    """Gene table of the genes that all libraries have, in the order of the first.

    A gene missing from a reference is not a gene without counts, so it is left out for all.
    """
    first = libraries[0].genes
    if all(library.genes.index.equals(first.index) for library in libraries):
        return first
    for library in libraries:
        twice = library.genes.index[library.genes.index.duplicated()]
        if len(twice):
            problems.error(
                Problem(
                    code="E-GENE-001",
                    what="gene symbols stand twice in references that differ between samples",
                    mend="set data.reader.duplicate_genes to sum, first or ensembl",
                    file=file,
                    sample=library.sample,
                    feature=str(twice[0]),
                    count=len(twice),
                )
            )
            return first
    common = reduce(
        lambda index, library: index[index.isin(library.genes.index)], libraries, first.index
    )
    for library in libraries:
        lost = library.genes.index.difference(common)
        if len(lost) > _MAX_LOST_GENES * len(library.genes):
            problems.error(
                Problem(
                    code="E-GENE-004",
                    what=f"{len(lost)} of its {len(library.genes)} genes are not in all samples",
                    mend="run all samples against one reference (not a targeted panel)",
                    file=file,
                    sample=library.sample,
                    feature=str(lost[0]),
                    count=len(lost),
                    examples=tuple(map(str, lost[:3])),
                )
            )
    union = reduce(lambda index, library: index.union(library.genes.index), libraries, first.index)
    dropped["genes that some samples lack"] = len(union) - len(common)
    return first.loc[common]


def protein_names(libraries: list[Library]) -> list[str]:
    """All proteins of all panels."""
    return list(dict.fromkeys(n for lib in libraries if lib.proteins for n in lib.proteins.names))


def stack_proteins(
    libraries: list[Library], names: list[str], file: str, problems: Problems
) -> tuple[Proteins | None, np.ndarray[Any, np.dtype[np.bool_]] | None]:
    """Counts of the proteins `names`, and per cell and protein whether it was measured."""
    if not names:
        return None, None
    for library in libraries:
        given = library.proteins.names if library.proteins else []
        twice = [name for name, n in Counter(given).items() if n > 1]
        if twice:
            problems.error(
                Problem(
                    code="E-PROT-006",
                    what=f"antibodies share the name {', '.join(twice[:5])}",
                    mend="give each antibody its own name in the feature reference",
                    file=file,
                    sample=library.sample,
                    feature=twice[0],
                    count=len(twice),
                )
            )
    sizes = [len(library.barcodes) for library in libraries]
    counts = np.zeros((sum(sizes), len(names)), dtype=np.float32)
    measured = np.zeros(counts.shape, dtype=np.bool_)
    start = 0
    for library, size in zip(libraries, sizes, strict=True):
        if library.proteins:
            at = [names.index(name) for name in library.proteins.names]
            counts[start : start + size, at] = library.proteins.counts
            measured[start : start + size, at] = True
        start += size
    return Proteins(counts, names), measured
