"""Covariates of patients and samples, such as age, LDH or gate fractions, as features of bags."""

from __future__ import annotations

import re
import unicodedata
from collections import Counter
from collections.abc import Sequence
from typing import Any, Final, NamedTuple

import numpy as np
import pandas as pd

from recart.data.bags import Bags
from recart.data.checks.spelling import nearest
from recart.data.cohort import YES
from recart.data.store import CohortStore
from recart.data.telling_columns import by_class, tells_the_class
from recart.problems import Problem, Problems

__all__ = ["check_covariates", "check_of_new", "column_of", "covariates"]

_STRUCTURE: Final = ("patient", "start", "stop", "has_receptor")
_NO: Final = frozenset({"no", "n", "false"})
# what joins words, but for what stands between figures: 1-2 is not 12
_DASH: Final = r"[\s_\u2010-\u2015-]+"
_JOINT: Final = re.compile(rf"(?<=\w){_DASH}(?=[^\W\d_])|(?<=[^\W\d_]){_DASH}(?=\w)")

Array = np.ndarray[Any, np.dtype[np.float64]]


class _Column(NamedTuple):
    """A column that a covariate is read from; `level` is the word it counts, None for numbers."""

    table: pd.DataFrame
    of_samples: bool
    name: str
    level: str | None


def covariates(store: CohortStore, bags: Bags, names: Sequence[str]) -> pd.DataFrame:
    """(n, f) covariates of each bag, index as `bags.table`; NaN where missing, never filled in.

    A name is a column of the patients, else of the samples, of which a bag has the mean over its
    own. Numbers stay what they are; yes and no, true and false are 1 and 0; `product=cilta-cel` is
    1 for this value of the column and 0 for others. So the meaning of a feature is written in the
    configuration: no level and no unit is learned, and what one patient has changes nothing for
    another. A value of which `<column>_day` says that it was known only after the decision day is
    missing, and so is one that can't be read.
    """
    parts = {name: _of_bags(store, bags, name) for name in names}
    return pd.DataFrame(parts, index=bags.table.index, columns=list(names), dtype=float)


def column_of(name: str, columns: Sequence[str]) -> str:
    """The column that the covariate is read from: `product` for `product=cilta-cel`."""
    return name if name in columns else name.partition("=")[0]


def check_covariates(store: CohortStore, bags: Bags, endpoint: str) -> None:
    """Check the covariates that `bags.reading` names, before anything is trained on them.

    Raises
    ------
    InputError
        With each one that is named twice, that no table has, whose words have no number, whose
        level no row has or some rows spell otherwise, that was known after the decision day, or
        that is the endpoint or gives it away.
    """
    problems, classes = Problems(), by_class(bags)
    outcome = {endpoint, *(() if bags.outcome is None else bags.outcome.columns)}
    named = list(bags.reading.covariates)
    for name in sorted({name for name in named if named.count(name) > 1}):
        problems.error(
            Problem(
                code="E-COV-005",
                column=name,
                count=named.count(name),
                what="the covariate is named more than once",
                mend="name it once in data.covariates",
            )
        )
    for name in dict.fromkeys(named):
        found = _find(store, name)
        if found is None:
            columns = _columns(store)
            near = nearest(name.partition("=")[0], columns)
            problems.error(
                Problem(
                    code="E-COV-001",
                    column=name,
                    what="neither patients nor samples have this covariate",
                    mend=f"nearest: {', '.join(near)}" if near else f"columns are {columns[:30]}",
                )
            )
            continue
        values = found.table[found.name]
        if words := _unreadable(found):
            mend = f"name the values that count: data.covariates=['{name}={words[0]}',...]"
            problems.error(_of_words(name, words, mend))
        levels = [] if found.level is None else sorted(set(values.dropna().map(_plain)))
        if found.level is not None and found.level not in levels:
            alike = ", ".join(nearest(found.level, levels))
            there = ", ".join(levels[:20]) or "none"
            problems.error(
                Problem(
                    code="E-COV-006",
                    column=name,
                    what=f"no row of {found.name} has this level; they have {there}",
                    mend=f"nearest: {alike}" if alike else "take it out of data.covariates",
                )
            )
        elif spellings := _other_spellings(found):
            problems.error(_of_spellings(name, found, spellings))
        late = _late(found, bags.decision_day) & _entering(found, store, bags)
        if late.any():
            problems.error(
                Problem(
                    code="E-COV-003",
                    column=name,
                    count=int(late.sum()),
                    what=f"by {found.name}_day its values were known after the decision on day "
                    f"{bags.decision_day:g}",
                    mend="take it out of data.covariates, or set a later data.decision_day",
                )
            )
        if found.name in outcome or any(_tells(found, store, own) for own in classes):
            own = "is the endpoint" if found.name in outcome else "gives the endpoint away"
            problems.error(
                Problem(
                    code="E-COV-004",
                    column=name,
                    what=f"the covariate {own}: a model that reads it predicts nothing",
                    mend="take it out of data.covariates, where only what is known at the decision "
                    "may stand",
                )
            )
    problems.raise_if_any()


def check_of_new(store: CohortStore, names: Sequence[str]) -> list[str]:
    """The covariates of a model that no table of new patients has.

    Raises
    ------
    InputError
        With each one that has values which can't be read, or its level in another spelling, which
        would count as another level.
    """
    problems, absent = Problems(), []
    for name in names:
        found = _find(store, name)
        if found is None:
            absent.append(name)
        elif words := _unreadable(found):
            mend = "write numbers, or yes and no, as the training cohort has them; or leave it out"
            problems.error(_of_words(name, words, mend))
        elif spellings := _other_spellings(found):
            problems.error(_of_spellings(name, found, spellings))
    problems.raise_if_any()
    return absent


