"""No receptor embedding: clones count by their size only."""

from __future__ import annotations

from typing import final

import numpy as np
import pandas as pd

from recart.data.receptors.clean import Cleaned, take_sequences
from recart.data.receptors.embedding import ReceptorEmbedding, Vectors

__all__ = ["NoReceptor"]


@final
class NoReceptor(ReceptorEmbedding):
    """An embedding of no dimensions, which knows no receptor."""

    @property
    def name(self) -> str:
        """Short name."""
        return "none"

    @property
    def dim(self) -> int:
        """Number of dimensions."""
        return 0

    @property
    def fingerprint(self) -> str:
        """The same for ever."""
        return "none"

    def clean(self, table: pd.DataFrame) -> Cleaned:
        """Nothing is read, so nothing is masked."""
        return Cleaned(take_sequences(table), {})

    def encode(self, sequences: pd.DataFrame) -> Vectors:
        """(rows, 0)."""
        return np.zeros((len(sequences), 0), dtype=np.float32)
