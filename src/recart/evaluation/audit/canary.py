"""The canary: on labels that mean nothing, the whole pipeline must find nothing."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any, Final, final

import numpy as np

from recart.contracts import Member
from recart.data.part_of_store import first_cells
from recart.data.split import members
from recart.data.store import CohortStore
from recart.evaluation.audit.artefacts import artefacts, differing
from recart.evaluation.audit.check import Check
from recart.evaluation.audit.finding import Finding, Severity
from recart.evaluation.audit.null_auroc import FoldBags, band, fold_bags, null_auroc
from recart.evaluation.audit.outcome import Outcome
from recart.evaluation.audit.permuted_labels import class_sizes, permuted_labels
from recart.evaluation.audit.retraining import Retraining, Train, in_cohort
from recart.evaluation.held_out import held_out_predictions
from recart.evaluation.refits import Refits
from recart.training.heads import Head
from recart.training.jobs import labelled_bags
from recart.training.progress import say

if TYPE_CHECKING:
    from recart.evaluation.launch import Evaluated
    from recart.training.run_directory import RunDirectory

__all__ = ["Canary", "encoder_reads_labels", "refitted", "retrained", "verdict"]

Array = np.ndarray[Any, Any]

_NAME: Final = "canary"
_LABEL_FREE: Final = ("features", "encoder", "best_epoch", "best_loss", "history")
_SEED_STEP: Final = 7919  # away from the streams that the run itself draws


def refitted(
    heads: Sequence[Head], folds: Sequence[FoldBags], permuted: Sequence[Array]
) -> list[float]:
    """AUROC of each permutation with encoders as they are and heads, one a fold, fitted anew.

    With everything that a head chooses.
    """
    parts: list[list[tuple[Array, Array]]] = [[] for _ in permuted]
    with Refits(len(permuted) * len(folds), "~audit.canary leaves this test out") as refits:
        for number, (head, fold) in enumerate(zip(heads, folds, strict=True)):
            labels = [new[fold.development] for new in permuted]
            fit = partial(_logits, head, fold)
            logits = refits.of(fit, labels, at_once=None if head.quickly_refitted else 1)
            for own, new, scores in zip(parts, permuted, logits, strict=True):
                own.append((new[fold.held_out], scores))
            say(f"canary: heads of fold {number + 1}/{len(folds)}, {len(permuted)} permutations")
    return [null_auroc(own) for own in parts]


def _logits(head: Head, fold: FoldBags, labels: Sequence[Array]) -> list[Array]:
    """Of held-out bags, by a head fitted to each of `labels`."""
    count = len(labels)
    stack = head.fit_stack([fold.seen] * count, labels, [fold.seed] * count)
    return [fitted.logits(fold.unseen) for fitted in stack]


def retrained(
    train: Train,
    store: CohortStore,
    outcome: Outcome,
    of_members: Sequence[Member],
    permuted: Sequence[Mapping[str, int]],
) -> Iterator[float]:
    """AUROC of each permutation (label by bag) with everything trained anew."""
    names = list(store.patients.index)
    for number, labels in enumerate(permuted):
        cohort = outcome.bags(outcome.relabelled(store, labels))
        parts = []
        for member in of_members:
            own = train(cohort, in_cohort(member, names, cohort)).member
            (table,) = held_out_predictions([own], cohort.store, cohort.bags, cohort.extras)
            parts.append((table["y"].to_numpy(), table["logit"].to_numpy()))
        say(f"canary: permutation {number + 1}/{len(permuted)} trained")
        yield null_auroc(parts)


def encoder_reads_labels(
    train: Train,
    store: CohortStore,
    outcome: Outcome,
    member: Member,
    labels: Mapping[str, int],
) -> list[str]:
    """What changes before the head when labels do: artefacts by name, none for a free encoder.

    Asked by training `member` with its labels and with other ones (by bag), and comparing bytes.
    """
    digests = []
    for own in (store, outcome.relabelled(store, labels)):
        content = train(outcome.bags(own), member).content
        digests.append(artefacts({key: content[key] for key in _LABEL_FREE if key in content}))
    return differing(*digests)


def verdict(aurocs: Sequence[float], sizes: tuple[float, float], how: str) -> Finding:
    """Whether the mean lies in the band; `sizes` are patients of each class."""
    if not np.isfinite(aurocs).all():
        return Finding(
            check=_NAME,
            code="A-CAN-004",
            severity=Severity.UNKNOWN,
            what="no held-out fold has bags of both classes, so that there is nothing to rank",
            mend="evaluate on folds of several patients (data/folds=stratified)",
        )
    allowed = band(sizes, len(aurocs))
    mean = float(np.mean(aurocs))
    evidence = {
        "permutations": len(aurocs),
        "mean_auroc": mean,
        "sd_auroc": float(np.std(aurocs, ddof=1)),
        "band": allowed,
        "patients": sum(sizes),
        "encoder": how,
        "aurocs": [round(float(own), 4) for own in aurocs],
    }
    words = (
        f"mean AUROC of {len(aurocs)} label permutations {mean:.3f}; chance at {sum(sizes):.0f} "
        f"patients is .50 \N{PLUS-MINUS SIGN} {allowed:.3f}; {how}"
    )
    if mean > 0.5 + allowed:
        return Finding(
            check=_NAME,
            code="A-CAN-001",
            severity=Severity.LEAK,
            what=f"the pipeline finds labels that mean nothing: {words}",
            mend="a selection, a duplicate or a split carries labels of held-out patients into the "
            "fit; non_interference and structure say where to look",
            evidence=evidence,
        )
    if mean < 0.5 - allowed:
        return Finding(
            check=_NAME,
            code="A-CAN-002",
            severity=Severity.WARNING,
            what=f"the estimate is biased below chance: {words}",
            mend="use stratified folds of several patients of each class",
            evidence=evidence,
        )
    return Finding(
        check=_NAME, code="A-CAN-000", severity=Severity.PASSED, what=words, evidence=evidence
    )


@final
@dataclass(frozen=True, kw_only=True)
class Canary(Check):
    """Repeats the first `folds` folds of the run's first repeat on labels permuted over patients.

    The run's encoders are reused where training one of each configuration again with other labels
    shows, to the byte, that no label enters them; heads, with all that they choose, are fitted
    anew for each of `permutations`, or `slow` of them where a refit takes seconds. Where labels do
    enter, everything is trained anew for each of `retrainings` permutations, for at most `epochs`
    epochs. Both on at most `cells` cells of each sample; None takes all.
    """

    folds: int
    permutations: int
    retrainings: int
    epochs: int
    cells: int | None
    slow: int = 30

    @property
    def name(self) -> str:
        """`canary`."""
        return _NAME

    @property
    def trains(self) -> bool:
        """Yes."""
        return True

    def findings(self, evaluated: Evaluated, run: RunDirectory) -> Iterator[Finding]:
        """One finding: alarm, bias, or passed."""
        store = first_cells(evaluated.cohort.store, self.cells)
        outcome = Outcome.of(store, evaluated.config.data, evaluated.split)
        cohort = outcome.bags(store)
        first = [own for own in members(evaluated.split) if own.repeat == 0][: self.folds]
        everyone = labelled_bags(cohort.bags, evaluated.split.patients)
        place = {int(row): i for i, row in enumerate(everyone)}
        table = cohort.bags.table.iloc[everyone]
        labels, patients = table["label"].to_numpy(), table["patient"].to_numpy()
        development = [
            np.array(
                [place[int(n)] for n in labelled_bags(cohort.bags, own.train + own.validation)]
            )
            for own in first
        ]
        seed = int(evaluated.config.seed) + _SEED_STEP
        permuted = permuted_labels(
            labels,
            patients,
            development,
            self.permutations,
            seed,
            groups=cohort.bags.groups[everyone],
        )
        if len(permuted) < self.permutations:
            yield Finding(
                check=_NAME,
                code="A-CAN-003",
                severity=Severity.UNKNOWN,
                what=f"only {len(permuted)} of {self.permutations} permutations leave each fold "
                "two training patients of each class",
                mend="use fewer folds (data.folds.k)",
            )
            return
        by_bag = [dict(zip(table.index, map(int, own), strict=True)) for own in permuted]
        train = Retraining.of(run, self.epochs)
        # one member of each configuration: a sweep may have chosen one for each fold
        asked = [
            encoder_reads_labels(train, store, outcome, own, by_bag[0])
            for own in train.unlike(first)
        ]
        changed = sorted({name for names in asked for name in names})
        if changed:
            say(f"canary: labels enter before the head ({', '.join(changed)}): training anew")
            how = f"everything trained anew, as labels enter {', '.join(changed)}"
            some = by_bag[: self.retrainings]
            aurocs = list(retrained(train, store, outcome, first, some))
        else:
            how = "encoders of the run reused: trained again with other labels, none changed a byte"
            loaded = {own.name: own for own in evaluated.members}
            folds = [fold_bags(loaded[own.name], own, cohort, place) for own in first]
            heads = [train.made_by(own.name).head for own in first]
            quick = all(own.quickly_refitted for own in heads)
            aurocs = refitted(heads, folds, permuted if quick else permuted[: self.slow])
        yield verdict(aurocs, class_sizes(labels, patients), how)
