"""Sound cohorts are not accused: neither of a leak, nor, but for chance, of anything."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from recart.evaluation.audit.finding import Severity


@pytest.mark.slow
def test_sound_cohorts_pass(simulate: Callable[..., Any], audit_cohort: Callable[..., Any]) -> None:
    flagged = []
    for seed in range(6):
        found = audit_cohort(simulate(seed, strength=0.5 * (seed % 2)))
        assert found.worst() < Severity.LEAK, found.flagged()
        flagged.append(found.flagged())
    assert sum(map(bool, flagged)) <= 1, flagged
