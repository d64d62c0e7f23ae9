"""Properties of samples that a model would otherwise misread."""

from __future__ import annotations

from recart.data.cohort import Cohort
from recart.problems import Problem, Problems

__all__ = ["check_samples"]


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
