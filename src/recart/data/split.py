"""The split: a file that says which patients each model trains on, watches and never sees."""

from __future__ import annotations

import hashlib
import json
import os
import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np

from recart.contracts import Member
from recart.problems import InputError, Problem, Problems

__all__ = ["FoldPatients", "Split", "check_classes", "members"]

SCHEMA: Final = 1
_PARTS: Final = ("train", "validation", "held_out")


@dataclass(frozen=True, kw_only=True)
class FoldPatients:
    """Patients (codes, ascending) of one fold of one repeat, and the seed of its models.

    `train` and `validation` together are the development patients: `validation` chooses the epoch.
    """

    repeat: int
    fold: int
    seed: int
    train: tuple[int, ...]
    validation: tuple[int, ...]
    held_out: tuple[int, ...]


@dataclass(frozen=True, kw_only=True)
class Split:
    """All folds of all repeats. In each repeat every patient is held out exactly once.

    Raises
    ------
    InputError
        On making one in which a patient is in two parts of a fold, in no part, held out twice or
        never, or a part is empty.
    """

    seed: int
    folds: tuple[FoldPatients, ...]

    def __post_init__(self) -> None:
        """Check the rules above."""
        problems = Problems()
        for problem in _structure_problems(self):
            problems.error(problem)
        problems.raise_if_any()

    @property
    def repeats(self) -> int:
        """Number of partitions of the patients."""
        return len({fold.repeat for fold in self.folds})

    @property
    def k(self) -> int:
        """Number of folds of one partition."""
        return len(self.folds) // self.repeats

    @property
    def patients(self) -> tuple[int, ...]:
        """Codes of all patients, ascending."""
        first = self.folds[0]
        return tuple(sorted(first.train + first.validation + first.held_out))

    def write(self, path: Path, names: Sequence[str]) -> None:
        """Write as JSON, whole or not at all, with a hash over its content.

        `names` are the pseudonyms of the patients, by code.
        """
        folds = []
        for fold in self.folds:
            parts = {part: sorted(names[code] for code in getattr(fold, part)) for part in _PARTS}
            folds.append({"repeat": fold.repeat, "fold": fold.fold, "seed": fold.seed, **parts})
        content = {
            "schema": SCHEMA,
            "seed": self.seed,
            "k": self.k,
            "repeats": self.repeats,
            "folds": folds,
        }
        path.parent.mkdir(parents=True, exist_ok=True)
        descriptor, draft = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}-")
        try:
            with os.fdopen(descriptor, "w", encoding="utf-8") as file:
                json.dump({**content, "sha256": _digest(content)}, file, indent=1)
                file.flush()
                os.fsync(file.fileno())
            os.replace(draft, path)
        finally:
            Path(draft).unlink(missing_ok=True)

    @classmethod
    def read(cls, path: Path, names: Sequence[str]) -> Split:
        """Read what `write` wrote. `names` are the pseudonyms of the patients, by code.

        Raises
        ------
        InputError
            If the file is no split, was changed after it was written, names a patient that is not
            in `names`, or breaks a rule of `Split`.
        """
        content = _content(path)
        code_of = {name: code for code, name in enumerate(names)}
        unknown = sorted(
            {n for f in content["folds"] for part in _PARTS for n in f[part] if n not in code_of}
        )
        if unknown:
            problem = Problem(
                code="E-SPLIT-003",
                file=path.name,
                count=len(unknown),
                examples=tuple(unknown),
                what=f"{len(unknown)} patients of the split are not in the cohort",
                mend="use the split of this cohort, made with the same project key; a patient who "
                "left it needs a new split",
            )
            raise InputError([problem])
        return cls(
            seed=content["seed"],
            folds=tuple(
                FoldPatients(
                    repeat=fold["repeat"],
                    fold=fold["fold"],
                    seed=fold["seed"],
                    **{part: tuple(sorted(code_of[n] for n in fold[part])) for part in _PARTS},
                )
                for fold in content["folds"]
            ),
        )


