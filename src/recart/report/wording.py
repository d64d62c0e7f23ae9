"""The words of the ladder, and that the authors' own words claim no more than it allows."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Final

from recart.evaluation.claims import ClaimLevel

__all__ = ["RUNGS", "says_too_much", "within_the_claim"]

# the ladder as a reader sees it
RUNGS: Final = {
    ClaimLevel.NOT_IDENTIFIABLE: "Not identifiable",
    ClaimLevel.NO_EVIDENCE: "No evidence of signal",
    ClaimLevel.SIGNAL: "Signal, not shown to be better than the baselines",
    ClaimLevel.BETTER: "Better than the baselines, internally",
    ClaimLevel.EXTERNAL: "Held on an outside cohort",
}
# said of a model, these words claim the third rung of the ladder
_CLAIMS: Final = re.compile(r"predict\w*\s+(?:the\s+)?response", re.IGNORECASE)


def says_too_much(text: str, level: ClaimLevel) -> bool:
    """Whether a text claims prediction below the rung that allows it."""
    return level < ClaimLevel.BETTER and _CLAIMS.search(text) is not None


def within_the_claim(
    study: Mapping[str, str], level: ClaimLevel
) -> tuple[dict[str, str], tuple[str, ...]]:
    """The authors' texts that the level allows, and a note for each that it does not.

    Parameters
    ----------
    study
        Texts by key of study.yaml.
    level
        The rung that the evaluation reached.
    """
    withheld = [key for key, text in study.items() if says_too_much(text, level)]
    notes = tuple(
        f"{key} of study.yaml is not shown: it claims a prediction, and this evaluation reached "
        f"\u201c{RUNGS[level]}\u201d."
        for key in withheld
    )
    return {key: text for key, text in study.items() if key not in withheld}, notes
