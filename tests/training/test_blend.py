"""The blend finds one informative feature among thousands, and says nothing of noise."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from sklearn.linear_model import Ridge
from sklearn.metrics import roc_auc_score

from recart.training.blend import Blend, fit_blends
from recart.training.endpoints.binary import BinaryEndpoint
from recart.training.inner_folds import inner_folds
from recart.training.inner_problems import inner_problems
from recart.training.null_residuals import null_residuals
from recart.training.ridge_experts import Screen, correlations, fit_expert

STRENGTHS = torch.tensor([0.01, 0.1, 1.0, 10.0], dtype=torch.float64)


def _blends(
    x: np.ndarray,
    groups: np.ndarray,
    labels: list[np.ndarray],
    seed: int = 0,
    simple: int = 0,
    count: int = 5,
) -> list[Blend]:
    folds = [inner_folds(y, np.arange(len(y)), count, seed) for y in labels]
    targets = [torch.from_numpy(y).double() for y in labels]
    return fit_blends(
        torch.from_numpy(x),
        torch.from_numpy(groups),
        2,
        targets,
        folds,
        STRENGTHS,
        BinaryEndpoint(),
        simple,
    )


def _score(blend: Blend, x: np.ndarray) -> np.ndarray:
    scaled = blend.scaling.apply(torch.from_numpy(x))
    return (scaled @ blend.coefficients - blend.centre).numpy()


def test_one_feature_among_thousands_is_found() -> None:
    aurocs, shares = [], []
    for seed in range(3):
        rng = np.random.default_rng(seed)
        y = np.arange(148) % 2
        x = rng.normal(size=(148, 1500))
        x[:, 700] += 2.3 * y
        groups = (np.arange(1500) >= 500).astype(int)
        (blend,) = _blends(x[:48], groups, [y[:48]], seed)
        aurocs.append(roc_auc_score(y[48:], _score(blend, x[48:])))
        shares.append(blend.shares[1])
    assert min(aurocs) > 0.88
    assert min(shares) > 0.9


def test_what_a_few_numbers_show_weakly_is_not_outvoted() -> None:
    """24 patients, a weak signal in each of eight numbers, five groups of noise beside them."""
    aurocs = []
    for seed in range(12):
        rng = np.random.default_rng(seed)
        y = np.arange(224) % 2
        x = rng.normal(size=(224, 8 + 1500))
        x[:, :8] += 0.5 * y[:, None]
        groups = np.concatenate((np.zeros(8, dtype=int), 1 + np.arange(1500) // 300))
        told = [_blends(x[:24], groups, [y[:24]], seed, simple)[0] for simple in (0, 1)]
        aurocs.append([roc_auc_score(y[24:], _score(own, x[24:])) for own in told])
    as_any_other, as_simple = np.mean(aurocs, axis=0)
    assert as_simple > as_any_other + 0.05
    assert as_simple > 0.66


@pytest.mark.parametrize("count", [2, 3, 5])
def test_inner_logits_of_noise_claim_nothing(count: int) -> None:
    rng = np.random.default_rng(0)
    x, groups = rng.normal(size=(30, 400)), np.arange(400) // 100
    labels = [rng.permutation(np.arange(30) % 2) for _ in range(24)]
    blends = _blends(x, groups, labels, count=count)
    aurocs = [roc_auc_score(y, own.inner_logits) for y, own in zip(labels, blends, strict=True)]
    # chosen and weighed on the same inner folds, they would read .60
    assert np.mean(aurocs) < 0.53
    assert np.mean([own.inner_log_loss for own in blends]) > 0.66


@pytest.mark.parametrize("count", [2, 3, 5])
def test_labels_of_the_left_out_fold_never_reach_its_inner_logits(count: int) -> None:
    rng = np.random.default_rng(1)
    x, groups, y = rng.normal(size=(30, 60)), np.arange(60) // 20, np.arange(30) % 2
    folds = inner_folds(y, np.arange(30), count, 0)
    other = y.copy()
    other[folds[1]] = 1 - other[folds[1]]
    targets = [torch.from_numpy(own).double() for own in (y, other)]
    one, two = fit_blends(
        torch.from_numpy(x),
        torch.from_numpy(groups),
        2,
        targets,
        [folds, folds],
        STRENGTHS,
        BinaryEndpoint(),
    )
    first, second = np.array(one.inner_logits)[folds[1]], np.array(two.inner_logits)[folds[1]]
    # the same order; only the unit of all scores, which a slope takes out, may differ
    assert (np.argsort(first) == np.argsort(second)).all()
    assert not np.allclose(one.inner_logits, two.inner_logits)


def test_two_folds_choose_nothing() -> None:
    """Beside a labelling of three folds, which choose as they would alone."""
    rng = np.random.default_rng(1)
    y, groups = np.arange(30) % 2, np.arange(60) // 20
    x = rng.normal(size=(30, 60)) + 1.5 * y[:, None] * (groups == 2)
    folds = [inner_folds(y, np.arange(30), count, 0) for count in (2, 3)]
    given = torch.from_numpy(x), torch.from_numpy(groups), 2
    target = torch.from_numpy(y).double()
    two, three = fit_blends(*given, [target] * 2, folds, STRENGTHS, BinaryEndpoint(), 1)
    (alone,) = fit_blends(*given, [target], folds[1:], STRENGTHS, BinaryEndpoint(), 1)
    # ten for the simple group, one for each screen of the others
    assert two.shares == pytest.approx([10 / 14, 2 / 14, 2 / 14])
    assert two.strengths == [1.0] * 3
    assert three.shares[2] > 0.5
    assert three.inner_logits == pytest.approx(alone.inner_logits)


def test_an_expert_is_ridge_regression_on_the_features_it_keeps() -> None:
    rng = np.random.default_rng(2)
    x = torch.from_numpy(rng.normal(size=(20, 9)))
    weight = torch.ones(1, 20, dtype=torch.float64)
    weight[0, :4] = 0
    y = torch.from_numpy(rng.normal(size=(1, 20)))
    residual = null_residuals(y, weight)
    r = correlations(x, residual, weight)
    for screen in (Screen(0, 0), Screen(2, 5)):
        expert = fit_expert(x, r, residual, weight, screen, STRENGTHS)
        kept = r[0].topk(5).indices if screen.power else torch.arange(9)
        own = (x[:, kept] * (r[0, kept] ** screen.power)).numpy()[4:]
        about = own - own.mean(0)
        square = (about**2).sum(1).mean()
        for s, strength in enumerate(STRENGTHS.tolist()):
            model = Ridge(alpha=strength * square).fit(own, residual[0, 4:].numpy())
            scores = model.predict(own)
            np.testing.assert_allclose(expert.scores_qsn[0, s, 4:], scores, atol=1e-9)
            beta = np.zeros(9)
            beta[kept] = model.coef_ * (r[0, kept] ** screen.power).numpy()
            np.testing.assert_allclose(expert.coefficients(0, s), beta, atol=1e-9)


def test_a_view_is_judged_by_problems_that_left_out_both_folds() -> None:
    folds = [np.arange(0, 3), np.arange(3, 6), np.arange(6, 9)]
    inner = inner_problems([folds, folds[:2]], 10)
    assert inner.nested_p.tolist() == [True, False]
    for view in range(4):
        for n in range(9):
            fitted = inner.weight_qn[inner.judge_pvn[0, view, n]]
            left = {n // 3} | ({view} if view < 3 else set())
            assert {m // 3 for m in range(9) if fitted[m] == 0} == left
    assert (inner.weight_qn[:, 9] == 0).all()
    assert inner.fold_pn[0].tolist() == [0, 0, 0, 1, 1, 1, 2, 2, 2, 0]
    # a labelling with fewer folds has its choice on all of them in the last view too
    assert inner.weight_qn[inner.whole_pv[1, 3]].tolist() == [1.0] * 6 + [0.0] * 4


def test_residuals_of_survival_are_those_of_lifelines_formula() -> None:
    time = torch.tensor([[2.0, 1.0, 3.0, 3.0, 5.0]])
    event = torch.tensor([[1.0, 1.0, 1.0, 0.0, 1.0]])
    weight = torch.tensor([[1.0, 1.0, 1.0, 1.0, 0.0]], dtype=torch.float64)
    residual = null_residuals(torch.stack((time, event), dim=-1), weight)
    # hazards 1/4 at 1, 1/3 at 2, 1/2 at 3
    expected = [1 - 7 / 12, 1 - 1 / 4, 1 - 13 / 12, -13 / 12, 0.0]
    assert residual[0].tolist() == pytest.approx(expected)
    assert float(residual.sum()) == pytest.approx(0.0)
