"""The thresholds of the checks."""

from __future__ import annotations

from dataclasses import dataclass

__all__ = ["Limits"]


@dataclass(frozen=True)
class Limits:
    """Where a sample fails, a patient is too poor and a class too small.

    Attributes
    ----------
    min_median_umi
        Median RNA counts per cell below which a library has failed; not applied to normalised data.
    min_cells
        Cells below which a library has failed.
    max_empty
        Share of a patient's cells without any count above which the data are refused.
    min_per_class
        Patients that each class of the endpoint needs.
    """

    min_median_umi: float = 50.0
    min_cells: int = 100
    max_empty: float = 0.2
    min_per_class: int = 5
