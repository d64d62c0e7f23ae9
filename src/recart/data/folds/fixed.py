"""A split that stands in a file."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any, final

import numpy as np

from recart.data.folds.patient_columns import PatientColumns
from recart.data.folds.scheme import FoldScheme
from recart.data.split import Split, check_classes

__all__ = ["FixedSplit"]


@final
class FixedSplit(FoldScheme):
    """A split that stands in a file, as `Split.write` writes it: the same folds as another run.

    Parameters
    ----------
    path
        The file. Its patients are pseudonyms of the same project key.
    """

    def __init__(self, path: str) -> None:
        self._path = Path(path)

    def split(
        self,
        patients: np.ndarray[Any, Any],
        labels: np.ndarray[Any, Any],
        seed: int,  # noqa: ARG002
        names: Sequence[str],
        columns: PatientColumns | None = None,  # noqa: ARG002
    ) -> Split:
        """Read the split, with its own seeds, and check it against the bags.

        Raises
        ------
        InputError
            If the file is not sound, does not fit the cohort or has a part with one class.
        """
        split = Split.read(self._path, names)
        check_classes(split, patients, labels)
        return split
