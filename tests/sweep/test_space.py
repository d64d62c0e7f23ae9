"""Search spaces: every problem is told at once, with the nearest key, before anything is read."""

from __future__ import annotations

import pytest
from omegaconf import DictConfig

from recart.config.build import build
from recart.config.compose import compose
from recart.problems import InputError
from recart.sweep.check_space import check_sweep
from recart.sweep.configurations import configured, encoder_key, plain_base, stack_key
from recart.sweep.launch import run_sweep
from recart.sweep.search import Trial
from recart.sweep.space import Choice, Float, Int


def checked(*overrides: str) -> dict[str, object]:
    config = compose(["sweep=default", *overrides])
    return dict(check_sweep(build(config.sweep), plain_base(config, 1)))


def node(kind: str, **values: object) -> str:
    inside = ",".join(f"{key}:{value}" for key, value in values.items())
    return "{_target_:recart.sweep.space." + kind + "," + inside + "}"


@pytest.mark.parametrize("name", ["default", "heads", "encoder"])
def test_the_shipped_spaces_fit_the_shipped_configuration(name: str) -> None:
    config = compose([f"sweep={name}"])
    space = check_sweep(build(config.sweep), plain_base(config, 1))
    assert list(space) == sorted(space)
    assert "head.prototypes" in space


def test_what_members_have_of_their_own_does_not_part_a_stack() -> None:
    base = plain_base(compose(["sweep=default"]), 1)
    own = {"training.lr": 0.001, "model.dropout": 0.0, "model.weights.kl": 2.0}
    for key, value in own.items():
        assert stack_key(configured(base, {key: value})) == stack_key(base)
        assert encoder_key(configured(base, {key: value})) != encoder_key(base)
    assert stack_key(configured(base, {"model.latent": 7})) != stack_key(base)
    with pytest.raises(InputError, match=r"kl=-1.0 .at least 0."):
        checked(f"+sweep.space.model.weights={{kl:{node('Float', low=-1, high=1)}}}")


def test_all_problems_are_told_at_once_with_the_nearest_key() -> None:
    with pytest.raises(InputError) as caught:
        checked(
            f"+sweep.space.model.latnt={node('Int', low=2, high=3)}",
            f"+sweep.space.training.lr={node('Choice', options='[fast]')}",
            f"+sweep.space.training.epochs={node('Float', low=1.5, high=3)}",
            f"+sweep.space.seed={node('Int', low=1, high=2)}",
            f"+sweep.space.model.encoder={node('Choice', options='[joint,produkt]')}",
            "sweep.space.head.shrinkage.low=40",
            "sweep.objectives=[inner_los]",
        )
    said = [str(problem) for problem in caught.value.problems]
    text = "\n".join(said)
    for part in (
        "sweep.space.model.latnt | there is no key model.latnt | mend: did you mean model.latent?",
        "with training.lr=fast: 'fast' is not of type float",
        "with training.epochs=1.5: 1.5 is not of type int",
        "seed is not searched",
        "model.encoder has no option produkt | mend: did you mean product?",
        "low 40 is above high 30.0",
        "there is no objective inner_los | mend: did you mean inner_loss?",
    ):
        assert part in text


@pytest.mark.parametrize(
    ("overrides", "part"),
    [
        (["sweep.sampler=tpe"], "sweep/sampler=tpe"),
        (["sweep/sampler=grid"], "head.shrinkage have no steps"),
        (["sweep/sampler=nsga2"], "NSGA-II weighs several objectives"),
        (["sweep/pruner=median"], "all trials are drawn at once"),
        (["sweep.budget=1"], "a budget of 1"),
        ([f"+sweep.space.model.weights={node('Int', low=1, high=2)}"], "holds further keys"),
        (
            [f"+sweep.space.model.dropout={node('Float', low=0.1, high=7.0)}"],
            "dropout=7.0 (at least 0 and below 1)",
        ),
    ],
)
def test_parts_that_do_not_fit_are_refused(overrides: list[str], part: str) -> None:
    with pytest.raises(InputError, match="E-SWEEP") as caught:
        checked(*overrides)
    assert part in str(caught.value)


