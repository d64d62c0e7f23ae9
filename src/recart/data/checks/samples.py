"""Properties of samples that a model would otherwise misread."""

from __future__ import annotations

from collections.abc import Sequence

import pandas as pd

from recart.data.checks.labels import is_missing, plain_value
from recart.data.cohort import Cohort
from recart.problems import Problem, Problems

__all__ = ["check_said_alike", "check_samples"]


def check_samples(cohort: Cohort, problems: Problems) -> None:
    """A batch known for some samples only cannot be a covariate."""
    if "batch" not in cohort.samples:
        return
    missing = cohort.samples["batch"].isna()
    if missing.any() and not missing.all():
        names = cohort.samples.index[missing]
        problems.error(
            Problem(
                code="E-SMP-005",
                what="the batch is missing for some samples: " + ", ".join(map(str, names[:5])),
                mend="name the batch of every sample, or of none",
                file=cohort.source.get("samples", cohort.source.get("rna", "")),
                sample=str(names[0]),
                column="batch",
                count=len(names),
            )
        )


def check_said_alike(
    cohort: Cohort, samples: pd.DataFrame, columns: Sequence[str], problems: Problems
) -> None:
    """An endpoint that both patients and their `samples` have says the same in both tables."""
    both = [own for own in columns if own in cohort.patients.columns and own in samples.columns]
    for name in both:
        of_sample, of_patient = samples[name], samples["patient"].map(cohort.patients[name])
        given = ~is_missing(of_sample) & ~is_missing(of_patient)
        differ = given & (of_sample.map(plain_value) != of_patient.map(plain_value))
        if not differ.any():
            continue
        first = differ.index[differ][0]
        problems.error(
            Problem(
                code="E-LAB-002",
                what=f"{of_sample[first]} in the table of samples, and {of_patient[first]} in that "
                f"of patients (patient {samples['patient'][first]})",
                mend="correct the labels, or leave the column to one of the tables",
                file=cohort.source.get("patients", cohort.source.get("rna", "")),
                sample=str(first),
                column=name,
                count=int(differ.sum()),
            )
        )
