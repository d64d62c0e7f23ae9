"""The words of the ladder, and that the authors' own words claim no more than it allows."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Final

from recart.evaluation.claims import ClaimLevel
from recart.report.question import Question

__all__ = ["RUNGS", "says_too_much", "within_the_claim"]

# the ladder as a reader sees it
RUNGS: Final = {
    ClaimLevel.NOT_IDENTIFIABLE: "Not identifiable",
    ClaimLevel.NO_EVIDENCE: "No evidence of signal",
    ClaimLevel.SIGNAL: "Signal, not shown to be better than the baselines",
    ClaimLevel.BETTER: "Better than the baselines, internally",
    ClaimLevel.EXTERNAL: "Held on an outside cohort",
}
# what models of this kind are said to predict, beside what was asked of this one
_OUTCOMES: Final = (
    r"(?:non-?)?respon[sd]\w*",
    r"remissions?",
    r"relaps\w*",
    r"outcomes?",
    r"progression",
    r"survival",
    r"(?:clinical\s+)?benefit",
    r"efficacy",
)
# up to three words between, but none that begins another thought: "predictors and outcome"
_BETWEEN: Final = (
    r"(?:[\s-]+(?!(?:and|or|as|by|from|with|against|than|probabilit\w+|scores?)\b)\w+){0,3}[\s-]+"
)
_FORESEES: Final = r"\b(?:predict\w*|forecast\w*|foresee\w*|foretell\w*|prognostic\w*)"
_SORTS: Final = r"\b(?:identif\w+|detect\w*|recogni[sz]\w+|distinguish\w*|separat\w+|tells?)"


def says_too_much(text: str, level: ClaimLevel, question: Question) -> bool:
    """Whether a text claims prediction below the rung that allows it.

    Parameters
    ----------
    text
        Any text of the report.
    level
        The rung that the evaluation reached.
    question
        What was asked: that the endpoint or a class of it is predicted is a claim, too.

    Notes
    -----
    "Predicts durable CR", "predictor of outcome", "response prediction" and "identifies responders"
    are claims, and so is what denies them: such words are not looked at further. "Predicted
    probability of CR" and "classified as responders" are none.
    """
    if level >= ClaimLevel.BETTER:
        return False
    asked = f"{question.positive}, {question.negative}".split(", ")
    names = [question.endpoint, question.endpoint.replace("_", " "), *asked]
    what = "|".join([*_OUTCOMES, *(re.escape(name) for name in names if len(name) > 1)])
    claims = (
        rf"{_FORESEES}{_BETWEEN}(?:{what})(?!\w)",
        rf"(?<!\w)(?:{what})[\s-]+predict\w+",
        rf"{_SORTS}{_BETWEEN}(?:non-?)?responders?\b",
    )
    return any(re.search(claim, text, re.IGNORECASE) for claim in claims)


def within_the_claim(
    study: Mapping[str, str], level: ClaimLevel, question: Question
) -> tuple[dict[str, str], tuple[str, ...]]:
    """The authors' texts that the level allows, and a note for each that it does not.

    Parameters
    ----------
    study
        Texts by key of study.yaml.
    level
        The rung that the evaluation reached.
    question
        What was asked.
    """
    withheld = [key for key, text in study.items() if says_too_much(text, level, question)]
    notes = tuple(
        f"{key} of study.yaml is not shown: it speaks of a prediction, and this evaluation reached "
        f"\u201c{RUNGS[level]}\u201d."
        for key in withheld
    )
    return {key: text for key, text in study.items() if key not in withheld}, notes
