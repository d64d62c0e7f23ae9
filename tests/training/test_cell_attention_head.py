"""Attention over cells: finds a state, says where, reads all cells of large bags."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest
from sklearn.metrics import roc_auc_score

from recart.training.attention_deletion import deletion_curve
from recart.training.cell_attention_head import CellAttentionHead, FittedCellAttentionHead
from recart.training.cell_attention_training import CellTraining
from recart.training.cell_views import CellScaling, all_cells, random_views
from recart.training.heads import BagLatents, Token

Make = Callable[..., tuple[BagLatents, np.ndarray]]

HEAD = CellAttentionHead(
    training=CellTraining(hidden=8, views=2, cells=64, bags=16, lr=0.05, weight_decay=0.3),
    epochs=40,
    inner_folds=3,
)
ONE = (Token("", 0, "", ""),)


@pytest.fixture(scope="module")
def fitted(make_state_bags: Make) -> FittedCellAttentionHead:
    return HEAD.fit(*make_state_bags(48, 3.0, 1), 1)


def test_a_state_is_found_in_fresh_bags(
    fitted: FittedCellAttentionHead, make_state_bags: Make
) -> None:
    fresh, truth = make_state_bags(200, 3.0, 2)
    assert roc_auc_score(truth, fitted.logits(fresh)) > 0.85


def test_noise_gives_the_share_of_responders(make_state_bags: Make) -> None:
    cohorts = [make_state_bags(40, 0.0, seed) for seed in range(3)]
    heads = HEAD.fit_stack([b for b, _ in cohorts], [y for _, y in cohorts], list(range(3)))
    fresh, truth = make_state_bags(200, 0.0, 99)
    aurocs = [roc_auc_score(truth, own.logits(fresh)) for own in heads]
    assert 0.4 < np.mean(aurocs) < 0.6
    # the share of responders, log 2, is among what is chosen from
    assert all(min(own.chosen["inner_log_losses"]) < 0.7 for own in heads)
    assert sum(own.chosen["epochs"] == 0 for own in heads) >= 1


def test_deleting_what_it_attends_to_moves_the_logit_more_than_deleting_at_random(
    fitted: FittedCellAttentionHead, make_state_bags: Make
) -> None:
    fresh, _ = make_state_bags(60, 3.0, 2)
    curve = deletion_curve(fitted, fitted, fresh, [0.0, 0.05, 0.2, 0.4], draws=5, seed=0)
    np.testing.assert_allclose(curve.top[0], 0, atol=1e-9)
    np.testing.assert_allclose(curve.random[0], 0, atol=1e-9)
    assert (curve.ratio[1:] > 2).all()
    assert (np.diff(curve.top.mean(1)) > 0).all()


def test_the_deletion_test_does_not_praise_attention_at_random(
    fitted: FittedCellAttentionHead, make_state_bags: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    fresh, _ = make_state_bags(60, 3.0, 2)
    rng = np.random.default_rng(0)
    monkeypatch.setattr(
        FittedCellAttentionHead,
        "attention",
        lambda _, bags: [rng.random(len(z)) for z in bags.latents],
    )
    curve = deletion_curve(fitted, fitted, fresh, [0.2, 0.4], draws=5, seed=0)
    assert (curve.ratio < 1.3).all()


def test_attention_is_of_every_cell_and_the_logit_follows_from_it(
    fitted: FittedCellAttentionHead, make_state_bags: Make
) -> None:
    bags, _ = make_state_bags(6, 3.0, 3)
    for own, z in zip(fitted.attention(bags), bags.latents, strict=True):
        assert own.shape == (len(z),)
        assert own.sum() == pytest.approx(1)
        assert (own > 0).all()


def test_unknown_tokens_are_masked_and_a_bag_of_them_gets_the_prior(make_state_bags: Make) -> None:
    bags, labels = make_state_bags(24, 3.0, 1)
    tokens = [Token("pre", 0, "blood", ""), Token("post", 1, "blood", "")]
    rows = [np.arange(len(z)) % 2 for z in bags.latents]
    known = replace(bags, tokens=tokens, token_of_cell=rows)
    fitted = HEAD.fit(known, labels, 1)
    later = replace(known, tokens=[tokens[0], Token("later", 2, "blood", "")])
    attention = fitted.attention(later)
    assert all((own[1::2] == 0).all() and own[::2].sum() > 0.999 for own in attention)
    only = replace(
        known,
        latents=[z[::2] for z in bags.latents],
        token_of_cell=[np.zeros(len(z[::2]), dtype=np.int64) for z in bags.latents],
    )
    np.testing.assert_allclose(fitted.logits(later), fitted.logits(only), rtol=1e-9)
    foreign = replace(known, tokens=[Token("x", 0, "", ""), Token("y", 1, "", "")])
    np.testing.assert_allclose(fitted.logits(foreign), fitted.prior)
    one = replace(known, latents=[z[:1] for z in bags.latents], token_of_cell=[t[:1] for t in rows])
    assert np.isfinite(fitted.logits(one)).all()


def test_views_differ_where_there_are_more_cells_and_pad_where_there_are_fewer(
    make_state_bags: Make,
) -> None:
    bags, _ = make_state_bags(2, 1.0, 0)
    bags = replace(bags, latents=[bags.latents[0], bags.latents[1][:5]])
    scaling = CellScaling.fit(bags.latents, np.arange(2))
    x, mask = random_views(bags, [0, 1], ONE, scaling, (3, 20), np.random.default_rng(0))
    assert x.shape == (6, 20, 7)
    assert mask.sum(1).tolist() == [20, 20, 20, 5, 5, 5]
    assert not bool((x[0] == x[1]).all())
    assert all(len(np.unique(view, axis=0)) == 20 for view in x[:3].numpy())  # no cell twice
    whole = next(iter(all_cells(bags, 1, ONE, scaling)))[0]
    assert bool((x[3, :5] == whole).all())
    assert bool((x[3, 5:] == 0).all())


def test_evaluation_reads_all_cells_of_a_bag_larger_than_a_chunk(
    fitted: FittedCellAttentionHead,
) -> None:
    rng = np.random.default_rng(0)
    z = rng.normal(size=(20_000, 6)).astype(np.float32)
    bags = BagLatents(latents=[z], extras=np.zeros((1, 0)), extra_names=[], patients=np.arange(1))
    last = replace(bags, latents=[np.concatenate([z[:-1], z[-1:] + 5])])
    assert fitted.logits(last)[0] != fitted.logits(bags)[0]
    turned = replace(bags, latents=[z[::-1].copy()])
    np.testing.assert_allclose(fitted.logits(turned), fitted.logits(bags), atol=1e-9)
