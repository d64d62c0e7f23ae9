"""Failed libraries and empty cells: what is left out by rule, and what is too much."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd

from recart.data.checks.limits import Limits
from recart.data.cohort import Cohort
from recart.problems import Problem, Problems

__all__ = ["cell_totals", "check_libraries", "filled_cells", "library_table"]

Values = np.ndarray[Any, np.dtype[np.float64]]


def cell_totals(cohort: Cohort) -> Values:
    """Sum of the RNA values of each cell."""
    return np.asarray(cohort.rna.sum(axis=1), dtype=np.float64).ravel()


def filled_cells(cohort: Cohort) -> np.ndarray[Any, np.dtype[np.bool_]]:
    """(c) whether a cell has any RNA value; of a cohort without genes, any protein count."""
    if not len(cohort.genes) and cohort.protein is not None:
        return np.asarray((cohort.protein > 0).any(axis=1))
    return np.asarray(np.diff(cohort.rna.indptr) > 0)


def library_table(cohort: Cohort, *, normalised: bool, limits: Limits) -> pd.DataFrame:
    """One row per sample: `cells` (with any count), `median_umi`, and whether it `failed`.

    The median is over cells with any count. Normalised values have no UMI to judge by, so that
    only the number of cells counts there; an emptied cell of normalised data is one without any
    stored value. A cohort without genes has no UMI either.
    """
    totals = cell_totals(cohort)
    filled = filled_cells(cohort)
    normalised = normalised or not len(cohort.genes)
    grouped = pd.Series(totals[filled]).groupby(cohort.cells["sample"].to_numpy()[filled])
    table = pd.DataFrame(
        {"cells": grouped.size(), "median_umi": grouped.median()}, index=cohort.samples.index
    )
    table["cells"] = table["cells"].fillna(0).astype(int)
    few = table["cells"] < limits.min_cells
    poor = pd.Series(False, index=table.index)
    if not normalised:
        poor = ~(table["median_umi"] >= limits.min_median_umi)
    table["failed"] = few | poor
    return table


def check_libraries(
    cohort: Cohort, *, normalised: bool, limits: Limits, problems: Problems
) -> pd.DataFrame:
    """Report failed libraries and patients with many empty cells; returns the samples kept."""
    file = cohort.source.get("rna", "")
    normalised = normalised or not len(cohort.genes)
    table = library_table(cohort, normalised=normalised, limits=limits)
    for sample, row in table[table["failed"]].iterrows():
        median = "" if normalised else f"median {row['median_umi']:g} UMI in "
        problems.warn(
            Problem(
                code="W-LIB-001",
                what=f"failed library: {median}{row['cells']} cells",
                mend="the sample is left out; lower data.limits.min_median_umi "
                f"({limits.min_median_umi:g}) or data.limits.min_cells ({limits.min_cells})",
                file=file,
                sample=str(sample),
                count=int(row["cells"]),
            )
        )
    empty = pd.Series(~filled_cells(cohort))
    owner = cohort.samples["patient"].reindex(cohort.cells["sample"]).to_numpy()
    share = empty.groupby(owner).mean()
    for patient in share.index[share > limits.max_empty]:
        mine = np.flatnonzero(owner == patient)
        samples = cohort.cells["sample"].iloc[mine[empty.to_numpy()[mine]]]
        problems.error(
            Problem(
                code="E-LIB-002",
                what=f"{share[patient]:.0%} of the cells of patient {patient} are empty",
                mend="give filtered matrices (filtered_feature_bc_matrix), not raw ones",
                file=file,
                sample=str(samples.iloc[0]),
                count=int(empty.to_numpy()[mine].sum()),
            )
        )
    kept = cohort.samples[~table["failed"]]
    if not len(kept):
        problems.error(
            Problem(
                code="E-LIB-003",
                what=f"all {len(table)} samples are failed libraries",
                mend="check the RNA matrix, or lower the thresholds under data.limits",
                file=file,
                sample=str(table.index[0]) if len(table) else "",
                count=len(table),
            )
        )
    return kept