def members(split: Split) -> list[Member]:
    """One member per fold and repeat, named `r0f0`, in the order of the split."""
    return [
        Member(
            name=f"r{fold.repeat}f{fold.fold}",
            fold=fold.fold,
            repeat=fold.repeat,
            seed=fold.seed,
            train=fold.train,
            validation=fold.validation,
            held_out=fold.held_out,
        )
        for fold in split.folds
    ]


def check_classes(
    split: Split, patients: np.ndarray[Any, Any], labels: np.ndarray[Any, Any]
) -> None:
    """Check a split against the bags: patient and label (0 or 1) of each.

    Raises
    ------
    InputError
        If a patient with bags is in no fold, or a part of a fold lacks a class.
    """
    problems = Problems()
    left_out = set(map(int, patients)) - set(split.patients)
    if left_out:
        problems.error(
            Problem(
                code="E-SPLIT-004",
                count=len(left_out),
                what=f"{len(left_out)} patients of the cohort are in no fold",
                mend="make a new split for this cohort",
            )
        )
    for fold in split.folds:
        for part in _PARTS:
            found = np.unique(labels[np.isin(patients, getattr(fold, part))])
            if len(found) < 2:
                problems.error(
                    Problem(
                        code="E-SPLIT-005",
                        what=f"repeat {fold.repeat}, fold {fold.fold}: the {part} patients have "
                        f"{f'class {int(found[0])} only' if len(found) else 'no labelled bag'}",
                        mend="use fewer folds, or a split that is stratified by the endpoint",
                    )
                )
    problems.raise_if_any()


def _structure_problems(split: Split) -> Iterator[Problem]:
    def problem(what: str) -> Problem:
        return Problem(code="E-SPLIT-002", what=what, mend="make a new split")

    if not split.folds:
        yield problem("the split has no folds")
        return
    everyone = set().union(*(set(getattr(f, part)) for f in split.folds for part in _PARTS))
    for fold in split.folds:
        place = f"repeat {fold.repeat}, fold {fold.fold}"
        parts = [getattr(fold, part) for part in _PARTS]
        seen = [code for part in parts for code in part]
        if len(seen) != len(set(seen)):
            yield problem(f"{place}: {len(seen) - len(set(seen))} patients are in two parts")
        if everyone - set(seen):
            yield problem(f"{place}: {len(everyone - set(seen))} patients are in no part")
        for name, part in zip(_PARTS, parts, strict=True):
            if not part:
                yield problem(f"{place}: no {name} patients")
    for repeat in sorted({fold.repeat for fold in split.folds}):
        held_out = [c for f in split.folds if f.repeat == repeat for c in f.held_out]
        times = {code: held_out.count(code) for code in everyone}
        wrong = sum(count != 1 for count in times.values())
        if wrong:
            yield problem(f"repeat {repeat}: {wrong} patients are held out never or twice")
    if len({(fold.repeat, fold.fold) for fold in split.folds}) != len(split.folds):
        yield problem("two folds have the same number")


def _digest(content: dict[str, Any]) -> str:
    text = json.dumps(content, sort_keys=True, separators=(",", ":"))
    return hashlib.sha256(text.encode()).hexdigest()


def _content(path: Path) -> dict[str, Any]:
    def refuse(what: str) -> InputError:
        mend = "restore the file, or delete it and make a new split"
        return InputError([Problem(code="E-SPLIT-001", file=path.name, what=what, mend=mend)])

    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise refuse("there is no such split file") from None
    except ValueError as error:
        raise refuse(f"this is no JSON: {error}") from None
    if not isinstance(content, dict) or content.get("schema") != SCHEMA:
        version = content.get("schema") if isinstance(content, dict) else None
        raise refuse(f"schema version {version}; this version of recart reads {SCHEMA}")
    if content.pop("sha256", None) != _digest(content):
        raise refuse("the content does not match its hash: the split was changed after it was made")
    return content
