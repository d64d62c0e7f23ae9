"""The default head: exact, honest inside, the same for a bag in any company."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from recart.models.prototypes import Prototypes, centred_log_ratio, shrunken_means
from recart.models.ridge_logistic import fit_ridge_logistic
from recart.training.head_problems import rows_of
from recart.training.heads import BagLatents
from recart.training.prototype_head import PrototypeHead

HEAD = PrototypeHead(
    prototypes=4,
    shrinkage=5.0,
    cells=2000,
    strengths=[0.01, 0.1, 1.0, 10.0],
    inner_folds=4,
    use_extras=True,
)


def _bags(n: int, signal: float, seed: int = 0) -> tuple[BagLatents, np.ndarray]:
    """Bags whose share of cells around one of three centres differs by label."""
    rng = np.random.default_rng(seed)
    labels = np.arange(n) % 2
    centres = np.array([[3.0, 0, 0], [0, 3.0, 0], [0, 0, 3.0]])
    latents = []
    for label in labels:
        logits = rng.normal(0, 0.5, 3) + np.array([signal * label, 0, 0])
        kind = rng.choice(3, 150, p=np.exp(logits) / np.exp(logits).sum())
        latents.append((centres[kind] + rng.normal(0, 0.5, (150, 3))).astype(np.float32))
    extras = rng.normal(size=(n, 2))
    extras[::5, 1] = np.nan
    return (
        BagLatents(latents=latents, extras=extras, extra_names=["x", "y"], patients=np.arange(n)),
        labels,
    )


def _take(bags: BagLatents, rows: list[int]) -> BagLatents:
    return BagLatents(
        latents=[bags.latents[i] for i in rows],
        extras=bags.extras[rows],
        extra_names=bags.extra_names,
        patients=bags.patients[rows],
    )


def test_finds_a_planted_composition_and_nothing_in_noise() -> None:
    from sklearn.metrics import roc_auc_score

    aurocs = {}
    for signal in (2.0, 0.0):
        bags, labels = _bags(120, signal)
        train, test = list(range(60)), list(range(60, 120))
        head = HEAD.fit(_take(bags, train), labels[train], seed=1)
        aurocs[signal] = roc_auc_score(labels[test], head.logits(_take(bags, test)))
    assert aurocs[2.0] > 0.9
    assert 0.3 < aurocs[0.0] < 0.7


def test_whether_a_covariate_was_measured_is_read_at_its_own_strength() -> None:
    """LDH was measured in responders mostly; its values, and all cells, are noise."""
    from dataclasses import replace

    from sklearn.metrics import roc_auc_score

    rng = np.random.default_rng(5)
    bags, labels = _bags(140, 0.0)
    table = rng.normal(size=(140, 2))
    asked = rng.random(140) < np.where(labels == 1, 0.95, 0.05)
    table[~asked, 0] = np.nan
    bags = replace(bags, extras=table, extra_names=["LDH", "age"], extra_groups=["covariates"] * 2)
    rows = [np.arange(40), np.arange(40, 140)]
    fitted = HEAD.fit(rows_of(bags, rows[0]), labels[rows[0]], 1)
    fresh = rows_of(bags, rows[1])
    assert roc_auc_score(labels[rows[1]], fitted.logits(fresh)) > 0.8
    # a number that is not there is no mean: only that it is missing tells
    given = replace(fresh, extras=np.where(np.isnan(fresh.extras), 0.0, fresh.extras))
    assert roc_auc_score(labels[rows[1]], fitted.logits(given)) < 0.65
    values, names = fitted.embedding(fresh)
    missing = values[:, names.index("covariates:LDH:missing")]
    np.testing.assert_array_equal(missing, np.isnan(fresh.extras[:, 0]))
    assert "covariates" in fitted.chosen["strengths"]
    assert fitted.chosen["shares"]["covariates"] == max(fitted.chosen["shares"].values())


def test_a_bag_alone_scores_as_in_company_exactly() -> None:
    bags, labels = _bags(30, 1.0)
    head = HEAD.fit(bags, labels, seed=1)
    together = head.logits(bags)
    alone = np.array([head.logits(_take(bags, [i]))[0] for i in range(30)])
    np.testing.assert_array_equal(together, alone)


def test_order_of_cells_does_not_matter_and_one_cell_bags_work() -> None:
    bags, labels = _bags(30, 1.0)
    head = HEAD.fit(bags, labels, seed=1)
    turned = BagLatents(
        latents=[z[::-1].copy() for z in bags.latents],
        extras=bags.extras,
        extra_names=bags.extra_names,
        patients=bags.patients,
    )
    np.testing.assert_allclose(head.logits(turned), head.logits(bags), atol=1e-10)
    single = BagLatents(
        latents=[bags.latents[0][:1]],
        extras=bags.extras[:1],
        extra_names=["x", "y"],
        patients=np.zeros(1),
    )
    assert np.isfinite(head.logits(single)).all()


def test_state_restores_the_same_head() -> None:
    bags, labels = _bags(30, 1.0)
    head = HEAD.fit(bags, labels, seed=1)
    np.testing.assert_array_equal(HEAD.restore(head.state()).logits(bags), head.logits(bags))


def test_inner_folds_keep_patients_whole_and_repeat_in_seed() -> None:
    bags, labels = _bags(30, 1.0)
    first, second = (HEAD.fit(bags, labels, seed=3).state() for _ in range(2))
    assert torch.equal(first["coefficients"], second["coefficients"])
    assert torch.equal(first["features"]["centres"][0], second["features"]["centres"][0])
    assert first["chosen"] == second["chosen"]


def test_newton_matches_scikit_learn() -> None:
    from sklearn.linear_model import LogisticRegression

    rng = np.random.default_rng(0)
    for n, f in ((40, 6), (20, 60)):
        x = rng.normal(size=(n, f))
        y = (x[:, 0] + rng.normal(size=n) > 0).astype(float)
        for strength in (0.05, 1.0, 20.0):
            coefficients, intercept = fit_ridge_logistic(
                torch.from_numpy(x)[None],
                torch.from_numpy(y)[None],
                torch.ones(1, n),
                torch.tensor([[strength]]),
            )
            reference = LogisticRegression(C=1 / strength, tol=1e-10, max_iter=10_000).fit(x, y)
            np.testing.assert_allclose(coefficients[0, 0], reference.coef_[0], atol=1e-4)
            np.testing.assert_allclose(intercept[0, 0], reference.intercept_[0], atol=1e-4)


def test_newton_ignores_rows_of_weight_zero_and_refuses_one_class() -> None:
    rng = np.random.default_rng(0)
    x, y = torch.from_numpy(rng.normal(size=(1, 30, 5))), torch.arange(30.0)[None] % 2
    weight = torch.ones(1, 30)
    weight[:, 20:] = 0
    strength = torch.tensor([[0.5]])
    part = fit_ridge_logistic(x[:, :20], y[:, :20], weight[:, :20], strength)
    whole = fit_ridge_logistic(x, y, weight, strength)
    torch.testing.assert_close(part, whole)
    with pytest.raises(ValueError, match="one class"):
        fit_ridge_logistic(x, torch.ones_like(y), weight, strength)


def test_shares_and_means_equal_their_formulas() -> None:
    rng = np.random.default_rng(0)
    centres = rng.normal(size=(3, 2))
    z = rng.normal(size=(11, 2))
    weight = Prototypes(centres_kl=torch.from_numpy(centres), width=0.7).assign(torch.from_numpy(z))
    distance = ((z[:, None] - centres[None]) ** 2).sum(-1)
    expected = np.exp(-distance / 1.4)
    expected /= expected.sum(1, keepdims=True)
    np.testing.assert_allclose(weight, expected)
    mass = expected.sum(0)
    log = np.log(mass + 0.5)
    np.testing.assert_allclose(centred_log_ratio(torch.from_numpy(mass)), log - log.mean())
    usual = rng.normal(size=(3, 2))
    means = shrunken_means(
        torch.from_numpy(expected.T @ z),
        torch.from_numpy(np.repeat(mass[:, None], 2, 1)),
        torch.from_numpy(usual),
        4.0,
    )
    by_hand = (expected[:, :, None] * (z[:, None] - usual[None])).sum(0) / (mass + 4.0)[:, None]
    np.testing.assert_allclose(means, by_hand)
