"""Moves what is the same in all cells of a sample or patient into the sample and patient tables."""

from __future__ import annotations

import numpy as np
import pandas as pd

from recart.data.checks.spelling import unlike_ids
from recart.data.cohort import HAS_BCR, HAS_TCR
from recart.data.readers.columns import CELL_ROLES, CHAIN_ROLES, SAMPLE_ROLES
from recart.data.readers.sample_tables import SideTables
from recart.data.readers.tables import as_text
from recart.problems import Problem, Problems

__all__ = ["lift", "patient_of_sample"]

_OF_SAMPLES = (HAS_TCR, HAS_BCR)  # also where all samples of a patient agree


def patient_of_sample(
    obs: pd.DataFrame, samples: pd.DataFrame | None, file: str, problems: Problems
) -> pd.Series:
    """Patient of each sample, in order of first appearance; one patient per sample or an error."""
    order = pd.Index(obs["sample"].unique(), dtype=object)
    unlike_ids(order, column="sample", file=file, problems=problems)
    lacking = [] if samples is None else [s for s in order if s not in samples.index]
    for sample in lacking:
        problems.error(
            Problem(
                code="E-SMP-003",
                what="the cells name a sample that the sample table lacks",
                mend="add a row for it, or remove its cells",
                file=file,
                sample=str(sample),
                column="sample",
                count=int((obs["sample"] == sample).sum()),
            )
        )
    given = pd.Series(index=order, dtype=object)
    if samples is not None and "patient" in samples:
        given = samples["patient"].reindex(order)
    patient = given.copy()
    if "patient" in obs:
        of_cells = obs.groupby("sample", sort=False)["patient"].unique().reindex(order)
        patient = of_cells.map(lambda found: found[0])
        for sample, found, named in zip(order, of_cells, given, strict=True):
            names = {str(value) for value in (*found, named) if pd.notna(value)}
            if len(names) > 1:
                _two_patients(str(sample), sorted(names), file, problems)
    for sample in order[patient.isna() & order.isin([] if samples is None else samples.index)]:
        problems.error(
            Problem(
                code="E-ID-003",
                what="the sample table names no patient",
                mend="name the patient of every sample",
                file=file,
                sample=str(sample),
                column="patient",
            )
        )
    unlike_ids(patient.dropna(), column="patient", file=file, problems=problems)
    return patient


def _two_patients(sample: str, names: list[str], file: str, problems: Problems) -> None:
    problems.error(
        Problem(
            code="E-SMP-001",
            what=f"one sample of patients {', '.join(names)}",
            mend="give each sample one patient; split the sample if it holds several",
            file=file,
            sample=sample,
            column="patient",
            count=len(names),
        )
    )


def lift(
    obs: pd.DataFrame, patient: pd.Series, side: SideTables, file: str, problems: Problems
) -> tuple[pd.DataFrame, pd.DataFrame, pd.DataFrame]:
    """Tables of cells, samples and patients.

    Columns that play a role of the sample must be constant in it. Any other column goes to the
    patients where it is constant in each of them, else to the samples likewise, else it stays
    with the cells. What `samples.csv` and `patients.csv` say goes before what the cells say.
    """
    order = patient.index
    by_sample = obs.groupby("sample", sort=False)
    samples = pd.DataFrame({"patient": patient}, index=order)
    patients = pd.DataFrame(index=pd.Index(patient.unique(), dtype=object))
    owner = obs["sample"].map(patient)
    kept: list[str] = ["sample"]
    for name in map(str, obs.columns):
        if name in {"sample", "patient", *CHAIN_ROLES}:
            continue
        if name in SAMPLE_ROLES:
            if side.samples is None or name not in side.samples:
                _report_varying(obs, name, file, problems)
                samples[name] = by_sample[name].first().reindex(order)
        elif name in CELL_ROLES or name == "barcode":
            kept.append(name)
        elif name not in _OF_SAMPLES and (value := _constant(obs[name], owner)) is not None:
            patients[name] = value.reindex(patients.index)
        elif (value := _constant(obs[name], obs["sample"])) is not None:
            samples[name] = value.reindex(order)
        else:
            kept.append(name)
    if side.samples is not None:
        for name in side.samples.columns.drop("patient", errors="ignore"):
            samples[name] = side.samples[name].reindex(order)
    if side.patients is not None:
        for lost in patients.index.difference(side.patients.index):
            problems.error(
                Problem(
                    code="E-SMP-006",
                    what=f"patient {lost} has cells, but no row in the patient table",
                    mend="add the row, or remove the patient's cells",
                    file=side.patients_file,
                    column="patient",
                    examples=tuple(map(str, order[patient == lost][:3])),
                )
            )
        for name in side.patients.columns:
            patients[name] = side.patients[name].reindex(patients.index)
    _type_roles(samples, side.samples_file or file, problems)
    cells = obs[kept].copy()
    for name in CELL_ROLES:
        if name in cells:
            cells[name] = as_text(cells[name])
    return cells, samples, patients


def _constant(values: pd.Series, owner: pd.Series) -> pd.Series | None:
    """The one value per owner, NaN where all are missing; None where an owner has two."""
    codes, _ = pd.factorize(values)
    frame = pd.DataFrame({"owner": owner.to_numpy(), "code": codes})
    frame = frame[frame["code"] >= 0].drop_duplicates()
    if frame["owner"].duplicated().any():
        return None
    first = pd.Series(values.to_numpy(), index=owner.to_numpy())
    first = first[first.notna()]
    return first[~first.index.duplicated()]


def _report_varying(obs: pd.DataFrame, name: str, file: str, problems: Problems) -> None:
    pairs = obs[["sample", name]].drop_duplicates()
    for sample in pairs["sample"][pairs["sample"].duplicated()].unique():
        values = pairs.loc[pairs["sample"] == sample, name]
        problems.error(
            Problem(
                code="E-SMP-002",
                what=f"{name} differs between cells of one sample: "
                + ", ".join(sorted("missing" if pd.isna(v) else str(v) for v in values)[:5]),
                mend=f"give the sample one {name}, or name its true sample column",
                file=file,
                sample=str(sample),
                column=name,
                count=len(values),
            )
        )


def _type_roles(samples: pd.DataFrame, file: str, problems: Problems) -> None:
    """`day` as float, the other roles as text."""
    for name in (role for role in SAMPLE_ROLES if role in samples):
        if name != "day":
            samples[name] = as_text(samples[name])
            continue
        number = pd.to_numeric(samples[name].astype(object), errors="coerce").astype(float)
        bad = number.isna() & samples[name].notna()
        if bad.any():
            problems.error(
                Problem(
                    code="E-COL-004",
                    what=f"{samples[name][bad].iloc[0]!r} is no number of days from infusion",
                    mend="write days as numbers, negative before infusion; nothing where unknown",
                    file=file,
                    sample=str(samples.index[bad][0]),
                    column=name,
                    count=int(bad.sum()),
                )
            )
        samples[name] = number.replace([np.inf, -np.inf], np.nan)
