"""When no prediction is given: rules with codes, plain words and the mend, from a configuration."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any, Final, final

import numpy as np

from recart.inference.trust.judge import MEASURES
from recart.problems import InputError, Problem

__all__ = ["FACTS", "RefusalPolicy", "Rule"]

FACTS: Final = {
    "cells": "cells of the patient",
    "genes_missing": "share of the model's genes that the data lack",
    "proteins_missing": "share of the model's proteins that were not measured",
    "unknown_time_or_tissue": "share of cells of time points or tissues that no member has seen",
    "car_positive": "CAR-positive cells over the largest share of a training patient, in standard "
    "deviations of such a count",
    "in_training": "1 where the patient was in the training cohort",
    "claim_level": "0 to 4, what the evaluation of the model may claim",
    "c_index_low": "lower end of the interval of the held-out C-index, of survival alone",
    "training_patients": "patients that the model was trained on and evaluated with",
    **{f"unlike_{name}": "over what an unseen training patient may show" for name in MEASURES},
}
"""What rules may be about, by name."""


@final
@dataclass(frozen=True, kw_only=True)
class Rule:
    """No prediction where a fact is `above` or `below` a threshold.

    `code` stands in the tables, `words` say what is the matter, `mend` what to do.
    """

    code: str
    fact: str
    words: str
    mend: str
    above: float | None = None
    below: float | None = None

    def __post_init__(self) -> None:
        problems = []
        if self.fact not in FACTS:
            problems.append(f"there is no fact {self.fact}; there are: {', '.join(FACTS)}")
        if (self.above is None) == (self.below is None):
            problems.append("give one of above and below")
        if problems:
            raise ValueError("; ".join(problems))

    def broken(self, value: float) -> bool:
        """Whether a fact's value refuses; a value that is not known does not."""
        if self.above is not None:
            return value > self.above
        return self.below is not None and value < self.below


@final
@dataclass(frozen=True, kw_only=True)
class RefusalPolicy:
    """Rules by name, and `unlike`: the share of honest patients that may be refused as unlike.

    A rule that is null is left out.

    Raises
    ------
    InputError
        If two rules have the same code and say different things.
    """

    unlike: float
    rules: Mapping[str, Rule | None]

    def __post_init__(self) -> None:
        words: dict[str, str] = {}
        for rule in self.in_force:
            if words.setdefault(rule.code, rule.words) != rule.words:
                problem = Problem(
                    code="E-CONFIG-004",
                    column="refusal.rules",
                    what=f"two rules of code {rule.code} have different words",
                    mend="give each reason a code of its own",
                )
                raise InputError([problem])

    @property
    def in_force(self) -> list[Rule]:
        """The rules that are not left out."""
        return [rule for rule in self.rules.values() if rule is not None]

    def reasons(self, facts: Mapping[str, float]) -> list[str]:
        """Codes of the rules that refuse a patient of these facts."""
        broken = [r.code for r in self.in_force if r.broken(facts.get(r.fact, float(np.nan)))]
        return list(dict.fromkeys(broken))

    def summary(self, reasons: Sequence[str], unit: str) -> list[str]:
        """Lines for the screen, from the `reasons` of the table: how many, why, and the mend."""
        of_patient = [own.split(";") for own in reasons if own]
        lines = [f"{len(of_patient)} of {len(reasons)} {unit}s get no prediction"]
        for rule in {rule.code: rule for rule in self.in_force}.values():
            if count := sum(rule.code in own for own in of_patient):
                lines.append(f"  {rule.code} ({count}): {rule.words}; {rule.mend}")
        return lines

    def plain(self) -> dict[str, Any]:
        """Plain Python."""
        rules = {name: asdict(rule) for name, rule in self.rules.items() if rule is not None}
        return {"unlike": self.unlike, "rules": rules}

    @classmethod
    def from_plain(cls, plain: dict[str, Any]) -> RefusalPolicy:
        """What `plain` was made of."""
        rules = {name: Rule(**own) for name, own in plain["rules"].items()}
        return cls(unlike=plain["unlike"], rules=rules)
