"""What was asked of a cohort, and who came through to the answer."""

from __future__ import annotations

from dataclasses import dataclass

__all__ = ["FlowStep", "LeftOut", "Question"]


@dataclass(frozen=True, kw_only=True)
class Question:
    """What was asked of the cohort.

    Attributes
    ----------
    endpoint, positive, negative
        Name of the endpoint and of its two classes.
    unit
        What one prediction is made for: `patient` or `sample`.
    decision
        When a prediction is made, in words: which samples may enter.
    cohort
        What the cohort is, in words.
    """

    endpoint: str
    positive: str
    negative: str
    unit: str
    decision: str
    cohort: str


@dataclass(frozen=True, kw_only=True)
class LeftOut:
    """What one rule left out, and why; None where a count does not apply."""

    reason: str
    patients: int | None = None
    samples: int | None = None
    cells: int | None = None


@dataclass(frozen=True, kw_only=True)
class FlowStep:
    """One step from what was read to what was evaluated.

    Attributes
    ----------
    name
        What holds for everybody in this step.
    patients, samples, cells
        How many are in it; None is not known.
    left_out
        What was left out on the way to the next step.
    """

    name: str
    patients: int | None
    samples: int | None
    cells: int | None
    left_out: tuple[LeftOut, ...] = ()
