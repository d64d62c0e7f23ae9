"""Recognises patients of the training cohort by what was counted, whatever they are called now.

A cell's counts give one keyed number. Of each training patient the smallest of these numbers are
kept: a fixed sample of its cells, of which a new file of the same patient has the same ones, or as
large a share of them as it has of the cells (MinHash; Broder 1997). The numbers tell nothing of
the counts that they were made of to somebody who does not hold these already.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
import torch

from recart.contracts import FeatureSpec
from recart.data.features import BoundFeatures
from recart.data.rows import pieces, read_rows
from recart.data.store import CohortStore

__all__ = ["Fingerprints"]

Array = np.ndarray[Any, np.dtype[Any]]

_KEPT: Final = 64  # numbers of each patient and modality
_ENOUGH: Final = 3  # of them that are found again; two nearly empty cells may agree by chance
_FEWEST: Final = 10  # genes or proteins that a cell shows; with fewer, cells agree by chance
_NONE: Final = np.uint64(0xFFFFFFFFFFFFFFFF)


@dataclass(frozen=True, kw_only=True)
class Fingerprints:
    """`key` of the run, and `kept` (p, 2, 64), numbers of RNA and of protein of each patient."""

    key: str
    kept: Array

    @classmethod
    def fit(
        cls, key: str, bound: BoundFeatures, store: CohortStore, patients: Iterable[int]
    ) -> Fingerprints:
        """Of these patients of the training cohort (codes), over one member's features."""
        patient = store.cells["patient"].to_numpy()
        kept = []
        for code in patients:
            numbers = _numbers(key, bound, store, np.flatnonzero(patient == code))
            kept.append([_smallest(own) for own in numbers])
        # in an order that is nobody's
        order = np.argsort([own[0][0] for own in kept], kind="stable")
        return cls(key=key, kept=np.array(kept, dtype=np.uint64)[order])

    def recognised(self, bound: BoundFeatures, store: CohortStore, cells: Array) -> bool:
        """Whether these cells (rows of the store) are largely those of a training patient.

        `bound` are the features of the member that `fit` was given, met with this store. A file
        that lacks genes of the member is recognised by its proteins only, and the other way round.
        """
        found = _numbers(self.key, bound, store, cells)
        hits = [
            np.isin(self.kept[:, i], own).sum(axis=1, where=self.kept[:, i] != _NONE)
            for i, own in enumerate(found)
        ]
        return bool(len(self.kept) and np.max(hits) >= _ENOUGH)

    def plain(self) -> dict[str, Any]:
        """Plain Python and tensors."""
        return {"key": self.key, "kept": torch.from_numpy(self.kept.view(np.int64))}

    @classmethod
    def from_plain(cls, plain: dict[str, Any]) -> Fingerprints:
        """What `plain` was made of."""
        return cls(key=plain["key"], kept=plain["kept"].numpy().view(np.uint64))


def _smallest(numbers: Array) -> Array:
    own = np.unique(numbers)[:_KEPT]
    return np.concatenate([own, np.full(_KEPT - len(own), _NONE)])


def _numbers(key: str, bound: BoundFeatures, store: CohortStore, cells: Array) -> list[Array]:
    """Numbers of the cells by RNA and by protein, of cells that show enough."""
    spec: FeatureSpec = bound.features.spec
    rna, protein = [np.zeros(0, dtype=np.uint64)], [np.zeros(0, dtype=np.uint64)]
    gene_key = np.zeros(len(store.genes), dtype=np.uint64)
    there = bound.genes >= 0
    gene_key[bound.genes[there]] = _keys(key, spec.genes)[there]
    protein_key = _keys(key, spec.proteins)
    panel = bound.proteins[bound.proteins >= 0]
    for rows in pieces(cells):
        own = read_rows(store.rna, rows)
        known = gene_key[own.indices]
        counted = (known != 0) & (own.data != 0)
        mixed = np.where(counted, _mixed(known, own.data), np.uint64(0))
        rna.append(_sums(mixed, own.indptr)[_count(counted, own.indptr) >= _FEWEST])
        if store.protein is not None and len(panel):
            value = read_rows(store.protein, rows)[:, panel]
            mixed = _mixed(protein_key[bound.proteins >= 0][None, :], value)
            numbers = _finished(mixed.sum(axis=1, dtype=np.uint64))
            protein.append(numbers[(value > 0).sum(axis=1) >= _FEWEST])
    return [np.concatenate(rna), np.concatenate(protein)]


def _keys(key: str, names: Sequence[str]) -> Array:
    """(g) a number of each name, never 0."""
    digests = [
        hashlib.blake2b(name.encode(), key=key.encode()[:64], digest_size=8).digest()
        for name in names
    ]
    return np.array([int.from_bytes(own, "little") | 1 for own in digests], dtype=np.uint64)


def _mixed(key: Array, value: Array) -> Array:
    """A number for each key and value."""
    bits = np.asarray(value, dtype=np.float32).view(np.uint32).astype(np.uint64)
    return _finished(key + bits * np.uint64(0x9E3779B97F4A7C15))


def _finished(number: Array) -> Array:
    """Finaliser of SplitMix64 (Steele, Lea & Flood 2014): every bit depends on every bit."""
    number = (number ^ (number >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    number = (number ^ (number >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    finished: Array = number ^ (number >> np.uint64(31))
    return finished


def _sums(values: Array, start: Array) -> Array:
    """Sums over each row's entries, modulo 2^64: in any order of genes the same."""
    total = np.concatenate([np.zeros(1, dtype=np.uint64), np.cumsum(values, dtype=np.uint64)])
    return _finished(total[start[1:]] - total[start[:-1]])


def _count(counted: Array, start: Array) -> Array:
    total = np.concatenate(([0], np.cumsum(counted)))
    count: Array = total[start[1:]] - total[start[:-1]]
    return count
