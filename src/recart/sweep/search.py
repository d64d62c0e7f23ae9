"""The search of one outer fold: its trials, what they are made of, and which one is chosen."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, final

from omegaconf import DictConfig, OmegaConf

from recart.config.build import TARGET
from recart.contracts import Member
from recart.sweep.configurations import configured, encoder_key, is_group
from recart.sweep.proposals import Proposals
from recart.sweep.scores import TrialScore, read_score
from recart.sweep.space import Value
from recart.sweep.trial_job import Fit, trial_path
from recart.training.jobs import Recipes
from recart.training.launch import recipes
from recart.training.readouts import build_head

__all__ = ["Search", "Trial", "standing_values"]


@final
@dataclass(frozen=True)
class Trial:
    """A configuration by its number and the values that were drawn for it."""

    number: int
    values: Mapping[str, Value]
    base: DictConfig

    @cached_property
    def config(self) -> DictConfig:
        """The whole configuration; trial 0 is the one that was composed."""
        return self.base if self.number == 0 else configured(self.base, self.values)

    @cached_property
    def encoder(self) -> str:
        """Trials of a fold with the same key share an encoder."""
        return encoder_key(self.config)

    @property
    def recipes(self) -> Recipes:
        """What makes the encoder."""
        return recipes(self.config)

    @property
    def fit(self) -> Fit:
        """What is fitted to it."""
        return Fit(trial=self.number, head=build_head(self.config))

    @property
    def own_values(self) -> dict[str, Any]:
        """Keys that differ from the composed configuration, components as a whole."""
        if self.number == 0:
            return {}
        found: dict[str, Any] = {}
        for key, value in self.values.items():
            node = OmegaConf.select(self.config, key)
            whole = isinstance(node, DictConfig) and TARGET in node
            own = OmegaConf.to_container(node, resolve=True) if whole else value
            if own != _plain(OmegaConf.select(self.base, key)):
                found[key] = own
        return found


@final
class Search:
    """One outer fold: asks for trials, reads their scores from the sweep's folder, chooses."""

    def __init__(
        self, member: Member, proposals: Proposals, base: DictConfig, folder: Path
    ) -> None:
        self.member, self._proposals, self._base, self._folder = member, proposals, base, folder
        self._trials: dict[int, Trial] = {}

    @property
    def finished(self) -> bool:
        """Whether all trials are done."""
        return self._proposals.finished

    @property
    def planned(self) -> int:
        """How many trials there will be."""
        return self._proposals.planned

    def ask(self) -> list[Trial]:
        """The trials of the present generation."""
        return [self.trial(number) for number in self._proposals.ask()]

    def trial(self, number: int) -> Trial:
        """A trial that was asked."""
        if number not in self._trials:
            self._trials[number] = Trial(number, self._proposals.trials[number], self._base)
        return self._trials[number]

    @property
    def trials(self) -> list[Trial]:
        """All that were asked."""
        return [self.trial(number) for number in range(len(self._proposals.trials))]

    def missing(self) -> list[Trial]:
        """Trials of the present generation without a score."""
        return [own for own in self.ask() if self._score(own.number) is None]

    def tell(self) -> list[TrialScore]:
        """Tell the scores of the present generation, which are all there."""
        scores = [self._score(own.number) for own in self.ask()]
        there = [own for own in scores if own is not None]
        if len(there) < len(scores):
            return []
        self._proposals.tell(there)
        return there

    @property
    def scores(self) -> list[TrialScore]:
        """Scores of the trials that were told."""
        found = [self._score(number) for number in range(self._proposals.told)]
        return [own for own in found if own is not None]

    @property
    def chosen(self) -> int | None:
        """The trial with the least inner loss, the first of equals; None where none has one."""
        complete = [own for own in self.scores if own.state == "complete"]
        if not complete:
            return None
        return min(complete, key=lambda own: (own.scores["inner_loss"], own.trial)).trial

    def donor(self, encoder: str, donors: bool) -> Path | None:
        """The file of an earlier trial with this encoder, if such files are kept."""
        if not donors:
            return None
        for score in self.scores:
            path = trial_path(self._folder, self.member.name, score.trial)
            if self.trial(score.trial).encoder == encoder and path.exists():
                return path
        return None

    def clear(self, donors: bool) -> None:
        """Remove members' files but those of trial 0, of the best so far, and of donors."""
        kept = {0, self.chosen}
        if donors:
            first: dict[str, int] = {}
            for score in self.scores:
                if score.state == "complete":
                    first.setdefault(self.trial(score.trial).encoder, score.trial)
            kept |= set(first.values())
        for score in self.scores:
            if score.trial not in kept:
                trial_path(self._folder, self.member.name, score.trial).unlink(missing_ok=True)

    def _score(self, number: int) -> TrialScore | None:
        return read_score(self._folder, self.member.name, number)


def standing_values(
    base: DictConfig, keys: Sequence[str], options: Mapping[str, str]
) -> dict[str, Value]:
    """Values of the configuration as it stands; of a group the name of its file, if it is known."""
    found: dict[str, Value] = {}
    for key in keys:
        if is_group(base, key):
            name = options.get(key.replace(".", "/"))
            if name is not None:
                found[key] = name
        else:
            found[key] = OmegaConf.select(base, key)
    return found


def _plain(node: Any) -> Any:
    return OmegaConf.to_container(node, resolve=True) if OmegaConf.is_config(node) else node