@pytest.mark.parametrize(
    "overrides",
    [
        ["sweep/sampler=tpe", "sweep.sampler.batch=0"],
        ["sweep/sampler=tpe", "sweep.sampler.startup=-1"],
        ["sweep/sampler=cmaes", "sweep.sampler.population=1"],
        ["sweep/sampler=nsga2", "sweep.sampler.population=1"],
        ["sweep/pruner=median", "sweep.pruner.rungs=[]"],
        ["sweep/pruner=median", "sweep.pruner.rungs=[0]"],
        ["sweep/pruner=median", "sweep.pruner.percentile=nan"],
        ["sweep/pruner=median", "sweep.pruner.at_least=0"],
    ],
)
def test_samplers_and_pruners_refuse_what_they_can_not_do(overrides: list[str]) -> None:
    with pytest.raises(InputError, match="E-CONFIG-004"):
        checked(*overrides)


def test_an_objective_is_not_two_for_being_named_twice() -> None:
    with pytest.raises(InputError, match="NSGA-II weighs several objectives"):
        checked("sweep/sampler=nsga2", "sweep.objectives=[inner_loss,inner_loss]")


def test_a_misspelt_key_is_refused_before_the_cohort_is_read(tmp_path) -> None:  # noqa: ANN001
    overrides = [
        "sweep=default",
        f"+sweep.space.heads.prototypes={node('Int', low=2, high=3)}",
        f"paths.run={tmp_path / 'run'}",
        f"paths.prepared={tmp_path / 'prepared'}",
    ]
    with pytest.raises(InputError, match=r"did you mean head\.prototypes"):
        run_sweep(compose(overrides))
    assert not list(tmp_path.iterdir())


def test_ranges_know_what_lies_in_them() -> None:
    assert Float(low=0.0, high=1.0, step=0.25).values == [0.0, 0.25, 0.5, 0.75, 1.0]
    assert Float(low=0.1, high=1.0).values is None
    assert Int(low=1, high=7, step=3).values == [1, 4, 7]
    assert Int(low=1, high=7, step=3).contains(4)
    assert not Int(low=1, high=7, step=3).contains(5)
    assert not Choice(options=[True]).contains(1)
    assert [*Float(low=2.0, high=1.0, log=True).faults()]
    assert [*Choice(options=[1, 1]).faults()]
    assert not [*Choice(options=[None, 1]).faults()]


def base(*overrides: str) -> DictConfig:
    return plain_base(compose(list(overrides)), 1)


def test_values_reach_references_and_groups_are_replaced_whole() -> None:
    own = configured(base(), {"model/encoder".replace("/", "."): "product", "model.latent": 7})
    assert own.model.encoder._target_.endswith("ProductOfExperts")
    assert own.model.latent == 7
    mixed = configured(base(), {"head.inner_folds": 3, "head": "mixed"})
    assert mixed.head._target_.endswith("MixedHead")
    assert mixed.head.inner_folds == 3


def test_trials_share_an_encoder_if_they_differ_in_heads_alone() -> None:
    whole = base()
    key = encoder_key(whole)
    assert encoder_key(configured(whole, {"head.prototypes": 7})) == key
    assert encoder_key(configured(whole, {"training.lr": 0.001})) != key
    assert encoder_key(configured(whole, {"features.n_genes": 7})) != key


def test_a_trial_says_what_it_has_of_its_own() -> None:
    values = {"head.prototypes": 40, "model.latent": 7, "model.encoder": "product"}
    own = Trial(3, values, base()).own_values
    assert own["model.latent"] == 7
    assert own["model.encoder"]["_target_"].endswith("ProductOfExperts")
    assert "head.prototypes" not in own  # as in the configuration


def test_only_the_repeats_that_are_searched_stay() -> None:
    assert base().data.folds.repeats == 1
    assert "repeats" not in base("data/folds=leave_one_patient_out").data.folds
