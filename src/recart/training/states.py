"""Where trainings keep their states while they run, and to what a state must belong to be used."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import torch
from torch import Tensor

from recart import contracts
from recart.contracts import Member
from recart.problems import InputError
from recart.training.progress import say
from recart.training.run_directory import RunDirectory, configuration_hash
from recart.training.state_files import StateFiles
from recart.training.versions import installed_version

if TYPE_CHECKING:
    from recart.training.trainer import TrainerSettings

__all__ = ["JobStates", "States", "program"]

_LIBRARIES: Final = ("torch", "lightning", "numpy", "scipy", "scikit-learn")


@dataclass(frozen=True, kw_only=True)
class States:
    """States of all trainings of a run.

    A state is used only by a training that would have come to the same: of the same `belongs`
    (configuration, cohort, program), the same members and the same weights at the start.

    Attributes
    ----------
    folder
        Each training has a folder in it.
    belongs
        Plain values by name.
    every
        Seconds between states; 0 writes one after every step. Writing takes a hundredth of the
        time at most: where it is slow, there are fewer.
    """

    folder: Path
    belongs: Mapping[str, Any]
    every: float

    @classmethod
    def of_run(cls, run: RunDirectory, cohort: str, settings: TrainerSettings) -> States:
        """States of a run on the prepared cohort of key `cohort`."""
        belongs = {
            "configuration": configuration_hash(run.config),
            "cohort": cohort,
            "program": program(),
            "precision": settings.precision,
            "deterministic": settings.deterministic,
        }
        folder = run.states.absolute()
        return cls(folder=folder, belongs=belongs, every=settings.checkpoint_every)

    def there(self, members: Sequence[Member]) -> bool:
        """Whether these members have begun to train as one stack."""
        return self._place(members).is_dir()

    def forget(self, members: Sequence[Member]) -> None:
        """Remove the states of members whose files are written."""
        StateFiles(self._place(members)).remove()

    def of(self, members: Sequence[Member], start: Mapping[str, Tensor]) -> JobStates:
        """States of these members as one stack; `start` are its weights and buffers at the start.

        Seeds, fitted features and encoders that were trained elsewhere are in these.
        """
        digest = hashlib.sha256()
        for name, tensor in start.items():
            digest.update(f"{name} {tensor.dtype} {tuple(tensor.shape)}\0".encode())
            digest.update(tensor.detach().cpu().contiguous().numpy().tobytes())
        belongs = {
            **self.belongs,
            "members": _digest([asdict(member) for member in members]),
            "start": digest.hexdigest(),
        }
        name = members[0].name if len(members) == 1 else f"{len(members)} members"
        return JobStates(name=name, folder=self._place(members), belongs=belongs, every=self.every)

    def _place(self, members: Sequence[Member]) -> Path:
        names = [member.name for member in members]
        return self.folder / f"{names[0]}-{len(names)}-{_digest(names)[:8]}"


@dataclass(frozen=True, kw_only=True)
class JobStates:
    """States of one training, which messages call `name`."""

    name: str
    folder: Path
    belongs: Mapping[str, Any]
    every: float

    def part(self, members: Sequence[int], sharing: int) -> JobStates:
        """States of one of several processes that trains these members.

        `sharing` is how many share each minibatch: they hold the same weights and the same states.
        """
        name = f"part-{members[0]}-{members[-1]}"
        belongs = {**self.belongs, "part_members": list(members), "processes": sharing}
        return replace(
            self, name=f"{self.name}, {name}", folder=self.folder / name, belongs=belongs
        )

    def write(self, content: dict[str, Any], epoch: int, step: int) -> bool:
        """Write a state; whether there was room. Where there was none, a line says so."""
        about = {
            "of": dict(self.belongs),
            "epoch": epoch,
            "step": step,
            "threads": torch.get_num_threads(),
        }
        try:
            StateFiles(self.folder).write(about, content)
        except InputError as error:
            say(f"the state of {self.name} is not written: {error.problems[0]}")
            return False
        return True

    def newest(self) -> dict[str, Any] | None:
        """The newest state that is whole and belongs to this training; lines say what is not."""
        wanted = json.loads(json.dumps(dict(self.belongs)))
        for found in StateFiles(self.folder).newest(lambda line: say(f"{self.name}: {line}")):
            there = found.about["of"]
            keys = sorted(there.keys() | wanted.keys())
            other = [key for key in keys if there.get(key) != wanted.get(key)]
            if other:
                say(
                    f"{self.name}: a state of another {', '.join(other)} is not used; it is "
                    "trained from the start"
                )
                return None
            threads = torch.get_num_threads()
            if found.about["threads"] != threads:
                say(
                    f"{self.name} goes on with {threads} threads, where it had "
                    f"{found.about['threads']}: sums may be rounded another way"
                )
            return found.content
        return None


def program() -> dict[str, str | None]:
    """What computes: a hash of recart's sources, and the versions of what it computes with."""
    sources = Path(contracts.__file__).parent
    digest = hashlib.sha256()
    for path in sorted(sources.rglob("*.py")):
        digest.update(path.relative_to(sources).as_posix().encode() + b"\0" + path.read_bytes())
    return {"recart": digest.hexdigest(), **{own: installed_version(own) for own in _LIBRARIES}}


def _digest(content: Any) -> str:
    return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()
