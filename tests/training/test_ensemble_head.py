"""Weights follow inner logits: the head that knows weighs more; a patient has no say in its own."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from functools import partial

import numpy as np

from recart.config.build import build
from recart.config.compose import compose
from recart.training.attention_head import FittedAttentionHead
from recart.training.ensemble_head import (
    EnsembleHead,
    FittedEnsembleHead,
    _chosen,
    _weighed,
    _weights,
)
from recart.training.head_problems import chosen_elsewhere, rows_of
from recart.training.heads import BagLatents
from recart.training.mixed_head import MixedHead
from recart.training.prototype_head import PrototypeHead

Make = Callable[..., tuple[BagLatents, np.ndarray]]

HEAD = EnsembleHead(
    heads={
        "prototypes": PrototypeHead(
            prototypes=4,
            shrinkage=5.0,
            cells=2000,
            strengths=[0.1, 1.0],
            inner_folds=3,
            use_extras=True,
        ),
        "mixed": MixedHead(
            strengths=[0.1, 1.0], weightings=[float("inf"), 1.0], cells=30, inner_folds=3
        ),
    }
)


def test_the_head_that_knows_weighs_more() -> None:
    rng = np.random.default_rng(0)
    y = np.arange(60) % 2
    knows, noise = 3.0 * (y - 0.5) + rng.normal(size=60), rng.normal(size=60)
    weights = _weights(np.stack([knows, noise]), y.astype(float), np.ones((1, 60), dtype=bool))[0]
    assert weights[0] > 0.9
    assert np.isclose(weights.sum(), 1)
    assert (weights >= 0).all()


def test_equal_heads_share_and_weights_are_where_no_step_gains() -> None:
    rng = np.random.default_rng(1)
    y = (np.arange(40) % 2).astype(float)
    one = 2.0 * (y - 0.5) + rng.normal(size=40)
    everyone = np.ones((1, 40), dtype=bool)
    np.testing.assert_allclose(_weights(np.stack([one, one]), y, everyone), [[0.5, 0.5]])
    other = 2.0 * (y - 0.5) + rng.normal(size=40)
    x = np.stack([one, other])

    def value(share: float) -> float:
        w = np.array([share, 1 - share])
        logits = w @ x
        loss = np.logaddexp(0, logits) - y * logits
        return float(loss.sum() + 5.0 * ((w - 0.5) ** 2).sum())

    found = _weights(x, y, everyone)[0]
    grid = np.linspace(0, 1, 201)
    best = grid[int(np.argmin([value(share) for share in grid]))]
    assert abs(found[0] - best) < 0.02


def test_weights_of_some_bags_are_those_of_these_bags_alone() -> None:
    rng = np.random.default_rng(2)
    y = (np.arange(30) % 2).astype(float)
    x = np.stack([2.0 * (y - 0.5), np.zeros(30)]) + rng.normal(size=(2, 30))
    x[:, 29] = 9.0  # of a bag that some leave out, and the largest logit
    rows = np.stack([np.arange(30) < 20, np.arange(30) < 29, np.ones(30, dtype=bool)])
    alone = [_weights(x[:, own], y[own], np.ones((1, own.sum()), bool))[0] for own in rows]
    np.testing.assert_allclose(_weights(x, y, rows), alone, rtol=1e-9)
    assert len({round(weight, 4) for weight, _ in alone}) == 3


def test_weights_stay_where_they_pay_on_others_and_else_the_first_head_is_alone() -> None:
    """Of heads that know nothing one in many looks better than the first; that is not enough."""
    rng = np.random.default_rng(3)
    y = (np.arange(24) % 2).astype(float)
    owner = np.arange(24)
    alone = 0
    for _ in range(40):
        first, noise = rng.normal(size=24), rng.normal(size=(3, 24))
        alone += _chosen(np.stack([first, *noise]), y, owner)[0] == 1.0
    assert alone >= 36
    knows = 3.0 * (y - 0.5) + rng.normal(size=24)
    found = _chosen(np.stack([rng.normal(size=24), knows]), y, owner)
    assert found[1] > 0.5


def _two_samples_each(make: Make) -> tuple[BagLatents, np.ndarray]:
    bags, labels = make(24, 1.0, 0, cells=60)
    rows = np.repeat(np.arange(24), 2)
    return replace(rows_of(bags, rows), patients=rows), labels[rows]


def test_labels_of_a_patient_choose_no_weights_of_its_own_inner_logits(
    make_state_bags: Make,
) -> None:
    bags, labels = _two_samples_each(make_state_bags)
    fitted = HEAD.fit(bags, labels, 1)
    weigh = partial(_weighed, fitted.parts, patients=bags.patients)
    np.testing.assert_array_equal(weigh(labels).inner_logits, fitted.inner_logits)
    # the head that knows less comes first, so that weights pay
    weigh = partial(_weighed, dict(reversed(fitted.parts.items())), patients=bags.patients)
    fitted = weigh(labels)
    assert fitted.weights[0] < 1
    for patient in (0, 5, 11):
        own = bags.patients == patient
        flipped = weigh(np.where(own, 1 - labels, labels))
        # both samples of the patient; of everybody else its labels are among those that choose
        np.testing.assert_array_equal(flipped.inner_logits[own], fitted.inner_logits[own])
        assert (flipped.inner_logits[~own] != fitted.inner_logits[~own]).all()
        assert flipped.weights != fitted.weights


def test_the_whole_is_the_weighted_mean_of_its_parts(make_state_bags: Make) -> None:
    bags, labels = make_state_bags(24, 1.5, 0, cells=60)
    fresh, _ = make_state_bags(10, 1.5, 1, cells=60)
    # the head that knows less comes first, so that both have a weight
    ensemble = EnsembleHead(heads=dict(reversed(HEAD.heads.items())))
    fitted = ensemble.fit(bags, labels, 1)
    assert isinstance(fitted, FittedEnsembleHead)
    assert min(fitted.weights) > 0.1
    alone = {name: head.fit(bags, labels, 1) for name, head in ensemble.heads.items()}
    inner = np.stack([own.inner_logits for own in alone.values()])
    chosen = _chosen(inner, labels.astype(float), bags.patients)
    np.testing.assert_allclose(fitted.weights, chosen, rtol=1e-6)
    expected = [
        w * own.logits(fresh) for w, own in zip(fitted.weights, alone.values(), strict=True)
    ]
    np.testing.assert_allclose(fitted.logits(fresh), np.sum(expected, axis=0), rtol=1e-6)
    # each inner logit lies between those of the parts
    assert (fitted.inner_logits >= inner.min(0) - 1e-9).all()
    assert (fitted.inner_logits <= inner.max(0) + 1e-9).all()


def test_a_fold_is_not_asked_which_point_of_a_grid_speaks_for_it() -> None:
    rng = np.random.default_rng(2)
    y, logits = np.arange(30) % 2, rng.normal(size=(20, 30))
    tests = [np.arange(fold, 30, 3) for fold in range(3)]
    chosen = chosen_elsewhere(logits, y, tests)
    for test in tests:
        other = y.copy()
        other[test] = 1 - other[test]
        np.testing.assert_array_equal(chosen_elsewhere(logits, other, tests)[test], chosen[test])
        row = (logits[:, test] == chosen[test]).all(1)
        left = np.setdiff1d(np.arange(30), test)
        loss = (np.logaddexp(0, logits) - y * logits)[:, left].mean(1)
        assert row.tolist() == (loss == loss.min()).tolist()


def test_a_head_that_another_holds_is_fitted_once(make_state_bags: Make) -> None:
    bags, labels = make_state_bags(24, 1.5, 0, cells=60)
    base = build(compose(["head=prototypes"]).head)
    attention = build(compose(["head=attention", "head.epochs=20"]).head)
    assert isinstance(base, PrototypeHead)
    together = EnsembleHead(heads={"prototypes": base, "attention": attention})
    both = together.fit(bags, labels, 1)
    assert isinstance(both, FittedEnsembleHead)
    own, alone = both.parts["attention"], attention.fit(bags, labels, 1)
    assert isinstance(own, FittedAttentionHead)
    assert own.base is both.parts["prototypes"]
    np.testing.assert_array_equal(own.inner_logits, alone.inner_logits)
    np.testing.assert_array_equal(own.logits(bags), alone.logits(bags))
    other = EnsembleHead(heads={"prototypes": replace(base, shrinkage=9.0), "attention": attention})
    apart = other.fit(bags, labels, 1)
    assert isinstance(apart, FittedEnsembleHead)
    own = apart.parts["attention"]
    assert isinstance(own, FittedAttentionHead)
    assert own.base is not apart.parts["prototypes"]
    np.testing.assert_array_equal(own.logits(bags), alone.logits(bags))
