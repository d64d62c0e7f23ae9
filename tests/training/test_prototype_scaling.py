"""A cell state that only one bag has must not outweigh everything else in that bag."""

from __future__ import annotations

import numpy as np
import pytest

from recart.training.heads import BagLatents
from recart.training.prototype_head import PrototypeHead


def _bags(rng: np.random.Generator, labels: np.ndarray) -> list[np.ndarray]:
    """Three states whose shares follow the label; the last bag has a fourth, far away."""
    centres = np.array([[0.0, 0.0], [4.0, 0.0], [0.0, 4.0]])
    bags = []
    for label in labels:
        share = rng.dirichlet(np.array([8.0, 3.0, 3.0]) if label else np.array([3.0, 8.0, 3.0]))
        kind = rng.choice(3, 150, p=share)
        bags.append((centres[kind] + 0.2 * rng.normal(size=(150, 2))).astype(np.float32))
    own = np.array([30.0, 30.0]) + rng.normal(size=(150, 2))
    bags[-1] = own.astype(np.float32)
    return bags


@pytest.mark.parametrize("seed", range(3))
def test_one_odd_bag_does_not_spoil_the_inner_folds(seed: int) -> None:
    rng = np.random.default_rng(seed)
    labels = np.tile([0, 1], 12)
    latents = _bags(rng, labels)
    head = PrototypeHead(
        prototypes=5,
        shrinkage=20.0,
        cells=5000,
        strengths=[0.003, 0.1, 1.0, 30.0],
        inner_folds=4,
        use_extras=False,
    )

    bags = BagLatents(
        latents=latents, extras=np.zeros((24, 0)), extra_names=[], patients=np.arange(24)
    )
    fitted = head.fit(bags, labels, seed)
    assert fitted.inner_loss < 0.5
    logits = np.abs(fitted.chosen["inner_logits"])
    assert logits[-1] < 2 * logits[:-1].max()


def test_nothing_is_extrapolated() -> None:
    rng = np.random.default_rng(5)
    labels = np.tile([0, 1], 12)
    latents = _bags(rng, labels)[:-1]
    # a share that is small in all training bags, and slightly larger in those of class 1
    extras = 0.005 * rng.random((23, 1)) + 0.003 * labels[:23, None]
    head = PrototypeHead(
        prototypes=4,
        shrinkage=20.0,
        cells=5000,
        strengths=[0.01],
        inner_folds=4,
        use_extras=True,
    )

    def bag(rows: list[int], value: np.ndarray) -> BagLatents:
        return BagLatents(
            latents=[latents[n] for n in rows],
            extras=value,
            extra_names=["share"],
            patients=np.array(rows),
        )

    fitted = head.fit(bag(list(range(23)), extras), labels[:23], seed=0)
    largest = fitted.logits(bag([0], extras.max(keepdims=True)))
    beyond = fitted.logits(bag([0], np.array([[0.9]])))
    unknown = fitted.logits(bag([0], np.array([[np.nan]])))
    assert beyond == largest
    assert unknown < largest
    restored = head.restore(fitted.state())
    assert restored.logits(bag([0], np.array([[0.9]]))) == largest
