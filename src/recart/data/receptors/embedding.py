"""What every receptor embedding is, and the cache that embeds each sequence once."""

from __future__ import annotations

import hashlib
import os
import tempfile
import zipfile
from abc import ABC, abstractmethod
from pathlib import Path
from typing import Any, Final, NamedTuple, final

import numpy as np
import pandas as pd

from recart.data.receptors.clean import SEQUENCE_COLUMNS, Cleaned

__all__ = ["ReceptorEmbedding", "ReceptorVectors", "embed_cached"]

Vectors = np.ndarray[Any, np.dtype[np.float32]]
Mask = np.ndarray[Any, np.dtype[np.bool_]]

_KEY_BYTES: Final = 16


class ReceptorVectors(NamedTuple):
    """Vectors (clone, t), 0 where not known; which are known (clone,); masked chains by reason."""

    values: Vectors
    known: Mask
    masked: dict[str, int]


class ReceptorEmbedding(ABC):
    """A fixed map from the sequences of a receptor to a vector of `dim` numbers.

    Fixed: nothing in it is fitted on the cohort, so that it is the same for held-out patients and
    for patients that come later.
    """

    @property
    @abstractmethod
    def name(self) -> str:
        """Short name, for file names and reports."""

    @property
    @abstractmethod
    def dim(self) -> int:
        """Number of dimensions t; 0 for an embedding that knows no receptor."""

    @property
    @abstractmethod
    def fingerprint(self) -> str:
        """Hash of encoder and version: equal fingerprints give equal vectors."""

    @abstractmethod
    def clean(self, table: pd.DataFrame) -> Cleaned:
        """Sequences as this encoder reads them: what it cannot read is masked, never raised."""

    @abstractmethod
    def encode(self, sequences: pd.DataFrame) -> Vectors:
        """(rows, t) vectors of cleaned sequences, each with at least one chain."""

    @final
    def embed(self, table: pd.DataFrame) -> tuple[Vectors, Mask]:
        """Vectors (clone, t) and which of them are known, for a clonotype table."""
        values, known, _ = embed_cached(self, table, None)
        return values, known


def embed_cached(
    embedding: ReceptorEmbedding, table: pd.DataFrame, folder: Path | None
) -> ReceptorVectors:
    """Embed clonotypes, each distinct pair of chains once, reusing vectors kept in `folder`.

    The cache holds one file per encoder fingerprint: hashes of sequences and their vectors. It is
    replaced atomically, so that concurrent runs at worst repeat work. Hashed receptors can be
    recognised by who holds the receptors: the folder is as private as the data itself.

    Parameters
    ----------
    embedding
        The encoder.
    table
        Clonotypes, columns `SEQUENCE_COLUMNS`; a missing chain is None or NaN.
    folder
        Where the cache lives (made if absent); None for no cache.
    """
    sequences, masked = embedding.clean(table)
    known = sequences[["cdr3_a", "cdr3_b"]].notna().any(axis=1).to_numpy(dtype=np.bool_)
    known = known & (embedding.dim > 0)
    values = np.zeros((len(table), embedding.dim), dtype=np.float32)
    if not known.any():
        return ReceptorVectors(values, known, masked)

    text = sequences.loc[known].fillna("")
    code, keys = pd.factorize(text[list(SEQUENCE_COLUMNS)].agg("\t".join, axis=1))
    row_of_code = np.unique(code, return_index=True)[1]
    unique = sequences.loc[known].iloc[row_of_code].reset_index(drop=True)
    hashes = [hashlib.blake2b(str(key).encode(), digest_size=_KEY_BYTES).digest() for key in keys]

    path = None if folder is None else folder / f"{embedding.name}-{embedding.fingerprint[:16]}.npz"
    kept = {} if path is None else _read(path, embedding.dim)
    new = [row for row, key in enumerate(hashes) if key not in kept]
    if new:
        vectors = embedding.encode(unique.iloc[new].reset_index(drop=True))
        kept.update(zip((hashes[row] for row in new), vectors, strict=True))
        if path is not None:
            _write(path, kept)
    values[known] = np.stack([kept[key] for key in hashes])[code]
    return ReceptorVectors(values, known, masked)


def _read(path: Path, dim: int) -> dict[bytes, Vectors]:
    """Kept vectors; none where there is no file, or one that was cut short."""
    try:
        with path.open("rb") as file, np.load(file, allow_pickle=False) as kept:
            keys, values = kept["keys"], kept["values"]
    except (OSError, ValueError, KeyError, EOFError, zipfile.BadZipFile):
        return {}
    if values.ndim != 2 or values.shape != (len(keys), dim) or not np.isfinite(values).all():
        return {}
    return {key.tobytes(): value for key, value in zip(keys, values, strict=True)}


def _write(path: Path, kept: dict[bytes, Vectors]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    keys = np.frombuffer(b"".join(kept), dtype=np.uint8).reshape(-1, _KEY_BYTES)
    descriptor, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.stem}-", suffix=".tmp")
    try:
        with os.fdopen(descriptor, "wb") as file:
            np.savez(file, keys=keys, values=np.stack(list(kept.values())))
            file.flush()
            os.fsync(file.fileno())
        os.replace(name, path)
    except BaseException:
        Path(name).unlink(missing_ok=True)
        raise
