"""Structure: what a split keeps apart, outside and inside, and how it balances the classes."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final, final

import numpy as np
import pandas as pd
from omegaconf import OmegaConf

from recart.data.bags import Bags
from recart.data.split import FoldPatients
from recart.data.split_rules import Kind
from recart.data.store import CohortStore
from recart.evaluation.audit.check import Check
from recart.evaluation.audit.finding import Finding, Severity
from recart.training.inner_folds import inner_folds
from recart.training.jobs import labelled_bags

if TYPE_CHECKING:
    from recart.evaluation.launch import Evaluated
    from recart.training.run_directory import RunDirectory

__all__ = ["Structure"]

_PARTS: Final = ("train", "validation", "held_out")


@final
@dataclass(frozen=True, kw_only=True)
class Structure(Check):
    """Patients, cells, libraries, persons and families over every split, and single-class parts.

    And whether the settings by which a run is evaluated are those that it was split and trained by.

    `persons`, `families` and `libraries` name columns of patients or samples, where the tables
    have them: whose values are one human being, people of one household or genes, and one
    sequenced library or pool.
    """

    persons: Sequence[str]
    families: Sequence[str]
    libraries: Sequence[str]

    @property
    def name(self) -> str:
        """Name in tables."""
        return "structure"

    @property
    def trains(self) -> bool:
        """It only reads."""
        return False

    def findings(self, evaluated: Evaluated, run: RunDirectory) -> Iterator[Finding]:
        """Overlaps of patients, cells, blocks; classes; inner folds; settings edited since."""
        folds, cohort = evaluated.split.folds, evaluated.cohort
        yield self._patients(folds, evaluated)
        yield self._cells(folds, cohort.bags)
        for columns, severity in (
            (self.persons, Severity.LEAK),
            (self.families, Severity.WARNING),
            (self.libraries, Severity.WARNING),
        ):
            yield from self._blocks(columns, severity, folds, cohort.store)
        # whole sites, or single patients, are held out: then one class is nobody's mistake
        parts = _PARTS[:2] if evaluated.split.kind is Kind.GROUPS else _PARTS
        yield self._classes(folds, cohort.bags, parts)
        yield self._inner(evaluated)
        yield self._configuration(run)

    def _patients(self, folds: Sequence[FoldPatients], evaluated: Evaluated) -> Finding:
        """Overlap of the parts of each fold, and of what members hold out and what they saw."""
        names = [str(name) for name in evaluated.cohort.store.patients.index]
        of_fold = {(fold.repeat, fold.fold): fold for fold in folds}
        twice: set[str] = set()
        for fold in folds:
            parts = [set(getattr(fold, part)) for part in _PARTS]
            for i, one in enumerate(parts):
                twice |= {names[code] for other in parts[i + 1 :] for code in one & other}
        strayed = []
        for member in evaluated.members:
            fold = of_fold[member.repeat, member.fold]
            development = {names[code] for code in (*fold.train, *fold.validation)}
            saw = set().union(*member.fitted_on.values()) if member.fitted_on else set()
            held_out = {names[code] for code in fold.held_out}
            if saw & held_out or saw - development or member.held_out != held_out:
                strayed.append(member.name)
                twice |= saw & held_out
        if twice or strayed:
            return self._finding(
                "A-ST-001",
                Severity.LEAK,
                f"{len(twice)} patients are on both sides of a fold; {len(strayed)} of "
                f"{len(evaluated.members)} members saw others than their split gives them",
                "make a new split (delete split.json and checkpoints) and train anew",
                patients=sorted(twice),
                members=strayed,
            )
        return self._finding(
            "A-ST-001",
            Severity.PASSED,
            f"no patient is in two parts of any of {len(folds)} folds",
            folds=len(folds),
        )

    def _cells(self, folds: Sequence[FoldPatients], bags: Bags) -> Finding:
        """Cells that bags of both sides of a fold hold."""
        shared = 0
        for fold in folds:
            development = bags.cells(bags.of_patients((*fold.train, *fold.validation)))
            shared += int(np.isin(bags.cells(bags.of_patients(fold.held_out)), development).sum())
        return self._finding(
            "A-ST-002",
            Severity.LEAK if shared else Severity.PASSED,
            f"{shared} cells are on both sides of a fold",
            "give every sample to one patient" if shared else "",
        )

    def _blocks(
        self,
        columns: Sequence[str],
        severity: Severity,
        folds: Sequence[FoldPatients],
        store: CohortStore,
    ) -> Iterator[Finding]:
        wanted = {name.lower() for name in columns}
        for table, owner in (
            (store.patients, np.arange(len(store.patients))),
            (store.samples, store.samples["patient"].to_numpy()),
        ):
            for column in [c for c in table.columns if str(c).lower() in wanted]:
                known = table[column].notna().to_numpy()
                values = pd.Series(owner[known], index=table.loc[known, column].astype(str))
                shares = [_share_across(values, fold) for fold in folds]
                apart = max(shares) == 0
                yield self._finding(
                    "A-ST-003",
                    Severity.PASSED if apart else severity,
                    f"column {column}: "
                    + (
                        "no value is on both sides of a fold"
                        if apart
                        else f"in a fold up to {max(shares):.0%} of the held-out patients share a "
                        "value with development patients"
                    ),
                    "" if apart else f"block the folds by {column}",
                    column=str(column),
                    share_of_held_out_by_fold=[round(share, 4) for share in shares],
                )

    def _classes(
        self, folds: Sequence[FoldPatients], bags: Bags, two_classed: Sequence[str]
    ) -> Finding:
        """Single-class parts, and how far held-out shares of the positive class lie apart."""
        labels = bags.table["label"].to_numpy()
        single, shares = [], []
        for fold in folds:
            for part in _PARTS:
                own = labels[labelled_bags(bags, getattr(fold, part))]
                if part in two_classed and len(np.unique(own)) < 2:
                    single.append(f"r{fold.repeat}f{fold.fold} {part}")
                if part == "held_out" and len(own):
                    shares.append(float(own.mean()))
        spread = f"positive share of held-out parts {min(shares):.2f} to {max(shares):.2f}"
        return self._finding(
            "A-ST-004",
            Severity.WARNING if single else Severity.PASSED,
            f"{len(single)} parts of folds hold one class only; {spread}",
            "use fewer folds, or folds stratified by the endpoint" if single else "",
            single=single,
            held_out_positive_share=[round(share, 4) for share in shares],
        )

    def _inner(self, evaluated: Evaluated) -> Finding:
        """The inner folds of each member's head, made again: by its recipe, patients and seed."""
        given = OmegaConf.select(evaluated.config, "head.inner_folds")
        sizes = [getattr(m.recipe, "inner_folds", None) or given for m in evaluated.members]
        told = [member.fitted_on.get("head") for member in evaluated.members]
        if None in sizes or not all(told):
            return self._finding(
                "A-ST-005",
                Severity.UNKNOWN,
                "heads do not name the inner folds or the patients that could be checked",
            )
        bags, names = evaluated.cohort.bags, evaluated.cohort.store.patients.index
        overlaps = single = count = 0
        for member, k in zip(evaluated.members, sizes, strict=True):
            saw = names.get_indexer(pd.Index(sorted(member.fitted_on["head"]))).tolist()
            rows = labelled_bags(bags, saw)
            patients, labels = (bags.table[c].to_numpy()[rows] for c in ("patient", "label"))
            for test in inner_folds(labels, bags.groups[rows], int(k), member.seed):
                rest = np.setdiff1d(np.arange(len(rows)), test)
                count += 1
                overlaps += bool(set(patients[test]) & set(patients[rest]))
                single += min(len(np.unique(labels[own])) for own in (test, rest)) < 2
        severity = Severity.PASSED
        if overlaps or single:
            severity = Severity.LEAK if overlaps else Severity.WARNING
        return self._finding(
            "A-ST-005",
            severity,
            f"of {count} inner folds {overlaps} have a patient on both sides and {single} hold "
            "one class only",
            "use fewer inner folds (head.inner_folds)" if overlaps or single else "",
        )

    def _configuration(self, run: RunDirectory) -> Finding:
        """Whether the evaluation reads the configuration that was trained with."""
        if run.was_edited:
            return self._finding(
                "A-ST-006",
                Severity.WARNING,
                "config.yaml is not what the run began with: its members may have been trained "
                "otherwise than this evaluation says, on other samples, say",
                "restore config.yaml, or train another run with these settings",
            )
        known = run.began_with is not None
        return self._finding(
            "A-ST-006",
            Severity.PASSED if known else Severity.UNKNOWN,
            "config.yaml is what the run began with"
            if known
            else "the run does not say which configuration it began with",
        )


def _share_across(owner_of_value: pd.Series[Any], fold: FoldPatients) -> float:
    """Share of the held-out patients with a value that a development patient has as well."""
    development = owner_of_value.isin((*fold.train, *fold.validation))
    known = set(owner_of_value.index[development.to_numpy()])
    held_out = owner_of_value[owner_of_value.isin(fold.held_out).to_numpy()]
    if not len(held_out):
        return 0.0
    sharing = held_out[held_out.index.isin(known)]
    return float(sharing.nunique() / held_out.nunique())
