"""The trials as Optuna's storage keeps them, for its dashboard and for other programs.

A copy of what the sweep's folder says: a sweep goes on by its folder, and brings the storage up to
it first.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import final

from recart.problems import InputError, Problem
from recart.sweep.scores import TrialScore
from recart.sweep.space import Distribution, Value
from recart.sweep.storages import Storage

__all__ = ["Record"]


@final
class Record:
    """One study a fold; a trial is added whole, and is there once however often it is added.

    Parameters
    ----------
    storage, folder
        Where it lies; `folder` is the sweep's, whose name begins those of the studies.
    space, objectives
        Those of the sweep.
    """

    def __init__(
        self,
        storage: Storage,
        folder: Path,
        space: Mapping[str, Distribution],
        objectives: Sequence[str],
    ) -> None:
        self._storage = storage.open(folder)
        self._name = folder.resolve().name
        self._distributions = {key: own.optuna() for key, own in space.items()}
        self._space, self._objectives = dict(space), list(objectives)

    def asked(self, fold: str, first: int, trials: Sequence[Mapping[str, Value]]) -> None:
        """Add trials as running, unless they are there; `first` is the number of the first."""
        from optuna.trial import TrialState, create_trial

        study = self._study(fold)
        there = study.get_trials(deepcopy=False)
        for number, values in enumerate(trials, first):
            inside = {k: v for k, v in values.items() if self._space[k].contains(v)}
            if number < len(there):
                if there[number].params != inside:
                    raise InputError([self._others(fold)])
                continue
            distributions = {key: self._distributions[key] for key in inside}
            study.add_trial(
                create_trial(state=TrialState.RUNNING, params=inside, distributions=distributions)
            )

    def told(self, fold: str, scores: Sequence[TrialScore]) -> None:
        """Write scores of trials that were asked, unless they are there."""
        from optuna.trial import Trial, TrialState

        study = self._study(fold)
        there = study.get_trials(deepcopy=False)
        for score in scores:
            frozen = there[score.trial]
            if frozen.state.is_finished():
                continue
            if score.curve and len(self._objectives) == 1:
                trial = Trial(study, frozen._trial_id)
                for epoch, value in sorted(score.curve.items()):
                    trial.report(value, epoch)
            if score.state == "complete":
                study.tell(score.trial, [score.scores[name] for name in self._objectives])
            else:
                state = TrialState.PRUNED if score.state == "pruned" else TrialState.FAIL
                study.tell(score.trial, state=state)

    def close(self) -> None:
        """Let go of connections."""
        self._storage.remove_session()
        engine = getattr(self._storage, "engine", None)  # of a database; a journal has none
        if engine is not None:
            engine.dispose()

    def _study(self, fold: str):  # type: ignore[no-untyped-def] # noqa: ANN202
        import optuna

        return optuna.create_study(
            storage=self._storage,
            study_name=f"{self._name}/{fold}",
            directions=["minimize"] * len(self._objectives),
            load_if_exists=True,
        )

    def _others(self, fold: str) -> Problem:
        return Problem(
            code="E-SWEEP-011",
            column="sweep.storage",
            what=f"the study {self._name}/{fold} there holds other trials than this sweep has",
            mend="name another folder for the sweep, paths.run=..., or another storage",
        )
