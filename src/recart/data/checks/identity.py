"""The same cell in two patients: a mix-up of files, or one donor under two names."""

from __future__ import annotations

from typing import Any, Final, final

import numpy as np
import pandas as pd

from recart.data.cohort import Cohort
from recart.problems import Problem, Problems

__all__ = ["SeenCells", "check_identity"]

# Cells with fewer genes can agree by chance, as two nearly empty droplets do.
_MIN_GENES: Final = 10


def check_identity(cohort: Cohort, problems: Problems) -> None:
    """Report pairs of patients that share cells of the same barcode and the same counts.

    Barcodes alone repeat between libraries: some thousand of 700,000 possible ones are used in
    each. Only cells that share a barcode are compared.
    """
    frame = _cells(cohort)
    frame = frame[frame.duplicated(["barcode", "n_genes"], keep=False)]
    if not len(frame):
        return
    frame = frame.assign(print=_fingerprints(cohort, frame.index.to_numpy()))
    for names, at in _pairs(frame).items():
        cells = cohort.cells.iloc[at]
        _shared(names, cells, cohort.source.get("rna", ""), problems)


@final
class SeenCells:
    """Compares the cells of cohorts that are not in memory together, as `check_identity` does."""

    def __init__(self) -> None:
        self._parts: list[pd.DataFrame] = []

    def see(self, cohort: Cohort) -> None:
        """Remember the fingerprints of a cohort's cells: some tens of bytes each."""
        frame = _cells(cohort)
        rows = frame.index.to_numpy()
        cells = cohort.cells.iloc[rows]
        self._parts.append(
            frame.assign(
                barcode=pd.util.hash_array(frame["barcode"].to_numpy(dtype=object)),
                print=_fingerprints(cohort, rows),
                patient=frame["patient"].astype("category"),
                sample=cells["sample"].astype("category").to_numpy(),
                part=len(self._parts),
            )
        )

    def report(self, file: str, problems: Problems) -> None:
        """Report what only cohorts together show: pairs of patients of different ones."""
        if len(self._parts) < 2:
            return
        frame = pd.concat(self._parts, ignore_index=True)
        frame = frame[frame.duplicated(["barcode", "n_genes", "print"], keep=False)]
        parts = frame.groupby(["barcode", "print"])["part"].transform("nunique")
        for names, at in _pairs(frame[parts > 1]).items():
            _shared(names, frame.loc[at, ["sample"]], file, problems)


def _cells(cohort: Cohort) -> pd.DataFrame:
    """Barcode, patient and number of genes of every cell that has enough of them, by its row."""
    patient = cohort.samples["patient"].reindex(cohort.cells["sample"]).to_numpy()
    n_genes = np.diff(cohort.rna.indptr)
    frame = pd.DataFrame({"barcode": _barcodes(cohort), "patient": patient, "n_genes": n_genes})
    return frame[frame["n_genes"] >= _MIN_GENES]


def _pairs(frame: pd.DataFrame) -> dict[tuple[str, ...], list[int]]:
    """Rows of cells that several patients have, by the names of these patients."""
    frame = frame.assign(patient=frame["patient"].astype(str))
    frame = frame.drop_duplicates(["barcode", "print", "patient"])
    same = frame[frame.duplicated(["barcode", "print"], keep=False)]
    pairs: dict[tuple[str, ...], list[int]] = {}
    for _, group in same.groupby(["barcode", "print"]):
        key = tuple(sorted(map(str, group["patient"])))
        pairs.setdefault(key, []).append(int(group.index[0]))
    return pairs


def _shared(names: tuple[str, ...], cells: pd.DataFrame, file: str, problems: Problems) -> None:
    problems.error(
        Problem(
            code="E-ID-004",
            what=f"patients {' and '.join(names)} share cells with the same barcode and counts",
            mend="one file stands under two patients, or one donor has two names: keep one",
            file=file,
            sample=str(cells["sample"].iloc[0]),
            column="barcode",
            count=len(cells),
            examples=tuple(map(str, cells.index[:3])) if cells.index.dtype == object else (),
        )
    )


def _barcodes(cohort: Cohort) -> pd.Series:
    """Nucleotide barcode of each cell; the id without its sample where it holds none."""
    given = cohort.cells.get("barcode", cohort.cells.index)
    ids = pd.Series(np.asarray(given, dtype=object)).astype("string")
    found = ids.str.extract(r"([ACGTN]{12,})", expand=False)
    if found.isna().any():
        sample = cohort.cells["sample"].astype(str).to_numpy()
        rest = [
            str(name).removeprefix(owner).lstrip(":_-")
            for name, owner in zip(ids, sample, strict=True)
        ]
        found = found.fillna(pd.Series(rest, dtype="string"))
    return found.astype(object)


def _fingerprints(cohort: Cohort, rows: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
    """Number per cell that two cells share only if they hold the same values at the same genes."""
    weights = np.random.default_rng(0).standard_normal(cohort.rna.shape[1])
    # equal rows give bit-equal sums: same values, same order of terms
    return np.asarray(cohort.rna[rows].astype(np.float64) @ weights).ravel()
