"""The split: a file that says which patients each model trains on, watches and never sees."""

from __future__ import annotations

import hashlib
import json
import os
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np

from recart.contracts import Member
from recart.data.split_rules import PARTS, FoldPatients, Kind, broken_rules, lacking_classes
from recart.problems import InputError, Problem, Problems

__all__ = ["FoldPatients", "Kind", "Split", "check_classes", "members"]

SCHEMA: Final = 2
# files of schema 1 are partitions without blocks
_READ: Final = (1, 2)


@dataclass(frozen=True, kw_only=True)
class Split:
    """All folds of all repeats, and what kind of split they are.

    `blocks` are the groups of two or more patients that share a library, a family or the like: no
    fold parts them into training, validation and held-out patients.

    Raises
    ------
    InputError
        On making one that breaks a rule of its kind (`recart.data.split_rules`).
    """

    seed: int
    folds: tuple[FoldPatients, ...]
    kind: Kind = Kind.PARTITION
    blocks: tuple[tuple[int, ...], ...] = ()

    def __post_init__(self) -> None:
        """Check the rules."""
        problems = Problems()
        for problem in broken_rules(self.folds, self.kind, self.blocks):
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
        return tuple(sorted(first.train + first.validation + first.held_out + first.aside))

    @property
    def words(self) -> str:
        """What the split is, for people: `5 folds x 10 repeats`, `56 pairs`."""
        if self.kind is Kind.EXTERNAL:
            return f"{len(self.folds[0].held_out)} outside patients x {self.repeats} models"
        name = {Kind.PAIRS: "pairs", Kind.GROUPS: "groups"}.get(self.kind, "folds")
        return f"{self.k} {name}" + (f" x {self.repeats} repeats" if self.repeats > 1 else "")

    @property
    def sha256(self) -> str:
        """Hash over kind, folds and blocks by patient code: the same for the same split."""
        content = {
            "kind": str(self.kind),
            "folds": [{part: getattr(f, part) for part in ("seed", *PARTS)} for f in self.folds],
            "blocks": self.blocks,
        }
        return _digest(content)

    def block_of(self, patients: Sequence[int] | np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
        """The first patient (code) of each patient's block; the patient where it has none."""
        first = {code: block[0] for block in self.blocks for code in block}
        return np.array([first.get(int(code), int(code)) for code in patients], dtype=np.int64)

    def write(self, path: Path, names: Sequence[str]) -> None:
        """Write as JSON, whole or not at all, with a hash over its content.

        `names` are the pseudonyms of the patients, by code.
        """
        folds = []
        for fold in self.folds:
            parts = {part: sorted(names[code] for code in getattr(fold, part)) for part in PARTS}
            folds.append({"repeat": fold.repeat, "fold": fold.fold, "seed": fold.seed, **parts})
        content = {
            "schema": SCHEMA,
            "kind": str(self.kind),
            "seed": self.seed,
            "k": self.k,
            "repeats": self.repeats,
            "blocks": sorted(sorted(names[code] for code in block) for block in self.blocks),
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
        named = {n for f in content["folds"] for part in PARTS for n in f.get(part, ())}
        named |= {n for block in content.get("blocks", ()) for n in block}
        unknown = sorted(named - set(code_of))
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

        def codes(patients: Sequence[str]) -> tuple[int, ...]:
            return tuple(sorted(code_of[name] for name in patients))

        return cls(
            seed=content["seed"],
            folds=tuple(
                FoldPatients(
                    repeat=fold["repeat"],
                    fold=fold["fold"],
                    seed=fold["seed"],
                    **{part: codes(fold.get(part, ())) for part in PARTS},
                )
                for fold in content["folds"]
            ),
            kind=Kind(content.get("kind", Kind.PARTITION)),
            blocks=tuple(sorted(map(codes, content.get("blocks", ())))),
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
        If a patient with bags is in no fold, a part of a fold lacks a class that its kind of split
        needs there, or pairs are missing.
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
    for problem in lacking_classes(split.folds, split.kind, patients, labels):
        problems.error(problem)
    problems.raise_if_any()


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
    except OSError as error:
        raise refuse(f"it can't be read ({error.strerror})") from None
    except ValueError as error:
        raise refuse(f"this is no JSON: {error}") from None
    if not isinstance(content, dict) or content.get("schema") not in _READ:
        version = content.get("schema") if isinstance(content, dict) else None
        raise refuse(f"schema version {version}; this version of recart reads 1 and {SCHEMA}")
    if content.pop("sha256", None) != _digest(content):
        raise refuse("the content does not match its hash: the split was changed after it was made")
    if content.get("kind", "partition") not in set(Kind):
        raise refuse(f"{content['kind']!r} is no kind of split; there are {', '.join(Kind)}")
    return content
