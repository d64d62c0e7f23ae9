"""Decision time and provenance on cases that no simulated cohort has."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
from omegaconf import OmegaConf

from recart.evaluation.audit.decision_time import is_after
from recart.evaluation.audit.finding import Severity
from recart.evaluation.audit.provenance import best_of
from recart.evaluation.permutation import Permutation
from recart.training.versions import versions


@pytest.mark.parametrize(
    ("word", "after"),
    [
        *(("post", True), ("Post-infusion", True), ("D28", True), ("day 7", True), ("M3", True)),
        *(("relapse", True), ("week_4", True), ("follow-up", True), ("C1_post", True)),
        *(("pre", False), ("apheresis", False), ("D0", False), ("day -7", False), ("D-5", False)),
        *(("28d", True), ("PB 3 months", True), ("PB_6mo", True), ("30-day", True), ("1yr", True)),
        *(("0d", False), ("-7 d", False), ("28d pre", False), ("2nd sample", False)),
        *(("infusion product", False), ("baseline", False), ("IP", False)),
    ],
)
def test_words_for_after(word: str, after: bool) -> None:
    assert is_after(word) is after


def test_outcomes_of_before_the_decision(simulate: Any, audit_cohort: Any) -> None:
    cohort = simulate(0)
    days = [20.0 + i for i in range(len(cohort.patients))]
    patients = cohort.patients.assign(day_of_relapse=[-3.0, *days[1:]], follow_up=days)
    found = audit_cohort(replace(cohort, patients=patients))
    assert ("time", "A-TI-004", "WARNING") in found.flagged()
    assert "day_of_relapse, follow_up" in found.said("A-TI-003")


@pytest.fixture
def outside(evaluated: Callable[..., Any], checks: Any, simulate: Any) -> Callable[..., list[Any]]:
    """`outside(**settings)`: what provenance says of other settings; no pass is among them."""

    def look(**settings: Any) -> list[Any]:
        own, run = evaluated(simulate(0, patients=24))
        for place, value in settings.items():
            OmegaConf.update(own.config, place.replace("__", "."), value, force_add=True)
        found = checks["provenance"].findings(own, run)
        return [f for f in found if f.severity > Severity.PASSED]

    return look


def test_what_comes_from_outside_is_unknown_until_it_is_declared(outside: Any) -> None:
    codes = [f.code for f in outside()]
    assert codes == ["A-PR-006"]  # there is no ledger
    sceptr = {"_target_": "recart.data.receptors.sceptr.Sceptr"}
    found = outside(
        data__receptors=sceptr,
        data__reader={"_target_": "recart.data.readers.h5ad.H5adReader"},
        training={"start": {"pretrained": "signature.txt", "fitted_on": None}},
    )
    assert [f.code for f in found] == ["A-PR-002", "A-PR-003", "A-PR-005", "A-PR-006"]
    assert {f.severity for f in found} == {Severity.UNKNOWN}
    assert "250 genes" in found[1].what
    assert "signature.txt" not in "".join(f.what for f in found)
    declared = outside(training={"start": {"pretrained": "x.txt", "fitted_on": "another cohort"}})
    assert [f.code for f in declared] == ["A-PR-006"]


def test_values_that_came_normalised_are_unknown(
    evaluated: Callable[..., Any], checks: Any, simulate: Any
) -> None:
    own, run = evaluated(simulate(0, patients=24))
    store = replace(own.cohort.store, normalised=True)
    own = replace(own, cohort=replace(own.cohort, store=store))
    found = checks["provenance"].findings(own, run)
    assert [f.severity for f in found if f.code == "A-PR-009"] == [Severity.UNKNOWN]


@pytest.mark.parametrize(
    ("again", "of", "severity"),
    [
        (0.895, "here", Severity.PASSED),
        (0.6, "here", Severity.LEAK),  # whoever was held out was not
        (0.6, "elsewhere", Severity.WARNING),
        (0.97, "here", Severity.WARNING),
    ],
)
def test_heads_that_saw_more_than_they_say_are_fitted_again(
    evaluated: Callable[..., Any],
    checks: Any,
    simulate: Any,
    again: float,
    of: str,
    severity: Severity,
) -> None:
    own, run = evaluated(simulate(0, patients=24))
    run.path.mkdir(exist_ok=True)
    run.write_json("versions.json", versions() | ({"commit": "other"} if of != "here" else {}))
    permutation = Permutation(
        p=0.01, k=199, observed=0.9, null_mean=0.5, null_sd=0.1, refitted=again
    )
    own = replace(own, assessment=replace(own.assessment, permutation=permutation))
    found = [f for f in checks["provenance"].findings(own, run) if f.code == "A-PR-010"]
    assert [f.severity for f in found] == [severity]


def test_genes_that_heads_read_say_where_they_come_from(
    evaluated: Callable[..., Any], checks: Any, simulate: Any
) -> None:
    own, run = evaluated(simulate(0, patients=24))

    def said(**settings: Any) -> list[tuple[str, Severity]]:
        for key, value in settings.items():
            OmegaConf.update(own.config, f"data.{key}", value, force_add=True)
        found = checks["provenance"].findings(own, run)
        return [(f.what, f.severity) for f in found if f.code == "A-PR-008"]

    assert said() == []
    ((what, severity),) = said(marker_genes=["panel:immune"])
    assert severity is Severity.PASSED
    assert "fitted to no data; most genes that the simulator moves" in what
    assert "simulator" not in said(reader={"_target_": "recart.data.readers.H5adReader"})[0][0]
    # a panel that is none is a name as any other
    (_, passed), (what, severity) = said(marker_genes=["GZMB", "panel:immune", "panel:mine"])
    assert (passed, severity) == (Severity.PASSED, Severity.UNKNOWN)
    assert what.startswith("2 genes")
    assert what.endswith("(GZMB, panel:mine), chosen on whose data is not known")
    _, (what, severity) = said(marker_genes_from="the cohort of another centre")
    assert severity is Severity.PASSED
    assert what.endswith("chosen on the cohort of another centre")


def test_the_best_of_many() -> None:
    assert best_of(1) == 0
    assert best_of(20) == pytest.approx(1.87, abs=0.02)
    assert best_of(50) == pytest.approx(2.25, abs=0.02)
