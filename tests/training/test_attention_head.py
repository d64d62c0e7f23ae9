"""The attention head: the base at step 0, more where there is more, nothing in noise."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest
import torch
from sklearn.metrics import roc_auc_score

from recart.models.gated_attention import GatedAttention, attention_parameters
from recart.training.attention_head import AttentionHead, AttentionResidual
from recart.training.attention_residual import ResidualTraining
from recart.training.head_problems import head_problems, rows_of
from recart.training.heads import BagLatents, Token
from recart.training.mixed_head import MixedHead
from recart.training.prototype_head import PrototypeHead
from recart.training.prototype_tokens import PrototypeTokens, TokenScaling, tokens_of
from recart.training.residual_choice import choose_residual

Make = Callable[..., tuple[BagLatents, np.ndarray]]

# prototypes of four populations: the base sees their means, and not how they spread over patients
BASE = PrototypeHead(
    prototypes=4,
    shrinkage=5.0,
    cells=4000,
    strengths=[0.01, 0.1, 1.0, 10.0],
    inner_folds=4,
    use_extras=True,
)
HEAD = AttentionHead(
    base=BASE, hidden=8, strengths=[0.3], epochs=100, lr=0.03, dropout=0.1, inner_folds=3
)
TOKENS = [Token("pre", 0, "blood", ""), Token("post", 1, "blood", "")]


def _with_tokens(bags: BagLatents) -> BagLatents:
    """Half of each bag before and half after; every fourth bag has no cells after."""
    rows = [
        np.zeros(len(z), dtype=np.int64) if n % 4 == 3 else np.arange(len(z)) % 2
        for n, z in enumerate(bags.latents)
    ]
    return replace(bags, tokens=TOKENS, token_of_cell=rows)


def _residual(head: AttentionHead, bags: BagLatents, labels: np.ndarray) -> AttentionResidual:
    """An untrained residual, and with a readout of ones."""
    base = BASE.fit(bags, labels, 1)
    tokens = PrototypeTokens(prototypes=base.prototypes, view=base.view, tokens=tokens_of(bags))
    x, mask = tokens.pool(bags)
    scaling = TokenScaling.fit(x, mask, np.arange(len(labels)))
    inputs = tokens.instances(x, mask, scaling)[0].shape[-1]
    network = GatedAttention([1], inputs, head.training.width(inputs))
    return AttentionResidual(tokens=tokens, scaling=scaling, network=network)


def test_before_the_first_step_it_predicts_what_the_base_predicts(make_state_bags: Make) -> None:
    bags, labels = make_state_bags(24, 1.0, 0)
    base = BASE.fit(bags, labels, 1)
    fitted = replace(HEAD, epochs=5, lr=1e-6).fit(bags, labels, 1)
    assert fitted.residual is None
    np.testing.assert_array_equal(fitted.logits(bags), fitted.base.logits(bags))
    np.testing.assert_array_equal(fitted.inner_logits, fitted.base.inner_logits)
    # the base that is fitted beside those of the inner folds is the one fitted alone, to rounding
    np.testing.assert_allclose(fitted.logits(bags), base.logits(bags), rtol=1e-12, atol=1e-12)
    # and so does one with its network in place
    started = replace(fitted, residual=_residual(HEAD, bags, labels))
    np.testing.assert_array_equal(started.logits(bags), fitted.base.logits(bags))
    with torch.no_grad():
        started.residual.network.readout.fill_(1.0)
    assert np.abs(started.logits(bags) - base.logits(bags)).min() > 1e-3


def test_it_finds_what_the_base_can_not_see(make_state_bags: Make) -> None:
    bags, labels = make_state_bags(120, 1.5, 1, symmetric=True)
    fresh, truth = make_state_bags(200, 1.5, 2, symmetric=True)
    fitted = HEAD.fit(bags, labels, 1)
    assert fitted.residual is not None
    found = roc_auc_score(truth, fitted.logits(fresh))
    of_base = roc_auc_score(truth, fitted.base.logits(fresh))
    assert found > 0.8
    assert found > of_base + 0.1
    # what the inner folds say is what fresh patients say
    assert abs(roc_auc_score(labels, fitted.inner_logits) - found) < 0.12
    attention, names = fitted.attention(fresh)
    assert attention.shape == (200, 1, 4)
    assert names == [""]
    np.testing.assert_allclose(attention.sum((1, 2)), 1)


def test_noise_leaves_the_residual_at_zero(make_state_bags: Make) -> None:
    cohorts = [make_state_bags(40, 0.0, seed) for seed in range(4)]
    seeds = list(range(4))
    fitted = HEAD.fit_stack([b for b, _ in cohorts], [y for _, y in cohorts], seeds)
    assert sum(own.residual is None for own in fitted) >= 3
    fresh, truth = make_state_bags(200, 0.0, 99)
    aurocs = [roc_auc_score(truth, own.logits(fresh)) for own in fitted]
    assert 0.4 < np.mean(aurocs) < 0.6
    alone = [own for own in fitted if own.residual is None]
    for kept in alone:
        assert kept.inner_loss == kept.base.inner_loss
        np.testing.assert_array_equal(kept.inner_logits, kept.base.inner_logits)
    with pytest.raises(ValueError, match="base alone"):
        kept.attention(fresh)


@pytest.mark.slow
def test_a_member_with_a_residual_is_the_same_alone_and_restored(make_state_bags: Make) -> None:
    sizes = {1: 60, 2: 50}
    cohorts = [make_state_bags(n, 1.5, seed, symmetric=True) for seed, n in sizes.items()]
    bags = [_with_tokens(own) for own, _ in cohorts]
    labels = [y for _, y in cohorts]
    short = replace(HEAD, epochs=60)
    together = short.fit_stack(bags, labels, [5, 6])
    assert any(own.residual is not None for own in together)
    for own, b, y, seed in zip(together, bags, labels, (5, 6), strict=True):
        alone = short.fit(b, y, seed)
        np.testing.assert_allclose(own.logits(b), alone.logits(b), rtol=1e-8, atol=1e-10)
        np.testing.assert_allclose(own.inner_logits, alone.inner_logits, rtol=1e-8, atol=1e-10)
        again = short.restore(own.state())
        np.testing.assert_array_equal(again.logits(b), own.logits(b))
        np.testing.assert_array_equal(short.fit(b, y, seed).logits(b), alone.logits(b))


def test_labels_of_a_fold_do_not_enter_its_logits(make_state_bags: Make) -> None:
    bags, labels = make_state_bags(60, 1.5, 1, symmetric=True)
    folds = [own for own in head_problems([bags], [labels], [1], 3) if len(own.test)]
    bases = HEAD._bases(folds, [bags], [labels], [1])
    for own, base in zip(folds, bases, strict=True):
        poisoned = labels.copy()
        poisoned[own.test] = 1 - poisoned[own.test]
        (again,) = HEAD._bases([own], [bags], [poisoned], [1])
        np.testing.assert_allclose(again.logits(bags), base.logits(bags), rtol=1e-9)


def test_labels_of_a_fold_choose_no_residual_for_it() -> None:
    rng = np.random.default_rng(0)
    y, tests = np.arange(60) % 2, [np.arange(fold, 60, 10) for fold in range(10)]
    path = np.linspace(0, 2, 7)[None, :, None] * (y - 0.5) + rng.normal(0, 0.3, (2, 7, 60))
    path[:, 0] = 0.0
    chosen = choose_residual(path, y, [0.3, 3.0], tests)
    assert chosen.epochs > 0
    for test in tests:
        assert np.isfinite(chosen.logits[test]).all()
        other = y.copy()
        other[test] = 1 - other[test]
        again = choose_residual(path, other, [0.3, 3.0], tests)
        assert again.epochs > 0
        np.testing.assert_array_equal(again.logits[test], chosen.logits[test])
        assert again.gain != chosen.gain


def test_better_than_a_bad_base_is_not_good() -> None:
    rng = np.random.default_rng(0)
    y = np.arange(48) % 2
    tests = [np.arange(fold, 48, 4) for fold in range(4)]
    wrong = rng.normal(0, 2.0, 48)  # of a base that was sure of nothing
    steps = np.linspace(1, 0.4, 5)[None, :, None]
    chosen = choose_residual(steps * wrong, y, [0.3], tests)
    assert chosen.gain > 0.1
    assert chosen.epochs == 0
    assert np.isnan(chosen.logits).all()


def test_the_least_of_many_must_be_found_by_other_patients_too() -> None:
    """Paths of chance alone: the best of them gains, and what the others would choose does not."""
    y, tests = np.arange(24) % 2, [np.arange(fold, 24, 4) for fold in range(4)]
    taken = flattered = 0
    for seed in range(40):
        rng = np.random.default_rng(seed)
        path = np.cumsum(rng.normal(0, 0.25, (6, 21, 24)), axis=1)
        path[:, 0] = 0.0
        chosen = choose_residual(path, y, [1.0] * 6, tests)
        losses = np.log1p(np.exp(np.where(y == 1, -path, path)))
        gains = losses[:, :1] - losses
        best = gains[np.unravel_index(gains.mean(-1).argmax(), gains.shape[:2])]
        flattered += best.mean() > best.std(ddof=1) / np.sqrt(24)
        taken += chosen.epochs > 0
    assert flattered > 20
    assert taken < flattered / 2


def test_without_a_residual_the_base_alone_speaks_for_every_fold(make_state_bags: Make) -> None:
    """Also where some folds, without their own labels, would have chosen a residual."""
    y, tests = np.arange(24) % 2, [np.arange(fold, 24, 4) for fold in range(4)]
    bags, labels = make_state_bags(24, 0.0, 0)
    base = BASE.fit(bags, labels, 1)
    alone = 0
    for seed in range(40):
        rng = np.random.default_rng(seed)
        path = np.cumsum(rng.normal(0, 0.25, (6, 21, 24)), axis=1)
        path[:, 0] = 0.0
        chosen = choose_residual(path, y, [1.0] * 6, tests)
        if chosen.epochs:
            continue
        alone += 1
        record = chosen.record(base, labels)
        assert record["inner_log_loss"] == base.inner_loss
        np.testing.assert_array_equal(record["inner_logits"], base.inner_logits)
    assert alone > 20


def test_a_network_stays_under_five_thousand_parameters() -> None:
    training = ResidualTraining(hidden=64, lr=0.01, dropout=0.0, every=5)
    for inputs in (10, 80, 400, 2400):
        assert attention_parameters(inputs, training.width(inputs)) < 5000
    assert training.width(10) == 46
    assert replace(training, hidden=8).width(10) == 8


def test_tokens_that_a_bag_lacks_are_masked_and_pairs_give_a_change(make_state_bags: Make) -> None:
    bags, labels = make_state_bags(12, 1.0, 0)
    bags = _with_tokens(bags)
    base = BASE.fit(bags, labels, 1)
    tokens = PrototypeTokens(prototypes=base.prototypes, view=base.view, tokens=tokens_of(bags))
    x, mask = tokens.pool(bags)
    assert tokens.names == ["pre blood", "post blood", "change blood"]
    assert mask[0].tolist() == [True, True, True]
    assert mask[3].tolist() == [True, False, False]
    torch.testing.assert_close(x[0, 2], x[0, 1] - x[0, 0])
    # the order in which tokens are numbered does not matter, their names do
    turned = replace(bags, tokens=TOKENS[::-1], token_of_cell=[1 - t for t in bags.token_of_cell])
    for part, again in zip(tokens.pool(turned), (x, mask), strict=True):
        torch.testing.assert_close(part, again)
    unknown = replace(bags, tokens=[TOKENS[0], Token("later", 2, "blood", "")])
    assert tokens.pool(unknown)[1][:, 1].sum() == 0


def test_a_bag_of_unknown_tokens_alone_gets_the_logit_of_the_base(make_state_bags: Make) -> None:
    bags, labels = make_state_bags(24, 1.0, 0)
    bags = _with_tokens(bags)
    residual = _residual(HEAD, bags, labels)
    with torch.no_grad():
        residual.network.readout.fill_(1.0)
    foreign = replace(
        bags, tokens=[Token("x", 0, "y", "")], token_of_cell=[t * 0 for t in bags.token_of_cell]
    )
    assert (residual.read(foreign)[0] == 0).all()
    assert (residual.read(bags)[0] != 0).all()


def test_too_few_patients_leave_the_base_alone(make_state_bags: Make) -> None:
    bags, labels = make_state_bags(5, 1.0, 0)
    fitted = HEAD.fit(bags, labels, 1)
    assert fitted.residual is None
    np.testing.assert_array_equal(fitted.logits(bags), BASE.fit(bags, labels, 1).logits(bags))


def test_other_endpoints_and_bases_without_prototypes_are_refused(make_state_bags: Make) -> None:
    bags, labels = make_state_bags(12, 1.0, 0)
    with pytest.raises(ValueError, match="binary"):
        HEAD.fit(bags, labels + 1, 1)
    mixed = MixedHead(strengths=[1.0], weightings=[float("inf")], cells=20, inner_folds=2)
    with pytest.raises(TypeError, match="prototypes"):
        replace(HEAD, base=mixed).fit(bags, labels, 1)


def test_some_bags_keep_their_cells_and_tokens(make_state_bags: Make) -> None:
    bags = _with_tokens(make_state_bags(6, 1.0, 0)[0])
    some = rows_of(bags, [4, 1])
    assert some.latents[0] is bags.latents[4]
    assert some.token_of_cell[1] is bags.token_of_cell[1]
    np.testing.assert_array_equal(some.patients, [4, 1])
