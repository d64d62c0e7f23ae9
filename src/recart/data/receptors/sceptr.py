"""SCEPTR: TCR embeddings learnt by contrast of receptors with themselves."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from contextlib import contextmanager
from functools import lru_cache
from importlib import metadata
from typing import Any, Final, final

import numpy as np
import pandas as pd

from recart.data.receptors.clean import Cleaned, require, standardise
from recart.data.receptors.embedding import ReceptorEmbedding, Vectors

__all__ = ["Sceptr"]

Counts = np.ndarray[Any, np.dtype[np.int64]]

_BATCH: Final = 32
_ROWS_PER_CALL: Final = 64 * _BATCH
_ROWS_WORTH_A_BAR: Final = 5000


@final
class Sceptr(ReceptorEmbedding):
    """The default SCEPTR model (Nagano et al., Cell Systems 2025), 64 dimensions of unit length.

    Reads the three CDRs of either chain or both (from V gene and junction; J genes add nothing).
    The wheel brings the weights, so nothing is fetched. Human receptors only. Runs on one CPU
    thread: more threads gain little and lose much on a shared machine, and one device gives the
    same numbers everywhere.
    """

    @property
    def name(self) -> str:
        """Short name."""
        return "sceptr"

    @property
    def dim(self) -> int:
        """Number of dimensions."""
        return 64

    @property
    def fingerprint(self) -> str:
        """Hash of the package version, which fixes weights and tokens.

        Known without the package too: a cohort without receptors needs no encoder.
        """
        try:
            version = metadata.version("sceptr")
        except metadata.PackageNotFoundError:
            version = "absent"
        return hashlib.sha256(f"sceptr-default-{version}".encode()).hexdigest()

    def clean(self, table: pd.DataFrame) -> Cleaned:
        """Standardise with tidytcells: one unreadable row would fail a whole call of SCEPTR."""
        return standardise(table)

    def encode(self, sequences: pd.DataFrame) -> Vectors:
        """Vectors of cleaned sequences, with a progress bar where it takes long."""
        require("sceptr", "receptors")
        from rich.console import Console
        from rich.progress import track
        from sceptr import variant

        order = _even_blocks(_loop_lengths(sequences))
        calls = sequences.iloc[order].rename(
            columns={"v_a": "TRAV", "cdr3_a": "CDR3A", "v_b": "TRBV", "cdr3_b": "CDR3B"}
        )
        starts = track(
            range(0, len(calls), _ROWS_PER_CALL),
            description="Receptors",
            console=Console(stderr=True),
            transient=True,
            disable=len(calls) < _ROWS_WORTH_A_BAR,
        )
        values = np.zeros((len(sequences), self.dim), dtype=np.float32)
        with _quiet_and_single():
            model: Any = variant.default()
            model.set_batch_size(_BATCH)
            for start in starts:
                rows = slice(start, start + _ROWS_PER_CALL)
                values[order[rows]] = model.calc_vector_representations(calls.iloc[rows])
        return values


def _loop_lengths(sequences: pd.DataFrame) -> Counts:
    """Residues that SCEPTR reads of each receptor: CDR1 and CDR2 of the V genes, and CDR3."""
    lengths = np.zeros(len(sequences), dtype=np.int64)
    for chain in ("a", "b"):
        lengths += sequences[f"cdr3_{chain}"].fillna("").str.len().to_numpy(dtype=np.int64)
        lengths += np.array(
            [0 if pd.isna(v) else _germline_length(str(v)) for v in sequences[f"v_{chain}"]],
            dtype=np.int64,
        )
    return lengths


@lru_cache(maxsize=512)
def _germline_length(allele: str) -> int:
    from tidytcells import tr

    loops = tr.get_aa_sequence(allele, species="homosapiens")
    return sum(len(loops.get(loop, "")) for loop in ("CDR1-IMGT", "CDR2-IMGT"))


def _even_blocks(lengths: Counts) -> Counts:
    """Rows by length, each length filled up with its last row to whole batches.

    Padding and the size of a batch change the last bits of a result. With batches of one length
    and one size a receptor gets the same bits whatever company it is embedded in.
    """
    blocks = []
    for length in np.unique(lengths):
        rows = np.flatnonzero(lengths == length)
        blocks.append(np.pad(rows, (0, -len(rows) % _BATCH), mode="edge"))
    return np.concatenate(blocks)


@contextmanager
def _quiet_and_single() -> Iterator[None]:
    """One thread; and no nested tensors, whose prototype warns and was no faster."""
    import torch

    threads, fast_path = torch.get_num_threads(), torch.backends.mha.get_fastpath_enabled()
    torch.set_num_threads(1)
    torch.backends.mha.set_fastpath_enabled(False)
    try:
        yield
    finally:
        torch.set_num_threads(threads)
        torch.backends.mha.set_fastpath_enabled(fast_path)