def _of_words(name: str, words: Sequence[str], mend: str) -> Problem:
    return Problem(
        code="E-COV-002",
        column=name,
        count=len(words),
        examples=tuple(words[:5]),
        what="the covariate has values that are neither numbers nor yes or no",
        mend=mend,
    )


def _of_spellings(name: str, found: _Column, spellings: dict[str, int]) -> Problem:
    return Problem(
        code="E-COV-007",
        column=name,
        count=sum(spellings.values()),
        examples=tuple(spellings)[:5],
        what=f"{found.name} has the level {found.level} in another spelling",
        mend=f"write it as data.covariates of the training has it: {found.level}",
    )


def _tells(found: _Column, store: CohortStore, bags: Bags) -> bool:
    """Whether a column of the patients, or of all samples that enter of each, tells the classes."""
    values = found.table[found.name]
    if not found.of_samples:
        return tells_the_class(values, bags)
    own = values[_entering(found, store, bags)].dropna().astype(str)
    of_patients = own.groupby(store.samples.loc[own.index, "patient"]).agg(
        lambda words: ", ".join(sorted(set(words)))
    )
    return tells_the_class(of_patients.reindex(range(len(store.patients))), bags)


def _entering(found: _Column, store: CohortStore, bags: Bags) -> np.ndarray[Any, Any]:
    """(rows of the table) whether the row's patient or sample is in a bag."""
    cells = bags.cells(np.arange(len(bags)))
    own = store.cells["sample" if found.of_samples else "patient"].to_numpy()[cells]
    entering = np.zeros(len(found.table), dtype=np.bool_)
    entering[np.unique(own)] = True
    return entering


def _columns(store: CohortStore) -> list[str]:
    both = [*map(str, store.patients.columns), *map(str, store.samples.columns)]
    return [name for name in dict.fromkeys(both) if name not in _STRUCTURE]


def _find(store: CohortStore, name: str) -> _Column | None:
    """Where the covariate stands: the whole name as a column, else the part before `=`."""
    column, sign, level = name.partition("=")
    for own, word in ((name, None), (column, level if sign else None)):
        for table, of_samples in ((store.patients, False), (store.samples, True)):
            if own in table and own not in _STRUCTURE:
                return _Column(table, of_samples, own, word)
    return None


def _of_bags(store: CohortStore, bags: Bags, name: str) -> Array:
    """(n) the covariate of each bag."""
    found = _find(store, name)
    if found is None:  # new patients of whom nobody asked
        return np.full(len(bags), np.nan)
    values = found.table[found.name]
    numbers = _numbers(values) if found.level is None else _is_level(values, found.level)
    numbers[_late(found, bags.decision_day)] = np.nan
    if not found.of_samples:
        owners: Array = numbers[bags.table["patient"].to_numpy()]
        return owners
    sample_of_cell = store.cells["sample"].to_numpy()
    of_bags = []
    for slices in bags.slices:
        starts = [part.start for part in slices if part.stop > part.start]
        own = numbers[np.unique(sample_of_cell[starts])] if starts else np.zeros(0)
        known = own[np.isfinite(own)]
        of_bags.append(float(known.mean()) if len(known) else np.nan)
    return np.array(of_bags, dtype=np.float64)


def _numbers(values: pd.Series[Any]) -> Array:
    """Each value by itself as a number; NaN where it is none."""
    return np.array([_as_number(value) for value in values], dtype=np.float64)


def _as_number(value: object) -> float:
    if value is None or value is pd.NA:
        return np.nan
    word = str(value).strip().lower()
    if word in YES or word in _NO:
        return float(word in YES)
    try:
        number = float(word)
    except ValueError:
        return np.nan
    return number if np.isfinite(number) else np.nan


def _is_level(values: pd.Series[Any], level: str) -> Array:
    words = values.astype(object).map(_plain, na_action="ignore")
    numbers: Array = np.where(words.notna(), (words == level).astype(float), np.nan)
    return numbers


def _other_spellings(found: _Column) -> dict[str, int]:
    """Rows by value that differs from the level in nothing but case, blanks, hyphens and dashes."""
    level, words = found.level or "", Counter(found.table[found.name].dropna().map(_plain))
    return {word: n for word, n in words.items() if word != level and _bare(word) == _bare(level)}


def _bare(word: str) -> str:
    return _JOINT.sub("", unicodedata.normalize("NFKC", word).strip().casefold())


def _plain(value: object) -> str:
    """A value as text; the whole number 2.0 reads 2."""
    whole = isinstance(value, float | np.floating) and float(value).is_integer()
    return str(int(value)) if whole else str(value).strip()  # type: ignore[call-overload]


def _unreadable(found: _Column) -> list[str]:
    """Values of a column of numbers that are none."""
    if found.level is not None:
        return []
    values = found.table[found.name]
    known = values[values.notna()]
    return sorted({str(value) for value in known[np.isnan(_numbers(known))]})


def _late(found: _Column, decision_day: float | None) -> np.ndarray[Any, np.dtype[np.bool_]]:
    """Rows whose value is there and was known only after the decision day."""
    day = f"{found.name}_day"
    if decision_day is None or day not in found.table:
        return np.zeros(len(found.table), dtype=np.bool_)
    days = pd.to_numeric(found.table[day], errors="coerce").to_numpy(dtype=float)
    late: np.ndarray[Any, Any] = (days > decision_day) & found.table[found.name].notna().to_numpy()
    return late
