"""Checks of a cohort's content, the same for every reader."""

from recart.data.checks.codes import CODES
from recart.data.checks.cohort import check_cohort
from recart.data.checks.drops import filter_cohort
from recart.data.checks.labels import resolve_labels
from recart.data.checks.limits import Limits

__all__ = ["CODES", "Limits", "check_cohort", "filter_cohort", "resolve_labels"]
