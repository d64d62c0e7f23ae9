"""Puts what was read together: names by role, ids as text, sample and patient tables, cell ids."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
import pandas as pd
from scipy import sparse

from recart.data.checks.spelling import nearest
from recart.data.cohort import Cohort
from recart.data.readers.columns import Columns
from recart.data.readers.lift import lift, patient_of_sample
from recart.data.readers.proteins import Proteins
from recart.data.readers.sample_tables import SideTables
from recart.data.readers.tables import as_text
from recart.problems import Problem, Problems

__all__ = ["Parts", "assemble"]


@dataclass
class Parts:
    """What a reader found, all rows in the order of the cells.

    `protein_measured` is (cells,) bool, or (cells, proteins): whether the cell's protein counts
    mean anything. `chains` names cells by the index of `obs`, `levels` are those of its ordered
    columns.
    """

    rna: sparse.csr_matrix
    genes: pd.DataFrame
    obs: pd.DataFrame
    proteins: Proteins | None = None
    protein_measured: np.ndarray | None = None
    chains: pd.DataFrame | None = None
    source: dict[str, str] = field(default_factory=dict)
    levels: dict[str, tuple[str, ...]] = field(default_factory=dict)
    dropped: dict[str, int] = field(default_factory=dict)


def assemble(parts: Parts, columns: Columns, side: SideTables, problems: Problems) -> Cohort:
    """The cohort.

    Parameters
    ----------
    parts
        What was read; its `obs` may have any column names.
    columns
        Which of them play which role.
    side
        The tables of samples and patients, where given.
    problems
        May hold problems already; raised here with those found here.

    Raises
    ------
    InputError
        With all problems of form.
    """
    file = parts.source.get("rna", "")
    obs = _with_ids(columns.rename(parts.obs), columns, side, file, problems)
    problems.raise_if_any()
    patient = patient_of_sample(obs, side.samples, file, problems)
    problems.raise_if_any()
    cells, samples, patients = lift(obs, patient, side, file, problems)
    _require_named(columns, parts.obs, side, file, problems)
    problems.raise_if_any()

    cells.index = pd.Index(obs.index.astype(str), dtype=object)
    dropped = dict(parts.dropped)
    absent = 0 if side.samples is None else len(side.samples.index.difference(samples.index))
    if absent:
        dropped["samples without cells"] = dropped.get("samples without cells", 0) + absent
    protein, measured = _protein(parts, cells["sample"], samples.index)
    return Cohort(
        rna=parts.rna,
        genes=parts.genes,
        cells=cells,
        samples=samples,
        patients=patients,
        protein=protein,
        proteins=[] if parts.proteins is None else parts.proteins.names,
        protein_measured=measured,
        chains=parts.chains,
        source={**parts.source, **side.source()},
        levels=_levels(parts, columns),
        dropped=dropped,
    )


def _levels(parts: Parts, columns: Columns) -> dict[str, tuple[str, ...]]:
    """Levels of ordered columns under the names that the columns have now."""
    now = dict(zip(parts.obs.columns, columns.rename(parts.obs.head(0)).columns, strict=True))
    return {now[name]: levels for name, levels in parts.levels.items() if name in now}


def _with_ids(
    obs: pd.DataFrame, columns: Columns, side: SideTables, file: str, problems: Problems
) -> pd.DataFrame:
    """`obs` with text columns `sample` and, where known per cell, `patient`."""
    obs = obs.assign(**columns.constants())
    has_patients = "patient" in obs or (side.samples is not None and "patient" in side.samples)
    if "sample" not in obs and "patient" not in obs:
        _no_column("E-COL-002", "neither a sample nor a patient column", obs, file, problems)
        return obs
    if not has_patients:
        _no_column("E-COL-003", "a sample column, but no patient column", obs, file, problems)
    for role in ("sample", "patient"):
        if role not in obs:
            continue
        obs[role] = as_text(obs[role])
        missing = obs[role].isna()
        if missing.any():
            problems.error(
                Problem(
                    code="E-ID-003",
                    what=f"cells without a {role} id",
                    mend="remove these cells, or name their " + role,
                    file=file,
                    column=role,
                    count=int(missing.sum()),
                    examples=tuple(map(str, obs.index[missing][:3])),
                )
            )
    return obs if "sample" in obs else obs.assign(sample=obs["patient"])


def _no_column(code: str, what: str, obs: pd.DataFrame, file: str, problems: Problems) -> None:
    role = "patient" if code == "E-COL-003" else "sample"
    shown = [str(name) for name in obs.columns][:30]
    problems.error(
        Problem(
            code=code,
            what=f"{what} was found among {', '.join(shown) or 'no columns'}",
            mend=f"set data.columns.{role}, or data.columns.patient=constant:NAME for one patient",
            file=file,
            column=role,
        )
    )


def _require_named(
    columns: Columns, obs: pd.DataFrame, side: SideTables, file: str, problems: Problems
) -> None:
    """Every column that the user named stands in one of the tables."""
    available = [*map(str, obs.columns), *side.header]
    for role, name in columns.explicit().items():
        if name not in available:
            near = nearest(name, available)
            problems.error(
                Problem(
                    code="E-COL-001",
                    what=f"data.columns.{role}={name}, but no table has this column",
                    mend=f"nearest: {', '.join(near)}" if near else f"columns are {available[:30]}",
                    file=file,
                    column=name,
                )
            )


def _protein(
    parts: Parts, sample: pd.Series, samples: pd.Index
) -> tuple[np.ndarray | None, np.ndarray | None]:
    """Counts of the cells; (samples, proteins) whether any cell of the sample has it measured.

    A NaN is not measured: 0 where the whole sample is not, else left for the checks to report.
    """
    if parts.proteins is None:
        return None, None
    counts = parts.proteins.counts
    missing = np.isnan(counts)
    if parts.protein_measured is None and not missing.any():
        return counts, np.ones((len(samples), counts.shape[1]), dtype=np.bool_)
    given = parts.protein_measured
    given = np.ones(len(counts), dtype=np.bool_) if given is None else given
    per_cell = (given[:, None] if given.ndim == 1 else given) & ~missing
    codes = samples.get_indexer_for(pd.Index(sample))
    measured = np.zeros((len(samples), counts.shape[1]), dtype=np.bool_)
    np.logical_or.at(measured, codes, per_cell)
    if missing.any():
        counts = np.where(missing & ~measured[codes], np.float32(0), counts)
    return counts, measured
