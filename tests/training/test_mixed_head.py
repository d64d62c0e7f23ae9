"""The mixed head: which cells count, fixed effects in every prediction, intervals that hold."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest
from sklearn.metrics import roc_auc_score

from recart.training.heads import BagLatents, Token
from recart.training.mixed_head import MixedHead

Make = Callable[..., tuple[BagLatents, np.ndarray]]

INF = float("inf")
HEAD = MixedHead(
    strengths=[0.01, 0.1, 1.0, 10.0], weightings=[INF, 1.0, 0.1], cells=150, inner_folds=4
)


def test_cells_of_one_population_are_found_beyond_the_mean_cell(make_state_bags: Make) -> None:
    bags, labels = make_state_bags(60, 1.5, 1)
    fresh, truth = make_state_bags(200, 1.5, 2)
    aurocs = {}
    for weightings in ((INF,), HEAD.weightings):
        fitted = replace(HEAD, weightings=weightings).fit(bags, labels, 1)
        aurocs[len(weightings)] = roc_auc_score(truth, fitted.logits(fresh))
    assert aurocs[3] > 0.9
    assert aurocs[3] > aurocs[1] + 0.1


def test_noise_stays_noise(make_state_bags: Make) -> None:
    cohorts = [make_state_bags(40, 0.0, seed) for seed in range(3)]
    heads = HEAD.fit_stack([b for b, _ in cohorts], [y for _, y in cohorts], list(range(3)))
    fresh, truth = make_state_bags(200, 0.0, 99)
    assert 0.4 < np.mean([roc_auc_score(truth, own.logits(fresh)) for own in heads]) < 0.6
    assert all(own.inner_loss < 0.75 for own in heads)


def test_fixed_effects_enter_every_prediction(make_state_bags: Make) -> None:
    bags, labels = make_state_bags(60, 0.0, 1)
    rng = np.random.default_rng(0)
    known = replace(
        bags, extras=labels[:, None] + rng.normal(0, 0.5, (60, 1)), extra_names=["burden"]
    )
    fitted = HEAD.fit(known, labels, 1)
    assert roc_auc_score(labels, fitted.inner_logits) > 0.85
    more = fitted.logits(replace(known, extras=known.extras + 0.5))
    assert (more >= fitted.logits(known)).all()
    assert (more > fitted.logits(known)).mean() > 0.5
    # by name, and a patient without it gets the mean
    lacking = replace(known, extras=np.full((60, 1), np.nan))
    other = replace(known, extra_names=["other"])
    np.testing.assert_array_equal(fitted.logits(other), fitted.logits(lacking))
    assert np.isfinite(fitted.logits(other)).all()


def test_intervals_hold_the_truth_as_often_as_they_say() -> None:
    """Effects drawn from the prior that the head is given: the posterior is then calibrated."""
    inside, widths = [], []
    head = MixedHead(strengths=[1.0], weightings=[INF], cells=30, inner_folds=2)
    for seed in range(40):
        rng = np.random.default_rng(seed)
        bags = BagLatents(
            latents=[rng.normal(size=(30, 4)) + 2 * rng.normal(size=4) for _ in range(80)],
            extras=np.zeros((80, 0)),
            extra_names=[],
            patients=np.arange(80),
        )
        scale = np.sqrt(np.mean([((z - _mean(bags)) ** 2).mean(0) for z in bags.latents], 0))
        means = np.stack([z.mean(0) for z in bags.latents])
        # on the head's own scale: standardised cells over the root of what is read of a cell
        logit = (means - _mean(bags)) / scale / np.sqrt(5) @ rng.normal(size=4)
        labels = (rng.random(80) < 1 / (1 + np.exp(-logit))).astype(int)
        interval = head.fit(bags, labels, seed).interval(bags, 0.8)
        p = 1 / (1 + np.exp(-logit))
        inside.append(np.mean((interval[:, 0] <= p) & (p <= interval[:, 1])))
        widths.append(np.mean(interval[:, 1] - interval[:, 0]))
    assert 0.72 < np.mean(inside) < 0.88
    assert 0 < np.mean(widths) < 0.6


def _mean(bags: BagLatents) -> np.ndarray:
    return np.mean([z.mean(0) for z in bags.latents], axis=0)


def test_an_interval_holds_the_prediction_and_grows_with_its_level(make_state_bags: Make) -> None:
    bags, labels = make_state_bags(40, 1.5, 1)
    fitted = HEAD.fit(bags, labels, 1)
    p = 1 / (1 + np.exp(-fitted.logits(bags)))
    narrow, wide = fitted.interval(bags, 0.5), fitted.interval(bags, 0.95)
    assert (narrow[:, 0] < p).all()
    assert (p < narrow[:, 1]).all()
    assert (wide[:, 0] < narrow[:, 0]).all()
    assert (narrow[:, 1] < wide[:, 1]).all()
    assert ((wide >= 0) & (wide <= 1)).all()
    for level in (0.0, 1.0, 90.0):
        with pytest.raises(ValueError, match="between 0 and 1"):
            fitted.interval(bags, level)


def test_a_restored_head_has_the_same_intervals(make_state_bags: Make) -> None:
    bags, labels = make_state_bags(30, 1.5, 1)
    fitted = HEAD.fit(bags, labels, 1)
    again = HEAD.restore(fitted.state())
    np.testing.assert_array_equal(again.interval(bags, 0.9), fitted.interval(bags, 0.9))


def test_unknown_tokens_are_left_out(make_state_bags: Make) -> None:
    bags, labels = make_state_bags(24, 2.0, 1)
    tokens = [Token("pre", 0, "blood", ""), Token("post", 1, "blood", "")]
    rows = [np.arange(len(z)) % 2 for z in bags.latents]
    known = replace(bags, tokens=tokens, token_of_cell=rows)
    fitted = HEAD.fit(known, labels, 1)
    later = replace(known, tokens=[tokens[0], Token("later", 2, "blood", "")])
    only = replace(
        known,
        latents=[z[::2] for z in bags.latents],
        token_of_cell=[np.zeros(len(z[::2]), dtype=np.int64) for z in bags.latents],
    )
    np.testing.assert_allclose(fitted.logits(later), fitted.logits(only), rtol=1e-9)
    foreign = replace(known, tokens=[Token("x", 0, "", ""), Token("y", 1, "", "")])
    assert np.ptp(fitted.logits(foreign)) == 0


def test_other_endpoints_are_refused(make_state_bags: Make) -> None:
    bags, labels = make_state_bags(12, 1.0, 0)
    with pytest.raises(ValueError, match="binary"):
        HEAD.fit(bags, labels * 3, 1)
