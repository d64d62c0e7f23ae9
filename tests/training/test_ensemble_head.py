"""Weights follow inner logits: the head that knows weighs more, and noise shares evenly."""

from __future__ import annotations

import numpy as np

from recart.training.ensemble_head import _weights


def test_the_head_that_knows_weighs_more() -> None:
    rng = np.random.default_rng(0)
    y = np.arange(60) % 2
    knows, noise = 3.0 * (y - 0.5) + rng.normal(size=60), rng.normal(size=60)
    weights = _weights(np.stack([knows, noise]), y.astype(float))
    assert weights[0] > 0.9
    assert np.isclose(weights.sum(), 1)
    assert (weights >= 0).all()


def test_equal_heads_share_and_weights_are_where_no_step_gains() -> None:
    rng = np.random.default_rng(1)
    y = (np.arange(40) % 2).astype(float)
    one = 2.0 * (y - 0.5) + rng.normal(size=40)
    np.testing.assert_allclose(_weights(np.stack([one, one]), y), [0.5, 0.5])
    other = 2.0 * (y - 0.5) + rng.normal(size=40)
    x = np.stack([one, other])

    def value(share: float) -> float:
        w = np.array([share, 1 - share])
        logits = w @ x
        loss = np.logaddexp(0, logits) - y * logits
        return float(loss.sum() + 5.0 * ((w - 0.5) ** 2).sum())

    found = _weights(x, y)
    grid = np.linspace(0, 1, 201)
    best = grid[int(np.argmin([value(share) for share in grid]))]
    assert abs(found[0] - best) < 0.02
