"""Identity: one donor under two names, and samples that are not of whom they are said to be."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, final

import numpy as np
import pandas as pd

from recart.data.split import Split
from recart.data.store import CohortStore
from recart.evaluation.audit.cell_duplicates import comparable
from recart.evaluation.audit.check import Check
from recart.evaluation.audit.donor_evidence import SAME_TUBE, Pair, donor_evidence
from recart.evaluation.audit.finding import Finding, Severity
from recart.evaluation.audit.sex_genes import given_sex, shown_sex
from recart.evaluation.audit.shared_clones import SharedClones, shared_clones

if TYPE_CHECKING:
    from recart.evaluation.launch import Evaluated
    from recart.training.run_directory import RunDirectory

__all__ = ["Identity"]

# Times the 99th percentile of the other pairs.
_ABOVE_OTHERS: Final = 5.0
# Pairs of samples as near as this are of the same cells, sequenced twice.
_SAME_CELLS: Final = 0.5
# Robust standard deviations below the other pairs, without and with a shared receptor beside it.
# In eight simulated cohorts one person's pairs lay at -4.0 and below, two persons' from -3.7 on.
_FAR_BELOW: Final = -3.8
_BELOW: Final = -2.5
# Of the middle pair. With 60 cells a sample it is 1.9 to 2.0 apart, and of 720 pairs of two persons
# one lay at 1.08; with 120 cells it is 2.2 to 2.4, and the nearest of 2,300 lay at 1.36.
_TELLING: Final = 2.1
_MEND: Final = (
    "if they are one person (consented again, sequenced again, a shared healthy donor), give both "
    "one patient id and train anew; if a library was mixed up, leave it out"
)


@final
@dataclass(frozen=True, kw_only=True)
class Identity(Check):
    """Looks for one donor under two ids, and compares sex genes with what the tables say.

    Two patients are one donor where they share cells (same counts but for a few), private
    receptors far above other pairs, or expression profiles that, matched sample by sample, are no
    further apart than two draws from one tube and far below other pairs. Where that holds of their
    nearest samples alone, they may be: of many pairs some are near by chance. So they may where
    samples have so few cells that other pairs are hardly further apart than one tube's.

    `cells` is the fewest duplicated cells, `receptors` the fewest shared receptors, and `overlap`
    the share of the smaller repertoire, from which on two patients are called one donor; below
    that a finding is a warning.
    """

    cells: int
    receptors: int
    overlap: float

    @property
    def name(self) -> str:
        """Name in tables."""
        return "identity"

    @property
    def trains(self) -> bool:
        """It only reads."""
        return False

    def findings(self, evaluated: Evaluated, run: RunDirectory) -> Iterator[Finding]:  # noqa: ARG002
        """Pairs that are or may be one donor; sex; what could not be compared."""
        store = evaluated.cohort.store
        clones = shared_clones(store)
        evidence = donor_evidence(store, clones)
        found = False
        for pair, own in sorted(evidence.items()):
            severity = self.judge(own)
            if severity > Severity.PASSED:
                found = True
                yield self._one_donor(store, evaluated.split, pair, own, severity)
        if not found:
            yield self._nobody(store, clones)
        if clones is None or clones.pairs.empty:
            yield Finding(
                check=self.name,
                code="A-ID-009",
                severity=Severity.UNKNOWN,
                what="shared clonotypes were not looked for: "
                + (
                    "the store knows no receptor sequences"
                    if clones is None
                    else f"{clones.compared} patients have private receptors of both chains"
                ),
            )
        yield from self._sex(store)

    def judge(self, own: Mapping[str, float]) -> Severity:
        """How sure it is that two patients are one, from their entry of `donor_evidence`."""
        cells, shared = own["cells"], own["shared"]
        near = own["matched"] < SAME_TUBE
        far_below = near and own["matched_below"] <= _FAR_BELOW
        private = own["jaccard"] > _ABOVE_OTHERS * own["jaccard_of_others"]
        if (
            cells >= self.cells
            or (shared >= self.receptors and own["overlap"] >= self.overlap and private)
            or own["nearest"] < _SAME_CELLS
            or (far_below and own["usual"] >= _TELLING)
            or (near and own["matched_below"] <= _BELOW and shared)
        ):
            return Severity.LEAK
        one_tube = own["nearest"] < SAME_TUBE and own["nearest_below"] <= _FAR_BELOW
        if cells or one_tube or far_below or (shared >= 2 and private):
            return Severity.WARNING
        return Severity.PASSED

    def _one_donor(
        self,
        store: CohortStore,
        split: Split,
        pair: Pair,
        own: Mapping[str, float],
        severity: Severity,
    ) -> Finding:
        one, other = (str(store.patients.index[code]) for code in pair)
        apart = _folds_apart(split, pair)
        if not apart:
            severity = min(severity, Severity.WARNING)
        words = []
        if own["cells"]:
            words.append(f"{own['cells']:.0f} cells with the same counts")
        if own["shared"]:
            share = f"{own['overlap']:.1%} of the smaller repertoire"
            words.append(f"{own['shared']:.0f} private receptors ({share})")
        if own["nearest"] < SAME_TUBE:
            words.append(
                f"expression {own['nearest']:.2f} apart in their nearest samples and "
                f"{own['matched']:.2f} sample by sample, where two draws from one tube are 1"
            )
        sure = "are one donor" if severity is Severity.LEAK else "may be one donor"
        place = f"on both sides of {apart} of {len(split.folds)} folds" if apart else "never apart"
        return Finding(
            check=self.name,
            code="A-ID-001",
            severity=severity,
            what=f"patients {one} and {other} {sure}, {place}: {', '.join(words)}",
            mend=_MEND,
            evidence={
                "patients": [one, other],
                "folds_apart": apart,
                **{key: value for key, value in own.items() if np.isfinite(value)},
            },
        )

    def _nobody(self, store: CohortStore, clones: SharedClones | None) -> Finding:
        n = len(store.patients)
        if not comparable(store) and (clones is None or clones.pairs.empty):
            return Finding(
                check=self.name,
                code="A-ID-001",
                severity=Severity.UNKNOWN,
                what=f"{n} patients were not compared: cells have too few genes to be told from "
                "copies, and neither proteins nor receptors",
            )
        evidence: dict[str, object] = {"pairs": n * (n - 1) // 2}
        if clones is not None:
            evidence["receptors_set_aside"] = clones.set_aside
            evidence["most_shared_receptors"] = max(map(int, clones.pairs["shared"]), default=0)
        return Finding(
            check=self.name,
            code="A-ID-001",
            severity=Severity.PASSED,
            what=f"no two of {n} patients look like one donor",
            evidence=evidence,
        )

    def _sex(self, store: CohortStore) -> Iterator[Finding]:
        shown, given = shown_sex(store), given_sex(store)
        if shown is None:
            yield Finding(
                check=self.name,
                code="A-ID-002",
                severity=Severity.UNKNOWN,
                what="sex was not compared: the genes lack XIST or those of the Y chromosome",
            )
            return
        owner = store.patients.index[store.samples["patient"]]
        table = pd.DataFrame({"shown": shown.to_numpy(), "patient": owner}, index=shown.index)
        clear = table[table["shown"].isin(["female", "male"])]
        several = clear.groupby("patient")["shown"].nunique()
        problems = {
            "have samples of both sexes": [str(p) for p in several.index[several > 1]],
            "have a sample with cells of both sexes": sorted(
                {str(p) for p in table.loc[table["shown"] == "both", "patient"]}
            ),
        }
        if given is not None:
            said = clear["patient"].map(given)
            wrong = clear[said.notna() & (said != clear["shown"])]
            problems["are of the other sex than the table says"] = sorted(set(wrong["patient"]))
        for what, patients in problems.items():
            if patients:
                yield Finding(
                    check=self.name,
                    code="A-ID-002",
                    severity=Severity.WARNING,
                    what=f"{len(patients)} patients {what}: {', '.join(patients[:5])}",
                    mend="look for swapped or pooled samples; after a transplant cells of the "
                    "donor's sex are to be expected",
                    evidence={"patients": patients},
                )
        if not any(problems.values()):
            yield Finding(
                check=self.name,
                code="A-ID-002",
                severity=Severity.PASSED if given is not None else Severity.UNKNOWN,
                what=f"{len(clear)} of {len(table)} samples show one sex, the same within each "
                "patient"
                + (" and as the table says" if given is not None else "; no table says which"),
                evidence={str(k): int(n) for k, n in table["shown"].value_counts().items()},
            )


def _folds_apart(split: Split, pair: Pair) -> int:
    """Folds that hold out one of the two and develop on the other."""
    return sum(
        sum(code in fold.held_out for code in pair) == 1
        and any(code in fold.train + fold.validation for code in pair)
        for fold in split.folds
    )
