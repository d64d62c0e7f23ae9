"""Reads MuData or AnnData that is in memory, by way of the file that it would be."""

from __future__ import annotations

import tempfile
import warnings
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, final

import pandas as pd
from pandas.api.types import infer_dtype

from recart.data.cohort import Cohort
from recart.data.readers.h5ad import H5adReader
from recart.data.readers.h5mu import H5muReader
from recart.data.readers.proteins import UNS_NAMES
from recart.data.readers.reader import Reader
from recart.data.readers.tables import as_text
from recart.problems import InputError, Problem

if TYPE_CHECKING:
    from anndata import AnnData

__all__ = ["InMemoryReader"]

_HERE: Final = "memory"  # where the data of a problem lie
# kinds of values, as pandas calls them
_NUMBERS: Final = frozenset({"integer", "floating", "mixed-integer-float"})
_WRITTEN: Final = _NUMBERS | {"string", "boolean", "empty"}


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
        """Write the object, and read it again.

        Raises
        ------
        InputError
            With every problem of form, of the data in memory.
        """
        try:
            cohort = self._through_file()
        except InputError as error:
            raise InputError(replace(own, file=_HERE) for own in error.problems) from None
        return replace(cohort, source=dict.fromkeys(cohort.source, _HERE))

    def _through_file(self) -> Cohort:
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
        copy.obs = _plain(self.data.obs)
        copy.write_h5mu(path)


def _shallow(data: AnnData) -> AnnData:
    """The same matrices under tables of its own, and of `uns` what is read."""
    from anndata import AnnData

    raw = data.raw
    return AnnData(
        X=data.X,
        obs=_plain(data.obs),
        var=_plain(data.var),
        obsm=dict(data.obsm),
        layers=dict(data.layers),
        uns={name: data.uns[name] for name in UNS_NAMES if name in data.uns},
        raw=None if raw is None else {"X": raw.X, "var": _plain(raw.var)},
    )


def _plain(table: pd.DataFrame) -> pd.DataFrame:
    """A copy with what no file takes as text, such as dates, or truth values with gaps."""
    plain = table.copy()
    for name, values in table.items():
        of_category = isinstance(values.dtype, pd.CategoricalDtype)
        kind = infer_dtype(values.cat.categories if of_category else values, skipna=True)
        if values.dtype == object and kind in _NUMBERS:
            plain[name] = pd.to_numeric(values)
        elif kind not in _WRITTEN or (values.dtype == object and kind == "boolean"):
            plain[name] = as_text(values)
    return plain
