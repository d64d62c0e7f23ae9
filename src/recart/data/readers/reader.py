"""The one thing every reader does."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from pathlib import Path

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

    @abstractmethod
    def files(self) -> Sequence[Path]:
        """Every file that `read` opens, found without reading the large ones.

        Where all are unchanged, and so are the attributes of the reader, `read` gives the same
        cohort. None for a reader whose arguments say everything. Files that are named but lacking
        may be left out: what `read` says about them is for `read` to say.
        """
