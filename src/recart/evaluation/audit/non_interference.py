"""Non-interference: whatever becomes of held-out patients, no byte of what is fitted may change."""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, final

from recart.contracts import Member
from recart.data.part_of_store import first_cells
from recart.data.split import members
from recart.data.store import CohortStore
from recart.evaluation.audit.artefacts import artefacts, differing
from recart.evaluation.audit.check import Check
from recart.evaluation.audit.finding import Finding, Severity
from recart.evaluation.audit.manipulations import MANIPULATIONS, Manipulation
from recart.evaluation.audit.outcome import Outcome
from recart.evaluation.audit.retraining import Retraining, Train, in_cohort
from recart.training.progress import say

if TYPE_CHECKING:
    from recart.evaluation.launch import Evaluated
    from recart.training.run_directory import RunDirectory

__all__ = ["Interference", "NonInterference", "interferences", "verdict"]

_NAME: Final = "non_interference"


@dataclass(frozen=True, kw_only=True)
class Interference:
    """What one manipulation of one member's held-out patients did to what the member fits.

    Attributes
    ----------
    member, fold, manipulation
        Which retraining it was.
    n_artefacts
        Artefacts that were compared.
    differing
        Names of those that are not the same to the byte.
    failure
        Type of the error that ended the manipulated training; empty where it went through.
    repeats
        Whether the unchanged training gives the same bytes twice. It is asked only where something
        differs.
    """

    member: str
    fold: int
    manipulation: str
    n_artefacts: int
    differing: tuple[str, ...]
    failure: str = ""
    repeats: bool = True


def interferences(
    train: Train,
    store: CohortStore,
    outcome: Outcome,
    of_members: Sequence[Member],
    manipulations: Mapping[str, Manipulation] = MANIPULATIONS,
) -> Iterator[Interference]:
    """Train each member once as it is, and once after each manipulation of its held-out patients.

    Parameters
    ----------
    train
        The pipeline. It is given the manipulated store with the bags made from it.
    store, outcome
        The cohort.
    of_members
        Members, their patients as codes of `store`.
    manipulations
        Changes that must not matter, by name.
    """
    names = list(store.patients.index)
    unchanged = outcome.bags(store)
    for member in of_members:
        reference = artefacts(train(unchanged, member).content)
        repeats: bool | None = None
        for name, manipulate in manipulations.items():
            cohort = outcome.bags(manipulate(store, member.held_out, outcome))
            failure, found = "", dict[str, str]()
            try:
                found = artefacts(train(cohort, in_cohort(member, names, cohort)).content)
            except Exception as error:  # a training that needs the held-out patients interferes
                failure = type(error).__name__
            changed = differing(reference, found)
            if changed and repeats is None:
                again = artefacts(train(unchanged, member).content)
                repeats = not differing(reference, again)
            yield Interference(
                member=member.name,
                fold=member.fold,
                manipulation=name,
                n_artefacts=len(reference),
                differing=tuple(changed),
                failure=failure,
                repeats=repeats is not False,
            )


def verdict(found: Sequence[Interference]) -> Iterator[Finding]:
    """Findings of all retrainings together: one for each that changed something, else one."""
    bad = [one for one in found if one.differing]
    for one in bad:
        evidence = {
            "member": one.member,
            "fold": one.fold,
            "manipulation": one.manipulation,
            "differing": list(one.differing),
        }
        place = f"fold {one.fold} (member {one.member}), {one.manipulation}"
        if not one.repeats:
            yield Finding(
                check=_NAME,
                code="A-NI-002",
                severity=Severity.UNKNOWN,
                what=f"{place}: the unchanged training does not give the same bytes twice, so "
                "nothing can be said of the changed one",
                mend="remove what is random without a seed from the training",
                evidence=evidence,
            )
        elif one.failure:
            yield Finding(
                check=_NAME,
                code="A-NI-003",
                severity=Severity.LEAK,
                what=f"{place}: training fails ({one.failure}), although nothing of the patients "
                "it may see has changed",
                mend="find what reads held-out patients: every fitted part may read the member's "
                "training and validation patients only",
                evidence={**evidence, "failure": one.failure},
            )
        else:
            yield Finding(
                check=_NAME,
                code="A-NI-001",
                severity=Severity.LEAK,
                what=f"{place}: {len(one.differing)} of {one.n_artefacts} artefacts change: "
                f"{', '.join(one.differing)}",
                mend=f"find what reads held-out patients where the first of them is fitted "
                f"({one.differing[0]}); the model's figures are worth nothing until then",
                evidence=evidence,
            )
    if found and not bad:
        folds = len({one.member for one in found})
        yield Finding(
            check=_NAME,
            code="A-NI-000",
            severity=Severity.PASSED,
            what=f"0 differing bytes in {len(found)} retrainings: {folds} folds, "
            f"{len(found) // folds} manipulations of their held-out patients, "
            f"{found[0].n_artefacts} artefacts each",
        )


@final
@dataclass(frozen=True, kw_only=True)
class NonInterference(Check):
    """Retrains folds with their held-out patients changed in four ways.

    The folds are the first `folds` of the first repeat. All retrainings, the unchanged one too, run
    for at most `epochs` epochs on at most `cells` cells of each sample (None: all), with the run's
    split, seeds and recipes. What is read into the prepared cohort before the split, such as the
    list of genes of the input files, is not made again here.
    """

    folds: int
    epochs: int
    cells: int | None

    @property
    def name(self) -> str:
        """`non_interference`."""
        return _NAME

    @property
    def trains(self) -> bool:
        """Yes."""
        return True

    def findings(self, evaluated: Evaluated, run: RunDirectory) -> Iterator[Finding]:
        """Each interference that was found, or one finding that there is none."""
        store = first_cells(evaluated.cohort.store, self.cells)
        outcome = Outcome.of(store, evaluated.config.data, evaluated.split)
        first = [own for own in members(evaluated.split) if own.repeat == 0][: self.folds]
        total, started = len(first) * len(MANIPULATIONS), time.monotonic()
        found: list[Interference] = []
        for one in interferences(Retraining.of(run, self.epochs), store, outcome, first):
            found.append(one)
            if len(found) % len(MANIPULATIONS) == 0:
                left = (time.monotonic() - started) / len(found) * (total - len(found))
                changed = sum(bool(own.differing) for own in found)
                say(
                    f"non-interference: {len(found)}/{total} retrainings, {changed} with a "
                    f"difference, about {left:.0f} s left"
                )
        caps = {"epochs": self.epochs, "cells_per_sample": self.cells}
        for finding in verdict(found):
            yield Finding(**{**vars(finding), "evidence": {**finding.evidence, **caps}})
