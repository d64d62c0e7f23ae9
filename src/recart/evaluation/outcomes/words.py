"""What may be said of endpoints that are more than yes or no."""

from __future__ import annotations

import math

from recart.evaluation.claims import Claim, ClaimLevel, permuted_words
from recart.evaluation.outcomes.measured import OutcomeAssessment
from recart.evaluation.permutation import Permutation
from recart.training.endpoints import Endpoint

__all__ = ["claim_of", "endpoint_words"]


def endpoint_words(column: str, endpoint: Endpoint) -> str:
    """Name of what is asked: the column, and where yes or no is one question of several, which."""
    return column if endpoint.kind == "binary" else f"{column} ({endpoint.classes[0]})"


def claim_of(
    outcome: OutcomeAssessment,
    face: Claim,
    permutation: Permutation | None = None,
    *,
    finished: bool = False,
) -> Claim:
    """The claim of the binary face, with the measure of the whole endpoint beside it.

    `finished`: of a model that was not fitted here, so that no model of a fold is held fixed.

    For survival there is none: whoever is censored before the landmark is not in its binary face,
    and error rates of a claim on the C-index were not measured. Its interval is said instead. An
    endpoint that does not lead changes nothing.
    """
    if not outcome.leads:
        return face
    numbers = _numbers(outcome, finished)
    if outcome.kind == "ordinal":
        if face.level == ClaimLevel.NOT_IDENTIFIABLE:
            return face
        note = "The claim is on the cut."
        if permutation is not None and permutation.p is not None:
            note = "The claim is on the cut; labels were permuted as levels."
        return Claim(
            level=face.level, headline=face.headline, sentences=(numbers, *face.sentences, note)
        )
    return Claim(
        level=ClaimLevel.NOT_IDENTIFIABLE,
        headline=f"No claim is made on {outcome.name}: a survival endpoint has its interval only",
        sentences=(
            numbers,
            *permuted_words(permutation),
            "Error rates of a claim on a C-index were not measured.",
        ),
    )


def _numbers(outcome: OutcomeAssessment, finished: bool) -> str:
    name, value = outcome.measure, outcome.value
    if not math.isfinite(value):
        return f"{name}: not known. {outcome.refusal}".strip()
    interval = outcome.model.intervals[name]
    named, narrow = f"{name[:1].upper()}{name[1:]}", ""
    if not finished:
        named = f"Held-out {name}"
        narrow = ", which holds the fold models fixed and is too narrow for that"
    text = (
        f"{named} {value:.2f}, {interval.level:.0%} patient-bootstrap interval "
        f"{interval.low:.2f} to {interval.high:.2f}{narrow} (0.5 is chance; {outcome.words})."
    )
    if outcome.rival is not None:
        text += f" Best baseline, {outcome.rival.name}: {outcome.rival.values[name]:.2f}."
    return text
