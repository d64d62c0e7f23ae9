"""All checks of a cohort's content, in one call, with all problems in one error."""

from __future__ import annotations

from collections.abc import Sequence

from recart.data.checks.counts import check_protein_counts, check_rna_counts
from recart.data.checks.identity import check_identity
from recart.data.checks.labels import check_labels
from recart.data.checks.libraries import check_libraries
from recart.data.checks.limits import Limits
from recart.data.checks.names import check_names
from recart.data.checks.receptors import check_receptors
from recart.data.checks.samples import check_said_alike, check_samples
from recart.data.checks.two_classes import TwoClasses
from recart.data.cohort import Cohort
from recart.data.outcome import Outcome
from recart.problems import Problems

__all__ = ["check_cohort"]


def check_cohort(
    cohort: Cohort,
    *,
    endpoint: str | None,
    positive: Sequence[object] | None = None,
    negative: Sequence[object] | None = None,
    exclude: Sequence[object] = (),
    unit: str = "patient",
    normalised: bool = False,
    limits: Limits | None = None,
    problems: Problems | None = None,
    outcome: Outcome | None = None,
) -> Problems:
    """Check everything; nothing is changed. `filter_cohort` then leaves out what is to go.

    Parameters
    ----------
    cohort
        As a reader returns it.
    endpoint
        Column of the outcome; None for new patients, whose labels are not looked at.
    positive, negative, exclude
        Meaning of its values, see `resolve_labels`.
    unit
        `patient` or `sample`: what has one label.
    normalised
        Whether RNA is meant to hold normalised values rather than counts.
    limits
        Thresholds; None takes `Limits()`.
    problems
        Problems found before, to be raised together with these.
    outcome
        The endpoint where it is not one of two classes; it says its columns itself.

    Returns
    -------
    The problems that are warnings, such as failed libraries.

    Raises
    ------
    InputError
        With every error found.
    """
    found = problems if problems is not None else Problems()
    limits = limits or Limits()
    check_names(cohort, found)
    check_rna_counts(cohort, normalised=normalised, problems=found)
    check_protein_counts(cohort, found)
    check_samples(cohort, found)
    check_receptors(cohort, found, whole=endpoint is not None)  # new patients may come in parts
    check_identity(cohort, found)
    # counts per cell say nothing about the library where the values are no counts
    judged = not normalised and not any(p.code.startswith("E-RNA") for p in found.errors)
    kept = check_libraries(cohort, normalised=not judged, limits=limits, problems=found)
    if endpoint is not None:
        outcome = outcome or TwoClasses(
            column=endpoint, positive=positive, negative=negative, exclude=exclude
        )
        samples = kept if len(kept) else cohort.samples
        check_said_alike(cohort, samples, outcome.columns, found)
        check_labels(cohort, samples, outcome=outcome, unit=unit, limits=limits, problems=found)
    found.raise_if_any()
    return found
