"""The endpoint: found, mapped to 1 and 0, the same within a patient, with enough of each class."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Final

import numpy as np
import pandas as pd

from recart.data.checks.limits import Limits
from recart.data.checks.spelling import nearest
from recart.data.cohort import Cohort
from recart.data.outcome import LABEL, REASON, Outcome
from recart.problems import InputError, Problem, Problems

__all__ = ["check_labels", "is_missing", "plain_value", "resolve_labels"]

# positive and negative names that leave no doubt, as `_folded` gives them
_PAIRS: Final[tuple[tuple[frozenset[str], frozenset[str]], ...]] = (
    (frozenset({"r"}), frozenset({"nr", "nonr"})),
    (frozenset({"cr"}), frozenset({"noncr", "ncr"})),
    (frozenset({"responder", "response"}), frozenset({"nonresponder", "nonresponse"})),
    (frozenset({"yes", "y"}), frozenset({"no", "n"})),
    (frozenset({"true"}), frozenset({"false"})),
    (frozenset({"1"}), frozenset({"0"})),
)
_MISSING: Final = frozenset({"", "nan", "na", "<na>", "n/a"})


def plain_value(value: object) -> str:
    """A label as text; 1.0 and True read as in a table."""
    if isinstance(value, (float, np.floating)) and float(value).is_integer():
        return str(int(value))
    return str(value).strip()


def is_missing(values: pd.Series) -> pd.Series:
    """Which values, as they are or as text, say that there is none."""
    text = values.map(plain_value, na_action="ignore").astype(object)
    words = text.astype(str)  # `none` is a value, such as of toxicity
    return text.isna() | (words == "None") | words.str.lower().isin(_MISSING)


def _folded(value: str) -> str:
    return value.lower().replace("-", "").replace("_", "").replace(" ", "")


def resolve_labels(
    values: pd.Series,
    positive: Sequence[object] | None,
    negative: Sequence[object] | None,
    exclude: Sequence[object] = (),
) -> pd.Series:
    """Labels as 1.0, 0.0 and NaN (missing or excluded).

    Parameters
    ----------
    values
        Endpoint values of any type; the name of the series is used in errors.
    positive, negative
        Values that mean each class, compared as text. Both None recognises common pairs: R/NR,
        CR/non-CR, responder/non-responder, yes/no, true/false, 1/0. With one of them given, every
        other value is the other class only if there is exactly one.
    exclude
        Values that belong to neither class, such as `NE`: never counted as non-response.

    Raises
    ------
    InputError
        If a value is in none of the lists or in two of them; the error counts the values.
    """
    text = values.map(plain_value, na_action="ignore").astype(object)
    missing = is_missing(text)
    out_of = {plain_value(v) for v in exclude}
    present = text[~missing & ~text.isin(out_of)]
    counts = present.value_counts()
    column = str(values.name or "")
    if positive is None and negative is None:
        lists = _recognise(list(counts.index))
    else:
        lists = _given(list(counts.index), positive, negative)
    yes, no = lists if lists is not None else (set(), set())
    twice = (yes & no) | ((yes | no) & out_of)
    if twice:
        raise InputError(
            [
                Problem(
                    code="E-LAB-006",
                    what=f"{', '.join(sorted(twice))} listed in two of positive, negative, exclude",
                    mend="list each value once",
                    column=column,
                )
            ]
        )
    unmapped = counts[~counts.index.isin(yes | no)]
    if len(unmapped):
        shown = ", ".join(f"{value!r} ({n})" for value, n in counts.items())
        raise InputError(
            [
                Problem(
                    code="E-LAB-005",
                    what=f"values are {shown}; no class for "
                    + ", ".join(repr(value) for value in unmapped.index),
                    mend="set data.positive=[...] and data.negative=[...]; list values such as NE "
                    "that belong to neither under data.exclude",
                    column=column,
                    count=int(unmapped.sum()),
                )
            ]
        )
    labels = pd.Series(np.nan, index=values.index, name=values.name, dtype=float)
    labels[text.isin(yes)] = 1.0
    labels[text.isin(no)] = 0.0
    return labels


def _recognise(found: list[str]) -> tuple[set[str], set[str]] | None:
    """The values that mean each class; others stay unmapped. None where no pair is recognised."""
    folded = {value: _folded(value) for value in found}
    matches = [
        ({v for v in found if folded[v] in yes}, {v for v in found if folded[v] in no})
        for yes, no in _PAIRS
    ]
    both = [(yes, no) for yes, no in matches if yes and no]
    one = [(yes, no) for yes, no in matches if len(yes) + len(no) == len(found)]
    # two spellings of one class ask for a map, since they may mean two things
    best = next(iter(both or one), None)
    return None if best is None or max(map(len, best)) > 1 else best


def _given(
    found: list[str], positive: Sequence[object] | None, negative: Sequence[object] | None
) -> tuple[set[str], set[str]]:
    yes, no = ({plain_value(v) for v in values or ()} for values in (positive, negative))
    rest = set(found) - yes - no
    if len(rest) == 1 and positive is None:
        yes = rest
    if len(rest) == 1 and negative is None:
        no = rest
    return yes, no


def check_labels(
    cohort: Cohort,
    samples: pd.DataFrame,
    *,
    outcome: Outcome,
    unit: str,
    limits: Limits,
    problems: Problems,
) -> None:
    """Check the endpoint of the patients or samples that have a usable sample.

    Parameters
    ----------
    cohort
        The cohort; the endpoint may stand in its table of patients, samples or cells.
    samples
        The samples that are not failed libraries.
    outcome
        Columns of the endpoint, and what their values mean.
    unit
        `patient` or `sample`: what has one label.
    limits
        Holds the number of patients that each class needs.
    problems
        Collects what is wrong.
    """
    source = cohort.source
    file = source.get("patients") or source.get("samples") or source.get("rna", "")
    found = {name: _values(cohort, name) for name in outcome.columns}
    for name, values in found.items():
        if values is None:
            problems.error(_absent(cohort, name, file))
    tables = [
        own.reset_index(drop=True).rename(columns={"value": name})
        for name, own in found.items()
        if own is not None
    ]
    if len(tables) < len(found):
        return
    values = tables[0]
    for table in tables[1:]:
        values = values.merge(table, on=["patient", "sample"])
    try:
        resolved = outcome.resolve(values[list(outcome.columns)])
    except InputError as error:
        for problem in error.problems:
            problems.error(replace(problem, file=file))
        return
    reasons = [name for name in resolved if str(name).startswith(REASON)]
    resolved = resolved.drop(columns=reasons).set_index(values.index)
    missing = [is_missing(values[name]) for name in outcome.columns]
    given = ~pd.concat(missing, axis=1).any(axis=1)
    shown = values[list(outcome.columns)].astype(str).agg(", ".join, axis=1)
    values = pd.concat([values[["patient", "sample"]].assign(value=shown), resolved], axis=1)
    values = values[values["sample"].isin(samples.index)]
    for name in resolved.columns:
        if _check_one(values, name, outcome.columns[0], unit, file, problems):
            break
    else:
        _check_excluded(values, given, outcome.columns[0], unit, file, problems)
    own = values[values[LABEL].notna()].drop_duplicates(["patient", *resolved.columns])
    for problem in outcome.too_few(own, limits.min_per_class):
        problems.error(replace(problem, file=file))


def _absent(cohort: Cohort, name: str, file: str) -> Problem:
    names = [
        *cohort.patients.columns,
        *cohort.samples.columns.drop("patient"),
        *cohort.cells.columns,
    ]
    near = nearest(name, [str(own) for own in names])
    return Problem(
        code="E-LAB-001",
        what=f"no table has the endpoint {name!r}",
        mend=f"nearest: {', '.join(near)}" if near else f"columns are {names[:30]}",
        file=file,
        column=name,
    )


def _values(cohort: Cohort, endpoint: str) -> pd.DataFrame | None:
    """Distinct triples of patient, sample and value, from the first table that has the endpoint."""
    samples = cohort.samples[["patient"]].assign(sample=cohort.samples.index)
    if endpoint in cohort.patients.columns:
        return samples.assign(value=samples["patient"].map(cohort.patients[endpoint]))
    if endpoint in cohort.samples.columns:
        return samples.assign(value=cohort.samples[endpoint])
    if endpoint in cohort.cells.columns:
        pairs = cohort.cells[["sample", endpoint]].drop_duplicates()
        return samples.merge(pairs.rename(columns={endpoint: "value"}), on="sample")
    return None


def _check_one(
    values: pd.DataFrame, label: str, endpoint: str, unit: str, file: str, problems: Problems
) -> bool:
    """Whether an owner has several labels; each of them is a problem."""
    distinct = values[values[label].notna()].drop_duplicates([unit, label])
    several = distinct[unit][distinct[unit].duplicated()].unique()
    words = "is in both classes" if distinct[label].isin((0, 1)).all() else "has several values"
    for owner in several:
        problems.error(_contradiction(values, unit, owner, words, endpoint, file))
    return bool(len(several))


def _check_excluded(
    values: pd.DataFrame,
    given: pd.Series[bool],
    endpoint: str,
    unit: str,
    file: str,
    problems: Problems,
) -> None:
    """Owners with a label in one row, and a value that is left out by rule in another."""
    labelled = values[LABEL].notna()
    left_out = set(values.loc[~labelled & given.reindex(values.index), unit])
    for owner in [own for own in values.loc[labelled, unit].unique() if own in left_out]:
        words = "has a class and is left out by rule"
        problems.error(_contradiction(values, unit, owner, words, endpoint, file))


def _contradiction(
    values: pd.DataFrame, unit: str, owner: object, words: str, endpoint: str, file: str
) -> Problem:
    of_owner = values[values[unit] == owner]
    shown = ", ".join(f"{row.sample}={row.value}" for row in of_owner.itertuples())
    return Problem(
        code="E-LAB-002",
        what=f"{unit} {owner} {words}: {shown}",
        mend="correct the labels" + ("" if unit == "sample" else ", or set data.unit=sample"),
        file=file,
        sample=str(of_owner["sample"].iloc[0]),
        column=endpoint,
        count=len(of_owner),
    )
