"""Readers: the files of a cohort to a `Cohort`."""

from recart.data.readers.cellranger import CellRangerReader
from recart.data.readers.columns import Columns
from recart.data.readers.h5ad import H5adReader
from recart.data.readers.h5mu import H5muReader
from recart.data.readers.hdf5_guard import guard_hdf5
from recart.data.readers.reader import Reader

__all__ = [
    "CellRangerReader",
    "Columns",
    "H5adReader",
    "H5muReader",
    "Reader",
    "guard_hdf5",
]
