"""What jobs say after each epoch, and what it is to follow them."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass

__all__ = ["EpochReport", "EpochWatcher"]


@dataclass(frozen=True, kw_only=True)
class EpochReport:
    """What was logged of one epoch of a stack: means over the members that still train."""

    epoch: int
    step: int
    means: dict[str, float]

    @property
    def members_done(self) -> int:
        """Members of the stack that have stopped."""
        return int(self.means["members_done"])


class EpochWatcher(ABC):
    """Follows the epochs of all jobs of a run, in the process that started them."""

    @abstractmethod
    def start(self, members: Mapping[str, int], epochs: int) -> None:
        """Jobs begin.

        Parameters
        ----------
        members
            Members of each job, by the job's name.
        epochs
            Epochs of each member, at most; 0 where no encoder is trained.
        """

    @abstractmethod
    def advance(self, job: str, report: EpochReport) -> None:
        """Take in one more epoch of a job."""

    @abstractmethod
    def end(self, job: str) -> None:
        """The job has ended, well or not."""

    @abstractmethod
    def stop(self) -> None:
        """No job runs any more, also after an interruption."""
