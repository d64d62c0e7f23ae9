"""Which configurations one outer fold tries, and in which order."""

from __future__ import annotations

import warnings
from collections.abc import Mapping, Sequence
from typing import Any, Final, final

from recart.sweep.samplers import Sampler
from recart.sweep.scores import TrialScore
from recart.sweep.space import Distribution, Value

__all__ = ["Proposals"]

_TRIES: Final = 100  # draws in search of a configuration that was not there yet


@final
class Proposals:
    """Trials of one outer fold, generation by generation, by a study of Optuna in memory.

    The study is asked and told in the order of the trials, whoever ends first. What it proposes is
    thus a function of seed and scores alone: a sweep that was interrupted asks the same questions
    again, is told the scores that are there, and goes on as if nothing had been. No configuration
    is proposed twice.

    Parameters
    ----------
    space
        Distributions by key.
    sampler
        Draws configurations.
    first
        Values of the configuration as it stands, which is trial 0.
    budget, objectives, seed
        Trials at most, scores that are made small, and the sampler's seed.
    """

    def __init__(
        self,
        space: Mapping[str, Distribution],
        sampler: Sampler,
        first: Mapping[str, Value],
        budget: int,
        objectives: Sequence[str],
        seed: int,
    ) -> None:
        import optuna

        optuna.logging.set_verbosity(optuna.logging.WARNING)
        self._sampler, self._first = sampler, dict(first)
        self.objectives, self._budget = list(objectives), budget
        self._distributions = {key: own.optuna() for key, own in space.items()}
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # notes on arguments that Optuna calls experimental
            own_sampler = sampler.optuna(space, seed)
        self._study = optuna.create_study(
            directions=["minimize"] * len(self.objectives), sampler=own_sampler
        )
        every = sampler.every(space, seed)
        self._counted = None if every is None else iter(every)
        # a configuration that lies outside of the space teaches the sampler nothing
        self._inside = all(own.contains(first.get(key)) for key, own in space.items())
        self._seen: set[str] = set()
        self._asked: list[Any] = []  # Optuna's trials of the present generation, None without one
        self.trials: list[dict[str, Value]] = []
        self.told = 0
        self._ended = False

    @property
    def finished(self) -> bool:
        """Whether every trial of the budget, or of a smaller space, was told."""
        return self._ended and self.told == len(self.trials)

    @property
    def planned(self) -> int:
        """Trials that there will be: the budget, or fewer of a space that has no more."""
        return len(self.trials) if self._ended else self._budget

    def ask(self) -> list[int]:
        """Numbers of the trials of the next generation; all before were told."""
        if self._ended or self.told < len(self.trials):
            return list(range(self.told, len(self.trials)))
        left = self._budget - len(self.trials)
        size = min(left, self._sampler.generation or left)
        for _ in range(size):
            if not self._ask_one():
                self._ended = True
                break
        if len(self.trials) >= self._budget:
            self._ended = True
        return list(range(self.told, len(self.trials)))

    def tell(self, scores: Sequence[TrialScore]) -> None:
        """Scores of the present generation, in order of its trials."""
        from optuna.trial import TrialState

        for trial, score in zip(self._asked, scores, strict=True):
            if trial is None:
                continue
            if score.state == "complete":
                self._study.tell(trial, [score.scores[name] for name in self.objectives])
            elif score.state == "pruned":
                for epoch, value in sorted(score.curve.items()):
                    trial.report(value, epoch)  # trials of several objectives are never pruned
                self._study.tell(trial, state=TrialState.PRUNED)
            else:
                self._study.tell(trial, state=TrialState.FAIL)
        self.told += len(scores)
        self._asked = []

    def _ask_one(self) -> bool:
        from optuna.trial import TrialState

        if not self.trials:
            if self._inside:
                self._study.enqueue_trial(dict(self._first))
            return self._take(self._first, self._draw() if self._inside else None)
        if self._counted is not None:
            return any(self._take(values, None) for values in self._counted)
        for _ in range(_TRIES):
            trial = self._draw()
            if self._take(trial.params, trial):
                return True
            self._study.tell(trial, state=TrialState.FAIL)
        return False

    def _draw(self) -> Any:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            return self._study.ask(self._distributions)

    def _take(self, values: Mapping[str, Value], trial: Any) -> bool:
        """Take a configuration, unless it was there before."""
        key = repr(sorted(values.items()))
        if key in self._seen:
            return False
        self._seen.add(key)
        self._asked.append(trial)
        self.trials.append(dict(values))
        return True
