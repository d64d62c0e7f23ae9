"""What a sweep proposes depends on seed and scores alone, and no configuration comes twice."""

from __future__ import annotations

import itertools
from collections.abc import Callable

import pytest

from recart.sweep.proposals import Proposals
from recart.sweep.samplers import CmaEs, Grid, Nsga2, Random, Sampler, Tpe
from recart.sweep.scores import TrialScore
from recart.sweep.space import Choice, Distribution, Float, Int, Value

SPACE: dict[str, Distribution] = {
    "a": Float(low=0.001, high=1.0, log=True),
    "b": Int(low=1, high=9),
    "c": Choice(options=["x", "y"]),
}
FIRST: dict[str, Value] = {"a": 0.5, "b": 3, "c": "x"}
SAMPLERS: list[Sampler] = [
    Random(),
    Tpe(startup=4, batch=3),
    CmaEs(population=4),
    Nsga2(population=4),
]


def score(number: int, values: dict[str, Value], pruned: bool = True) -> TrialScore:
    """A made-up loss; one trial fails, and one is given up."""
    loss = (float(values.get("a", 1.0)) - 0.1) ** 2 + 0.1 * int(values["b"]) + (values["c"] == "x")  # type: ignore[arg-type]
    state = {7: "failed", 9: "pruned" if pruned else "failed"}.get(number, "complete")
    scores = {"inner_loss": loss, "encoder_loss": -loss} if state == "complete" else {}
    return TrialScore(trial=number, fold="f", state=state, scores=scores, curve={2: loss})


def proposals(sampler: Sampler, budget: int = 14, **other: object) -> Proposals:
    objectives = ["inner_loss", "encoder_loss"] if isinstance(sampler, Nsga2) else ["inner_loss"]
    values = {"space": SPACE, "first": FIRST, "seed": 5, **other}
    return Proposals(
        sampler=sampler,
        budget=budget,
        objectives=objectives,
        **values,  # type: ignore[arg-type]
    )


def run(own: Proposals, until: Callable[[Proposals], bool] = lambda own: own.finished) -> Proposals:
    while not until(own):
        one = len(own.objectives) == 1
        own.tell([score(number, own.trials[number], one) for number in own.ask()])
    return own


@pytest.mark.parametrize("sampler", SAMPLERS, ids=lambda own: type(own).__name__)
def test_a_broken_search_goes_on_as_the_unbroken_one(sampler: Sampler) -> None:
    whole = run(proposals(sampler)).trials
    assert len(whole) == 14
    assert whole[0] == FIRST
    # asked but not told when it broke off, after every generation
    for told in range(1, 14, 3):
        broken = run(proposals(sampler), lambda own, told=told: own.told >= told or own.finished)
        broken.ask()
        again = proposals(sampler)
        assert run(again).trials == whole
        assert broken.trials == whole[: len(broken.trials)]


@pytest.mark.parametrize("sampler", SAMPLERS, ids=lambda own: type(own).__name__)
def test_no_configuration_comes_twice(sampler: Sampler) -> None:
    few = {"b": Int(low=1, high=3), "c": Choice(options=["x", "y"])}
    own = run(proposals(sampler, budget=30, space=few, first={"b": 2, "c": "y"}))
    assert len(own.trials) == len({repr(values) for values in own.trials}) == 6


def test_a_grid_is_every_combination_once() -> None:
    few = {"b": Int(low=1, high=3), "c": Choice(options=["x", "y"])}
    own = run(proposals(Grid(), budget=99, space=few, first={"b": 2, "c": "y"}))
    wanted = {(b, c) for b, c in itertools.product([1, 2, 3], "xy")}
    assert {(values["b"], values["c"]) for values in own.trials} == wanted
    assert len(own.trials) == 6


def test_a_larger_budget_begins_with_the_smaller_ones_trials() -> None:
    small = run(proposals(Random(), budget=6)).trials
    assert run(proposals(Random(), budget=12)).trials[:6] == small


def test_what_lies_outside_of_the_space_comes_first_and_teaches_nothing() -> None:
    outside = {"a": 7.0, "b": 3, "c": "x"}
    own = run(proposals(Tpe(startup=2, batch=2), budget=6, first=outside))
    assert own.trials[0] == outside
    assert all(SPACE["a"].contains(values["a"]) for values in own.trials[1:])


def test_another_score_leads_elsewhere() -> None:
    sampler = Tpe(startup=3, batch=2)
    whole = run(proposals(sampler)).trials
    other = proposals(sampler)
    while not other.finished:
        asked = other.ask()
        flipped = [score(n, {**other.trials[n], "b": 9 - int(other.trials[n]["b"])}) for n in asked]  # type: ignore[arg-type]
        other.tell(flipped)
    assert other.trials[:3] == whole[:3]
    assert other.trials != whole
