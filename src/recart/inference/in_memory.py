"""Reads MuData or AnnData that is in memory, by way of the file that it would be."""

from __future__ import annotations

import tempfile
import warnings
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, final

from recart.data.cohort import Cohort
from recart.data.readers.h5ad import H5adReader
from recart.data.readers.h5mu import H5muReader
from recart.data.readers.reader import Reader
from recart.problems import InputError, Problem

if TYPE_CHECKING:
    from anndata import AnnData

__all__ = ["InMemoryReader"]


@final
class InMemoryReader(Reader):
    """The same cohort as from the object's file, by the same checks; the object is not changed.

    The file lies in a folder that only its owner may read, and is removed when it was read.

    Parameters
    ----------
    data
        A MuData with modalities as `H5muReader` reads them, or an AnnData as `H5adReader` does.
    columns
        Column names by role (`sample`, `patient`, `timepoint`, `day`, ...); None tries the usual
        ones.

    Raises
    ------
    InputError
        If the object is neither.
    """

    def __init__(self, data: Any, columns: Mapping[str, str | None] | None = None) -> None:
        from anndata import AnnData
        from mudata import MuData

        if not isinstance(data, AnnData | MuData):
            problem = Problem(
                code="E-FILE-004",
                what=f"the data are a {type(data).__name__}, neither MuData nor AnnData",
                mend="read the file first: mudata.read_h5mu(path) or anndata.read_h5ad(path)",
            )
            raise InputError([problem])
        self.data = data
        self.columns = columns

    def files(self) -> Sequence[Path]:
        """None: everything is in memory."""
        return []

    def read(self) -> Cohort:
        """Write the object, and read it again."""
        from anndata import AnnData

        with tempfile.TemporaryDirectory(prefix="recart-") as folder, warnings.catch_warnings():
            warnings.simplefilter("ignore")  # notes on strings that are written as they are
            if isinstance(self.data, AnnData):
                path = Path(folder) / "data.h5ad"
                _shallow(self.data).write_h5ad(path)
                return H5adReader(str(path), self.columns).read()
            path = Path(folder) / "data.h5mu"
            self._write_mudata(path)
            return H5muReader(str(path), self.columns).read()

    def _write_mudata(self, path: Path) -> None:
        from mudata import MuData

        copy = MuData({name: _shallow(own) for name, own in self.data.mod.items()})
        copy.obs = self.data.obs.copy()
        copy.write_h5mu(path)


def _shallow(data: AnnData) -> AnnData:
    """The same matrices under tables of its own, which writing turns into categories."""
    from anndata import AnnData

    raw = data.raw
    return AnnData(
        X=data.X,
        obs=data.obs.copy(),
        var=data.var.copy(),
        obsm=dict(data.obsm),
        layers=dict(data.layers),
        uns=dict(data.uns),
        raw=None if raw is None else {"X": raw.X, "var": raw.var.copy()},
    )
