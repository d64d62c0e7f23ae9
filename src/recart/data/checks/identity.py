"""The same cell in two patients: a mix-up of files, or one donor under two names."""

from __future__ import annotations

from typing import Any, Final

import numpy as np
import pandas as pd

from recart.data.cohort import Cohort
from recart.problems import Problem, Problems

__all__ = ["check_identity"]

# Cells with fewer genes can agree by chance, as two nearly empty droplets do.
_MIN_GENES: Final = 10


def check_identity(cohort: Cohort, problems: Problems) -> None:
    """Report pairs of patients that share cells of the same barcode and the same counts.

    Barcodes alone repeat between libraries: some thousand of 700,000 possible ones are used in
    each. Only cells that share a barcode are compared.
    """
    barcode = _barcodes(cohort)
    n_genes = np.diff(cohort.rna.indptr)
    patient = cohort.samples["patient"].reindex(cohort.cells["sample"]).to_numpy()
    frame = pd.DataFrame({"barcode": barcode, "patient": patient, "n_genes": n_genes})
    frame = frame[frame["n_genes"] >= _MIN_GENES]
    frame = frame[frame.duplicated(["barcode", "n_genes"], keep=False)]
    if not len(frame):
        return
    rows = frame.index.to_numpy()
    frame["print"] = _fingerprints(cohort, rows)
    frame = frame.drop_duplicates(["barcode", "print", "patient"])
    same = frame[frame.duplicated(["barcode", "print"], keep=False)]
    pairs: dict[tuple[str, ...], list[int]] = {}
    for _, group in same.groupby(["barcode", "print"]):
        key = tuple(sorted(map(str, group["patient"])))
        pairs.setdefault(key, []).append(int(group.index[0]))
    for names, at in pairs.items():
        problems.error(
            Problem(
                code="E-ID-004",
                what=f"patients {' and '.join(names)} share cells with the same barcode and counts",
                mend="one file stands under two patients, or one donor has two names: keep one",
                file=cohort.source.get("rna", ""),
                sample=str(cohort.cells["sample"].iloc[at[0]]),
                column="barcode",
                count=len(at),
                examples=tuple(map(str, cohort.cells.index[at[:3]])),
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
