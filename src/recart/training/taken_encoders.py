"""Encoders that another run has trained, taken as they are for other heads."""

from __future__ import annotations

import hashlib
import json
import shutil
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, final

from omegaconf import DictConfig

from recart.contracts import Member
from recart.problems import InputError, Problem, Problems
from recart.training.checkpoints import load_checkpoint
from recart.training.jobs import TrainedEncoder
from recart.training.member_configuration import OWN_VALUES, own_values
from recart.training.member_file import load_encoder, member_path, member_record
from recart.training.receptor_version import receptor_fingerprint
from recart.training.run_directory import RunDirectory, differing_keys
from recart.training.training_time import TRAINING_TIME

__all__ = ["TAKEN_ENCODERS", "TakenEncoders"]

TAKEN_ENCODERS: Final = "encoders.json"
"""File of a run's folder: versions that trained the encoders, and SHA-256 of the files they lay in.
"""

_OF_HEADS: Final = ("head", "baselines")  # the groups of keys that no encoder depends on


@final
@dataclass(frozen=True, kw_only=True)
class TakenEncoders:
    """Encoders of the members of the run in the folder `path`.

    They are what this run would train itself: everything but the heads is configured alike, and
    each member has the same patients and seed.
    """

    path: Path

    @classmethod
    def of(cls, path: Path, config: DictConfig) -> TakenEncoders:
        """Encoders of the run in `path` for a run of `config`.

        Raises
        ------
        InputError
            If there is no run, if it differs in more than heads and baselines (names the keys), or
            if its encoders have seen labels or have configurations of their own.
        """
        donor, problems = RunDirectory.open(path), Problems()

        def refuse(what: str, mend: str, examples: Sequence[str] = ()) -> None:
            problems.error(_problem("E-RUN-014", path, what, mend, examples))

        keys = [
            key
            for key in differing_keys(donor.config, config)
            if key.partition(".")[0] not in _OF_HEADS
        ]
        if keys:
            refuse(
                "its encoders were trained by another configuration: more than head and baselines "
                "differs",
                "give these keys the values of that run, or leave paths.encoders out",
                keys,
            )
        if config.training.get("joint") is not None:
            refuse(
                "encoders of joint training have seen labels: they belong to their own heads",
                "leave paths.encoders out",
            )
        if own_values(path):
            refuse(
                f"each fold has a configuration of its own there ({OWN_VALUES})",
                "take the encoders of a run that was not chosen by a sweep, such as its `default`",
            )
        if donor.receptors != receptor_fingerprint(config):
            refuse(
                "its receptors were embedded by another version than the installed one",
                "install the versions of its versions.json, or leave paths.encoders out",
            )
        problems.raise_if_any()
        return cls(path=path.absolute())

    def require(self, members: Sequence[Member], patients: Sequence[str], cohort: str) -> None:
        """Check that there is an encoder of each member, and that it is this member's.

        `patients` are the pseudonyms by patient code, `cohort` the key of the prepared cohort.

        Raises
        ------
        InputError
            If that run is of another cohort, lacks members, or gave them other patients.
        """
        key = json.loads((self.path / "cohort.json").read_text(encoding="utf-8"))["key"]
        if key != cohort:
            raise self._refusal(
                f"it was trained on the prepared cohort {key}; the input now gives {cohort}",
                "restore the files that it was trained on, or leave paths.encoders out",
            )
        lacking = [own.name for own in members if not self._file(own).exists()]
        if lacking:
            raise self._refusal(
                "members of it are not trained yet",
                f"python train.py paths.run={self.path.name} with its own settings trains them",
                lacking,
            )
        other = [
            own.name
            for own in members
            if load_checkpoint(self._file(own))["member"] != member_record(own, patients)
        ]
        if other:
            raise self._refusal(
                "its members were trained on other patients or with other seeds",
                "name that run's split: data/folds=fixed data.folds.path=<its split.json>, in both",
                other,
            )

    def load(self, members: Sequence[Member]) -> list[TrainedEncoder]:
        """The encoder of each member."""
        return [load_encoder(self._file(own), own) for own in members]

    def record(self, run: RunDirectory, members: Sequence[Member]) -> None:
        """Write into `run` which encoders these members take, and how long those took to train."""
        there = run.path / TAKEN_ENCODERS
        before: dict[str, Any] = json.loads(there.read_text()) if there.exists() else {}
        told = {own.name: _sha256(self._file(own)) for own in members}
        versions = json.loads((self.path / "versions.json").read_text(encoding="utf-8"))
        run.write_json(
            TAKEN_ENCODERS,
            {"versions": versions, "sha256": {**before.get("sha256", {}), **told}},
        )
        own, theirs = run.path / TRAINING_TIME, self.path / TRAINING_TIME
        if theirs.exists() and not own.exists():
            shutil.copyfile(theirs, own)

    def _file(self, member: Member) -> Path:
        return member_path(self.path / "checkpoints", member.name)

    def _refusal(self, what: str, mend: str, examples: Sequence[str] = ()) -> InputError:
        return InputError([_problem("E-RUN-015", self.path, what, mend, examples)])


def _problem(code: str, run: Path, what: str, mend: str, examples: Sequence[str]) -> Problem:
    return Problem(
        code=code,
        file=run.name,
        column="paths.encoders",
        what=what,
        mend=mend,
        count=len(examples) or None,
        examples=tuple(examples),
    )


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
