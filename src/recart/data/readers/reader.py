"""The one thing every reader does."""

from __future__ import annotations

from abc import ABC, abstractmethod

from recart.data.cohort import Cohort

__all__ = ["Reader"]


class Reader(ABC):
    """Turns the files of one cohort into a `Cohort`; checks the form of files, not their content.

    Content is checked by `recart.data.checks.check_cohort`, the same way for every reader.
    """

    @abstractmethod
    def read(self) -> Cohort:
        """Read everything into memory.

        Raises
        ------
        InputError
            With every problem of form found: missing or damaged files, columns, ids, barcodes that
            do not match across modalities.
        """
