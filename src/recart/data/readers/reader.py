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

    def parts(self, cells: int) -> Sequence[Reader]:  # noqa: ARG002
        """Readers of the same cohort, patient by patient: each reads all cells of some patients.

        Together they read what `read` reads, and each is to be read, checked and let go before the
        next. A part has about `cells` cells, or one patient that has more. A reader that can't read
        a part without the whole gives itself.

        Raises
        ------
        InputError
            With problems of form that stand in the way of finding the patients.
        """
        return [self]

    @property
    def size(self) -> int | None:
        """Cells that `read` will give before anything is left out, where that is known."""
        return None
