"""What a fold scheme is: it turns the labelled patients of a cohort into a split."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import Any

import numpy as np

from recart.data.folds.patient_columns import PatientColumns
from recart.data.split import Split

__all__ = ["FoldScheme"]


class FoldScheme(ABC):
    """How the labelled patients of a cohort become folds."""

    @abstractmethod
    def split(
        self,
        patients: np.ndarray[Any, Any],
        labels: np.ndarray[Any, Any],
        seed: int,
        names: Sequence[str],
        columns: PatientColumns | None = None,
    ) -> Split:
        """Split patients, given one row per labelled bag.

        Parameters
        ----------
        patients
            (n,) patient code of each bag.
        labels
            (n,) label of each bag, 0 or 1.
        seed
            Fixes the partition and the seeds of the models.
        names
            Pseudonyms of the patients, by code.
        columns
            What is known of the patients besides, for schemes that read a column.
        """
