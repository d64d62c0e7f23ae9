"""Whether RNA and protein values are raw counts: a full scan, not a sample of values."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import numpy as np
import pandas as pd

from recart.data.checks.survey import Survey, survey
from recart.data.cohort import Cohort
from recart.problems import Problem, Problems

__all__ = ["check_protein_counts", "check_rna_counts"]

_LARGE, _TOO_LARGE = 1e5, 1e7
_RAW = "give raw counts (data.reader.layer=counts, or the layer that holds them)"
_RAW_PROTEIN = "give raw ADT counts; CLR and dsb values cannot be turned back"

Values = np.ndarray[Any, Any]


def check_rna_counts(cohort: Cohort, *, normalised: bool, problems: Problems) -> None:
    """Check every stored RNA value; problems name the sample, a gene and the number of cells.

    With `normalised`, values may be of any kind but NaN, infinite or plain counts.
    """
    values = cohort.rna.data
    total = survey(values)
    file = cohort.source.get("rna", "")
    if normalised and total.counts and total.maximum > 1:
        problems.error(
            Problem(
                code="E-RNA-007",
                what=f"data.normalised=true, but all values are {total}",
                mend="set data.normalised=false",
                file=file,
                feature="RNA",
                count=cohort.rna.shape[0],
            )
        )
    if total.counts and total.maximum <= min(_LARGE, _exact(values)):
        return
    row = np.repeat(np.arange(cohort.rna.shape[0], dtype=np.int32), np.diff(cohort.rna.indptr))
    sample_of_row, names = _sample_codes(cohort)
    suspicious = np.unique(sample_of_row[row[_suspicious(values)]])
    entry_sample = sample_of_row[row]
    found: dict[str, list[Problem]] = {}
    for code in suspicious:
        inside = np.flatnonzero(entry_sample == code)
        for kind, what, mend, bad in _verdicts(values[inside], normalised):
            rows = np.unique(row[inside[bad]])
            problem = Problem(
                code=kind,
                what=what,
                mend=mend,
                file=file,
                sample=str(names[code]),
                feature=str(cohort.genes.index[cohort.rna.indices[inside[bad][0]]]),
                count=len(rows),
                examples=tuple(map(str, cohort.cells.index[rows[:3]])),
            )
            found.setdefault(kind, []).append(problem)
    for kind, of_kind in found.items():
        for problem in _joined(of_kind) if len(of_kind) == len(names) else of_kind:
            (problems.warn if kind.startswith("W") else problems.error)(problem)


def _joined(problems: list[Problem]) -> list[Problem]:
    """One problem for the same thing in several samples: it is said once, with all their names."""
    first = problems[0]
    if len(problems) == 1:
        return problems
    shown = ", ".join(problem.sample for problem in problems[:5])
    more = f" and {len(problems) - 5} more" if len(problems) > 5 else ""
    return [
        replace(
            first,
            what=f"in {len(problems)} samples, in the first of them {first.what}",
            sample=shown + more,
            count=sum(problem.count or 0 for problem in problems),
        )
    ]


def _exact(values: Values) -> float:
    """Largest number up to which the type holds every whole number."""
    if values.dtype.kind == "f":
        return float(2 ** (np.finfo(values.dtype).nmant + 1))
    return float(np.iinfo(values.dtype).max)


def _suspicious(values: Values) -> Values:
    bad = (values < 0) | (values > min(_LARGE, _exact(values)))
    if values.dtype.kind == "f":
        bad |= ~np.isfinite(values) | (np.trunc(values) != values)
    return np.asarray(bad)


def _verdicts(values: Values, normalised: bool) -> Iterator[tuple[str, str, str, Values]]:
    """Kind, words, mend and mask of each thing that is wrong with the values of one sample."""
    found = survey(values)
    finite = np.isfinite(values)
    if found.nan:
        yield "E-RNA-004", f"NaN in RNA: {found}", "remove or repair these cells", np.isnan(values)
    if found.inf:
        yield (
            "E-RNA-005",
            f"infinite RNA: {found}",
            "remove or repair these cells",
            np.isinf(values),
        )
    if normalised:
        return
    if found.negative:
        scaled = ", looks scaled" if found.negative > 0.1 * found.n else ""
        yield "E-RNA-001", f"negative RNA counts{scaled}: {found}", _RAW, finite & (values < 0)
    fractional = finite & (values != np.trunc(np.where(finite, values, 0)))
    if found.fractional and not found.negative:
        if found.fractional > 0.5 * found.n:
            yield (
                "E-RNA-003",
                f"not raw counts: {found}",
                f"{_RAW}, or data.normalised=true",
                fractional,
            )
        else:
            mend = f"{_RAW}; ambient-corrected counts must be rounded"
            yield "E-RNA-002", f"fractional RNA counts: {found}", mend, fractional
    limit = min(_TOO_LARGE, _exact(values))
    if found.maximum > limit:
        yield (
            "E-RNA-006",
            f"a count of {found.maximum:g}",
            "check the matrix",
            finite & (values > limit),
        )
    elif found.maximum > _LARGE:
        yield (
            *("W-RNA-006", f"a count of {found.maximum:g}", "check this cell and gene"),
            finite & (values > _LARGE),
        )


def check_protein_counts(cohort: Cohort, problems: Problems) -> None:
    """Check every measured protein count; problems name the sample and the protein."""
    if cohort.protein is None or cohort.protein_measured is None:
        return
    codes, names = _sample_codes(cohort)
    file = cohort.source.get("protein", "")
    total = survey(cohort.protein)
    if not total.counts or total.maximum > _TOO_LARGE:
        found: dict[tuple[str, str], list[Problem]] = {}
        # in a protein that is negative anywhere, a sample above zero was centred just the same
        centred = np.asarray((cohort.protein < 0).any(axis=0))
        for code, sample in enumerate(names):
            rows = np.flatnonzero(codes == code)
            for column in np.flatnonzero(cohort.protein_measured[code]):
                values = cohort.protein[rows, column]
                problem = _protein_problem(cohort, values, rows, int(column), bool(centred[column]))
                if problem is not None:
                    key = (problem.feature, problem.code)
                    found.setdefault(key, []).append(replace(problem, sample=str(sample)))
        for of_protein in found.values():
            problems.error(_joined(of_protein)[0])
    silent = cohort.protein_measured & ~_any_positive(cohort.protein, codes, len(names))
    for column in np.flatnonzero(silent.any(axis=0)):
        samples = [str(names[code]) for code in np.flatnonzero(silent[:, column])]
        problems.warn(
            Problem(
                code="W-PROT-008",
                what=f"zero in every cell of {len(samples)} sample(s), although measured",
                mend="if the antibody was not used there, leave it out of that sample's panel, or "
                "write NaN for all its cells",
                file=file,
                sample=samples[0],
                feature=cohort.proteins[column],
                count=len(samples),
                examples=tuple(samples[:3]),
            )
        )


def _protein_problem(
    cohort: Cohort, values: Values, rows: Values, column: int, centred: bool
) -> Problem | None:
    """What is wrong with the values of one protein in one sample, if anything."""
    found = survey(values)
    if found.counts and found.maximum <= _TOO_LARGE:
        return None
    code, what, mend, bad = _protein_verdict(found, values, centred)
    return Problem(
        code=code,
        what=f"{what}: {found}",
        mend=mend,
        file=cohort.source.get("protein", ""),
        feature=cohort.proteins[column],
        count=int(bad.sum()),
        examples=tuple(map(str, cohort.cells.index[rows[bad][:3]])),
    )


def _protein_verdict(found: Survey, values: Values, centred: bool) -> tuple[str, str, str, Values]:
    if found.nan:
        mend = "remove these cells; NaN in all cells of a sample: not measured there"
        return "E-PROT-003", "NaN in protein counts", mend, np.isnan(values)
    if found.inf:
        return "E-PROT-004", "infinite counts", "remove or repair these cells", np.isinf(values)
    fractional = np.trunc(values) != values
    if found.negative or (found.fractional and centred):
        what = "negative protein values, looks like CLR or dsb"
        return "E-PROT-001", what, _RAW_PROTEIN, fractional | (values < 0)
    if found.fractional:
        what = "fractional protein values, looks normalised"
        return "E-PROT-002", what, _RAW_PROTEIN, fractional
    return "E-PROT-005", "too large for a count", "check the matrix", values > _TOO_LARGE


def _any_positive(protein: Values, codes: Values, n: int) -> Values:
    positive = np.zeros((n, protein.shape[1]), dtype=np.bool_)
    for code in range(n):
        positive[code] = (protein[codes == code] != 0).any(axis=0)
    return positive


def _sample_codes(cohort: Cohort) -> tuple[Values, Any]:
    names = cohort.samples.index
    return np.asarray(names.get_indexer_for(pd.Index(cohort.cells["sample"]))), names
