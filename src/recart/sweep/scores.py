"""The score of a trial in one outer fold: a small file, written when the trial is done."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path

from recart.training.run_directory import write_atomically

__all__ = ["TrialScore", "read_score", "score_path", "write_score"]


@dataclass(frozen=True, kw_only=True)
class TrialScore:
    """What a trial is worth on inner folds.

    Attributes
    ----------
    trial, fold
        Its number, and the name of the outer fold's member.
    state
        `complete`, `pruned`, or `failed` where its training was no longer finite.
    scores
        Objectives by name; empty unless complete.
    curve
        Inner loss after some epochs, where it was looked at.
    losses
        Log loss of each development bag by inner folds that left it out, NaN as None; empty where
        the endpoint is more than yes or no.
    """

    trial: int
    fold: str
    state: str
    scores: dict[str, float] = field(default_factory=dict)
    curve: dict[int, float] = field(default_factory=dict)
    losses: Sequence[float | None] = ()
    reason: str = ""


def score_path(folder: Path, fold: str, trial: int) -> Path:
    """Where it lies in the sweep's folder."""
    return folder / "scores" / fold / f"{trial:05d}.json"


def write_score(folder: Path, score: TrialScore) -> None:
    """Write it, whole or not at all."""
    text = json.dumps(asdict(score), indent=1, allow_nan=False)
    write_atomically(score_path(folder, score.fold, score.trial), text.encode())


def read_score(folder: Path, fold: str, trial: int) -> TrialScore | None:
    """The score, where it is there."""
    path = score_path(folder, fold, trial)
    if not path.exists():
        return None
    content = json.loads(path.read_text(encoding="utf-8"))
    content["curve"] = {int(epoch): value for epoch, value in content["curve"].items()}
    return TrialScore(**content)
