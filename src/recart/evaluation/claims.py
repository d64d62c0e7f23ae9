"""What may be claimed: a ladder of five levels, and the sentence that says it plainly."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from enum import IntEnum

from scipy.special import logit

from recart.data.split import Kind
from recart.evaluation.comparison import Difference
from recart.evaluation.intervals import UNMEASURED, Interval
from recart.evaluation.metrics import Metrics
from recart.evaluation.outside import Place
from recart.evaluation.permutation import Permutation

__all__ = [
    "ALPHA",
    "MIN_PER_CLASS",
    "Claim",
    "ClaimLevel",
    "claim",
    "lacking_for_more",
    "permuted_words",
    "refused",
]

# below this many patients in a class nothing is claimed
MIN_PER_CLASS = 8
# permutation p at or above this is no evidence
ALPHA = 0.05


class ClaimLevel(IntEnum):
    """Rungs of the ladder. Below `BETTER` nothing is said to be predicted."""

    NOT_IDENTIFIABLE = 0
    NO_EVIDENCE = 1
    SIGNAL = 2
    BETTER = 3
    EXTERNAL = 4


@dataclass(frozen=True, kw_only=True)
class Claim:
    """One rung, a headline, and sentences with the numbers behind it."""

    level: ClaimLevel
    headline: str
    sentences: tuple[str, ...]

    @property
    def text(self) -> str:
        """The sentences as one paragraph."""
        return " ".join(self.sentences)


def claim(
    metrics: Metrics,
    interval: Interval | None,
    differences: Sequence[Difference],
    patients_per_class: tuple[int, int],
    endpoint: str,
    obstacles: Sequence[str] = (),
    permutation: Permutation | None = None,
    place: Place | None = None,
    lacking: Sequence[str] = (),
) -> Claim:
    """Decide the rung and word it.

    Parameters
    ----------
    metrics, interval
        The model's metrics and the interval of its AUROC; None where the AUROC is refused.
    differences
        Model minus baseline, one for each baseline that was run.
    patients_per_class
        Patients with a negative and with a positive bag.
    endpoint
        Name of the endpoint.
    obstacles
        Reasons from outside that forbid any claim, such as a site aligned with the endpoint.
    permutation
        The permutation test; None or refused where only the interval speaks.
    place
        What makes the held-out patients an outside cohort; None where nothing shows that.
    lacking
        What is missing for a claim above `SIGNAL`, in sentences (`lacking_for_more`).
    """
    reasons = list(obstacles)
    if metrics.refusal:
        reasons.append(metrics.refusal)
    if min(patients_per_class) < MIN_PER_CLASS:
        reasons.append(
            f"One class has {min(patients_per_class)} patients; below {MIN_PER_CLASS} no estimate "
            "is steady enough to speak of."
        )
    if metrics.auroc is None or interval is None or reasons:
        return Claim(
            level=ClaimLevel.NOT_IDENTIFIABLE,
            headline=f"This cohort cannot tell whether {endpoint} can be read from the cells",
            sentences=tuple(reasons),
        )
    numbers = " ".join(
        [
            _numbers(metrics, metrics.auroc, interval),
            *([UNMEASURED[kind]] if (kind := Kind(metrics.kind)) in UNMEASURED else []),
            *permuted_words(permutation),
        ]
    )
    chance = permutation is not None and permutation.p is not None and permutation.p >= ALPHA
    if interval.low <= 0.5 or chance:
        below = _below_half(metrics, metrics.auroc, interval) if interval.low <= 0.5 else []
        return Claim(
            level=ClaimLevel.NO_EVIDENCE,
            headline=f"No evidence of a signal for {endpoint}",
            sentences=(
                numbers,
                *below,
                *([_as_chance_does(permutation)] if permutation is not None and chance else []),
            ),
        )
    rivals = [difference for difference in differences if difference.interval.low <= 0]
    if rivals or not differences:
        return _signal(metrics, rivals, numbers, endpoint)
    if lacking:
        return Claim(
            level=ClaimLevel.SIGNAL,
            headline=f"A signal for {endpoint}; too little was compared to claim more",
            sentences=(numbers, _lead(differences), *lacking),
        )
    return _better(differences, numbers, endpoint, kind, place)


def lacking_for_more(
    kind: Kind, absent: Sequence[str], permutation: Permutation | None
) -> list[str]:
    """What keeps a claim at `SIGNAL` whatever its numbers are; empty where nothing does.

    Parameters
    ----------
    kind
        What the folds are to each other.
    absent
        Baselines that were not run, though the cohort could have them.
    permutation
        The permutation test, where one was run.
    """
    found = []
    if absent:
        found.append(
            f"Baselines that were left out: {', '.join(absent)}. One of them may do as well."
        )
    if kind is Kind.PAIRS and (permutation is None or permutation.p is None):
        found.append(
            "Pairs have no permutation p, and how often a comparison in pairs errs was not "
            "measured: no more than a signal is claimed of them."
        )
    return found


def refused(instead_of: Claim, leaks: Sequence[str]) -> Claim:
    """No claim at all, as the audit found leaks; reasons that stood before stand behind them."""
    before = instead_of.sentences if instead_of.level is ClaimLevel.NOT_IDENTIFIABLE else ()
    return Claim(
        level=ClaimLevel.NOT_IDENTIFIABLE,
        headline="Nothing can be claimed: the audit found a leak",
        sentences=(*leaks, *before),
    )


def _signal(metrics: Metrics, rivals: list[Difference], numbers: str, endpoint: str) -> Claim:
    if not rivals:
        return Claim(
            level=ClaimLevel.SIGNAL,
            headline=f"A signal for {endpoint}, compared with no baseline",
            sentences=(numbers, "No baseline was run: a simple model may do as well."),
        )
    # the strongest baseline that was not beaten is the one the model leads by least
    rival = min(rivals, key=lambda difference: difference.auroc)
    sentences = [
        numbers,
        (
            f"It is not shown to be better than {rival.baseline}, run in the same folds: "
            f"the difference in AUROC is {_difference(rival)}."
        ),
    ]
    if rival.auroc > 0:
        reach = (rival.interval.high - rival.interval.low) / 2
        sentences.append(
            f"If the difference is real, about {_patients(metrics, reach / rival.auroc)} patients "
            "would show it."
        )
    return Claim(
        level=ClaimLevel.SIGNAL,
        headline=f"A signal for {endpoint}, not better than {rival.baseline}",
        sentences=tuple(sentences),
    )


def _better(
    differences: Sequence[Difference], numbers: str, endpoint: str, kind: Kind, place: Place | None
) -> Claim:
    where, last = "internal cross-validation", "No outside cohort has confirmed it."
    if place is not None:
        where = f"an outside cohort ({place.words})"
        last = "No model saw a patient of that cohort; one cohort is one hospital's practice."
    elif kind is Kind.EXTERNAL:
        where = "patients of the same cohort"
        last += " No column that names places sets the held-out patients apart from the others."
    return Claim(
        level=ClaimLevel.BETTER if place is None else ClaimLevel.EXTERNAL,
        headline=f"Predicts {endpoint} better than the baselines in {where}",
        sentences=(numbers, _lead(differences), last),
    )


def _lead(differences: Sequence[Difference]) -> str:
    closest = min(differences, key=lambda difference: difference.auroc)
    return (
        f"It is better than every baseline tested on the same patients; over the best of them, "
        f"{closest.baseline}, the difference in AUROC is {_difference(closest)}."
    )


def permuted_words(permutation: Permutation | None) -> list[str]:
    """What is said of a permutation test; nothing where there was none."""
    if permutation is None:
        return []
    if permutation.p is None:
        return [f"No permutation p: {permutation.refusal}"]
    repeats = ""
    if permutation.repeats > 1:
        repeats = f" over {permutation.repeats} repeats, in which the labels as they are give "
        repeats += f"{permutation.observed:.2f}"
    return [
        f"Permutation p {permutation.p:.3f}: refitted to {permutation.k} permutations of the "
        f"labels, the {permutation.measure} is {permutation.null_mean:.2f} on average "
        f"(SD {permutation.null_sd:.2f}){repeats}."
    ]


def _numbers(metrics: Metrics, auroc: float, interval: Interval) -> str:
    text = (
        f"Held-out AUROC {auroc:.2f}, {interval.level:.0%} interval {interval.low:.2f} to "
        f"{interval.high:.2f} ({interval.width:.2f} wide), {metrics.n_patients} patients"
    )
    if metrics.n_bags != metrics.n_patients:
        text += f" with {metrics.n_bags} samples"
    text += f", {metrics.n_positive} positive."
    if metrics.folds_disagree and metrics.auroc_fold_mean is not None:
        text += (
            f" The mean over folds is {metrics.auroc_fold_mean:.2f}: the estimate depends on how "
            "folds are put together."
        )
    return text


def _as_chance_does(permutation: Permutation) -> str:
    least = 1 / (permutation.k + 1)
    if least < ALPHA:
        return "Permuted labels do as well too often to speak of a signal."
    return f"Too few permutations to speak of a signal: p is {least:.2f} at least."


def _below_half(metrics: Metrics, auroc: float, interval: Interval) -> list[str]:
    sentences = ["The interval includes 0.5, what a coin would give."]
    if interval.high < 0.5:
        sentences = ["The interval lies below 0.5: the scores run against the labels."]
    elif auroc > 0.5:
        reach = float(logit(auroc) - logit(interval.low)) if auroc < 1 else math.inf
        sentences.append(
            f"If the AUROC is truly {auroc:.2f}, about "
            f"{_patients(metrics, reach / float(logit(auroc)))} patients would be needed to "
            "show it."
        )
    wide = _patients(metrics, interval.width / 0.2)
    sentences.append(f"An interval 0.20 wide takes about {wide} patients.")
    return sentences


def _difference(difference: Difference) -> str:
    interval = difference.interval
    text = f"{difference.auroc:+.2f} ({interval.low:+.2f} to {interval.high:+.2f})"
    return text.replace("-", "\N{MINUS SIGN}")


def _patients(metrics: Metrics, shrink: float) -> str:
    """Patients that make an interval `shrink` times narrower, by the square-root law."""
    needed = metrics.n_patients * shrink**2
    if not needed < 10_000:
        return "more than 10,000"
    return f"{math.ceil(needed / 10) * 10:,}"
