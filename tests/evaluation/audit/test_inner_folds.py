"""Inner folds are checked as each member's own head made them; settings edited since are told."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

from recart.evaluation.audit.finding import Severity
from recart.training.prototype_head import PrototypeHead
from recart.training.run_directory import configuration_hash

HEAD = PrototypeHead(
    prototypes=3, shrinkage=5.0, cells=200, strengths=[1.0], inner_folds=2, use_extras=True
)


def test_inner_folds_are_those_of_each_member(
    evaluated: Callable[..., Any], checks: Any, simulate: Any
) -> None:
    own, run = evaluated(simulate(0, patients=24))

    def said(*members: Any) -> Any:
        found = checks["structure"].findings(replace(own, members=members), run)
        return next(f for f in found if f.code == "A-ST-005")

    first, second, *_ = own.members
    assert said(first, second).what.startswith("of 6 inner folds 0 have")
    # another head of a sweep
    assert said(replace(first, recipe=HEAD), second).what.startswith("of 5 inner folds 0 have")
    # labels of all but four of its patients went to the encoder: as many inner folds are left
    labels = own.cohort.bags.table.set_index(own.cohort.store.patients.index)["label"]
    told = [name for name in sorted(first.fitted_on["head"]) if labels[name] == 1][:2]
    told += [name for name in sorted(first.fitted_on["head"]) if labels[name] == 0][:2]
    lent = replace(first, fitted_on={**first.fitted_on, "head": frozenset(told)})
    assert said(lent).what.startswith("of 2 inner folds 0 have")
    own.config.head.inner_folds = None
    assert said(replace(first, recipe=HEAD)).severity is Severity.PASSED
    assert said(first).severity is Severity.UNKNOWN


def test_a_configuration_that_was_edited_since_is_told(
    evaluated: Callable[..., Any], checks: Any, simulate: Any
) -> None:
    own, run = evaluated(simulate(0, patients=24))

    def severity() -> Severity:
        found = checks["structure"].findings(own, run)
        return next(f.severity for f in found if f.code == "A-ST-006")

    assert severity() is Severity.UNKNOWN  # of a run of before, say
    run.began_with = configuration_hash(run.config)
    assert severity() is Severity.PASSED
    run.config.data.decision_day = 400
    assert severity() is Severity.WARNING
