"""What new patients are called in records: pseudonyms, their ids, or identifiers of a table."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import pandas as pd

from recart.data.pseudonyms import Pseudonyms
from recart.data.readers.tables import read_table
from recart.problems import InputError, Problem, Problems

__all__ = ["OWN", "PSEUDONYM", "owners_of", "subjects_of"]

PSEUDONYM, OWN = "pseudonym", "own"


def subjects_of(
    bags: Sequence[str], how: str, unit: str, pseudonyms: Pseudonyms, id_map: Path
) -> dict[str, str]:
    """The identifier of every bag.

    Parameters
    ----------
    bags
        Names of patients or samples, as their files have them.
    how
        `pseudonym`, `own` for these names themselves, or a CSV whose first column is such a name
        and whose second is the identifier.
    unit
        `patient` or `sample`.
    pseudonyms, id_map
        Keyed names, and the private file that says whose they are.

    Raises
    ------
    InputError
        If the table lacks a bag, or gives two the same identifier.
    """
    if how == OWN:
        return {bag: bag for bag in bags}
    if how == PSEUDONYM:
        name = pseudonyms.patient if unit == "patient" else pseudonyms.sample
        named = {bag: name(bag) for bag in bags}
        pseudonyms.write_id_map(id_map)
        return named
    return _of_table(bags, Path(how))


def owners_of(
    patients: Mapping[str, str], how: str, pseudonyms: Pseudonyms, id_map: Path
) -> dict[str, str | None]:
    """The identifier of the patient of every sample; None where a table has no row for the patient.

    Parameters
    ----------
    patients
        Names of patients, by those of their samples.
    how, pseudonyms, id_map
        As in `subjects_of`, which names the samples first.
    """
    if how == OWN:
        return dict(patients)
    if how == PSEUDONYM:
        named: dict[str, str | None] = {
            sample: pseudonyms.patient(own) for sample, own in patients.items()
        }
        pseudonyms.write_id_map(id_map)
        return named
    given = _identifiers(read_table(how, Problems()))
    return {sample: given.get(own) or None for sample, own in patients.items()}


def _identifiers(frame: pd.DataFrame | None) -> dict[str, str]:
    if frame is None or frame.shape[1] < 2:
        return {}
    return dict(zip(frame.iloc[:, 0].astype(str), frame.iloc[:, 1].astype(str), strict=True))


def _of_table(bags: Sequence[str], path: Path) -> dict[str, str]:
    problems = Problems()
    frame = read_table(str(path), problems)
    problems.raise_if_any()
    lacking: tuple[str, ...] = ()
    if frame is None or frame.shape[1] < 2:
        what = "has fewer than two columns"
    else:
        given = _identifiers(frame)
        lacking = tuple(bag for bag in bags if not given.get(bag))
        chosen = {bag: given[bag] for bag in bags if bag not in lacking}
        if not lacking and len(set(chosen.values())) == len(bags):
            return chosen
        what = "lacks some patients" if lacking else "gives two patients one identifier"
    raise InputError(
        [
            Problem(
                code="E-OUT-010",
                what=what,
                mend="give a row for each: its name in the data, then its identifier; or set "
                f"subjects={PSEUDONYM} or subjects={OWN}",
                file=path.name,
                column="subjects",
                count=len(lacking) or None,
                examples=lacking[:5],
            )
        ]
    )
