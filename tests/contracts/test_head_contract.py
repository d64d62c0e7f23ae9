"""What every response head holds to; heads are found, not listed."""

from __future__ import annotations

import importlib
import inspect
import json
import pkgutil
import re
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from safetensors.torch import load_file, save_file
from sklearn.metrics import roc_auc_score

import recart.training
from recart.inference.bundle.plain_tree import Shelf
from recart.inference.bundle.shareable import without_scores
from recart.training.attention_head import AttentionHead
from recart.training.cell_attention_head import CellAttentionHead
from recart.training.cell_attention_training import CellTraining
from recart.training.checkpoints import load_checkpoint, save_checkpoint
from recart.training.ensemble_head import EnsembleHead
from recart.training.heads import BagLatents, ChosenHead, FittedHead, Head
from recart.training.mixed_head import MixedHead
from recart.training.prototype_head import PrototypeHead
from recart.training.readouts import ReadoutsHead

for _module in pkgutil.iter_modules(recart.training.__path__):
    if _module.name.endswith("_head"):
        importlib.import_module(f"recart.training.{_module.name}")

# one small recipe a class; a head without one fails `test_every_head_is_tried`
PROTOTYPES = PrototypeHead(
    prototypes=3, shrinkage=5.0, cells=600, strengths=[0.1, 1.0], inner_folds=3, use_extras=True
)
RECIPES: dict[type[Head], Head] = {
    PrototypeHead: PROTOTYPES,
    AttentionHead: AttentionHead(
        base=PROTOTYPES,
        hidden=4,
        strengths=[0.3],
        epochs=20,
        lr=0.03,
        dropout=0.2,
        inner_folds=2,
    ),
    CellAttentionHead: CellAttentionHead(
        training=CellTraining(hidden=6, views=2, cells=30, bags=6, lr=0.05, weight_decay=0.1),
        epochs=20,
        inner_folds=3,
    ),
    MixedHead: MixedHead(
        strengths=[0.1, 1.0], weightings=[float("inf"), 1.0], cells=30, inner_folds=3
    ),
    EnsembleHead: EnsembleHead(
        heads={"three": PROTOTYPES, "two": replace(PROTOTYPES, prototypes=2, fine_prototypes=4)}
    ),
}
heads = pytest.mark.parametrize("head", RECIPES.values(), ids=lambda own: type(own).__name__)


def _bags(n: int = 12, seed: int = 0, extras: int = 2) -> tuple[BagLatents, np.ndarray]:
    rng = np.random.default_rng(seed)
    labels = np.arange(n) % 2
    latents = [
        rng.normal(size=(int(rng.integers(15, 40)), 3)).astype(np.float32) + 0.8 * label
        for label in labels
    ]
    table = rng.normal(size=(n, extras))
    table[::3] = np.nan
    names = [f"extra{i}" for i in range(extras)]
    return BagLatents(
        latents=latents, extras=table, extra_names=names, patients=np.arange(n)
    ), labels


def _take(bags: BagLatents, rows: list[int]) -> BagLatents:
    return replace(
        bags,
        latents=[bags.latents[i] for i in rows],
        extras=bags.extras[rows],
        patients=bags.patients[rows],
    )


def _fit(head: Head, seed: int = 0) -> tuple[FittedHead, BagLatents, np.ndarray]:
    bags, labels = _bags()
    return head.fit(bags, labels, seed), bags, labels


def test_every_head_is_tried() -> None:
    found = {own for own in Head.__subclasses__() if not inspect.isabstract(own)}
    # one that is made of others, for several endpoints: tests/training/test_endpoints.py
    assert found - {ReadoutsHead} == set(RECIPES)


@heads
def test_shapes_and_finite_numbers(head: Head) -> None:
    fitted, bags, labels = _fit(head)
    logits = fitted.logits(bags)
    assert logits.shape == (12,)
    assert np.isfinite(logits).all()
    features, names = fitted.embedding(bags)
    assert features.shape == (12, len(names))
    assert len(set(names)) == len(names)
    inner = fitted.inner_logits
    assert inner.shape == (12,)
    assert np.isfinite(fitted.inner_loss)
    # they are the logits that the loss is of
    loss = np.logaddexp(0, inner) - labels * inner
    assert fitted.inner_loss == pytest.approx(loss.mean())
    assert fitted.inner_loss > 0
    # the classes differ by 0.8 standard deviations in every cell
    assert logits[labels == 1].min() > logits[labels == 0].max()


@heads
def test_a_bag_scores_the_same_in_any_company(head: Head) -> None:
    fitted, bags, _ = _fit(head)
    together = fitted.logits(bags)
    for rows in ([4], [7, 4, 0]):
        np.testing.assert_array_equal(fitted.logits(_take(bags, rows)), together[rows])


@heads
def test_order_of_cells_does_not_matter(head: Head) -> None:
    fitted, bags, _ = _fit(head)
    rng = np.random.default_rng(1)
    shuffled = replace(bags, latents=[rng.permutation(z) for z in bags.latents])
    np.testing.assert_allclose(fitted.logits(shuffled), fitted.logits(bags), atol=1e-9)


@heads
def test_a_fit_repeats_to_the_bit(head: Head) -> None:
    one, bags, _ = _fit(head)
    two, _, _ = _fit(head)
    np.testing.assert_array_equal(one.logits(bags), two.logits(bags))
    assert one.inner_loss == two.inner_loss


@heads
def test_a_head_fitted_in_company_equals_the_head_fitted_alone(head: Head) -> None:
    # of different patients, numbers of bags, labels and seeds; two differ in their labels only
    first, second = _bags(12, seed=1), _bags(17, seed=2)
    bags = [first[0], second[0], first[0], _take(second[0], list(range(14)))]
    labels = [first[1], second[1], np.roll(first[1], 5) ^ (np.arange(12) < 2), second[1][:14]]
    seeds = [3, 4, 3, 5]
    together = head.fit_stack(bags, labels, seeds)
    for fitted, own, y, seed in zip(together, bags, labels, seeds, strict=True):
        alone = head.fit(own, y, seed)
        np.testing.assert_allclose(fitted.logits(own), alone.logits(own), rtol=1e-6, atol=1e-8)
        # what a head has trained of it is equal to rounding, as its logits are
        np.testing.assert_allclose(fitted.embedding(own)[0], alone.embedding(own)[0], rtol=1e-9)
        assert fitted.inner_loss == pytest.approx(alone.inner_loss, rel=1e-7)


@heads
def test_state_survives_a_checkpoint(head: Head, tmp_path: Path) -> None:
    fitted, bags, _ = _fit(head)
    save_checkpoint({"head": fitted.state()}, tmp_path / "head.ckpt")
    restored = head.restore(load_checkpoint(tmp_path / "head.ckpt")["head"])
    np.testing.assert_array_equal(restored.logits(bags), fitted.logits(bags))
    np.testing.assert_array_equal(restored.embedding(bags)[0], fitted.embedding(bags)[0])
    assert restored.embedding(bags)[1] == fitted.embedding(bags)[1]
    assert restored.inner_loss == fitted.inner_loss


@heads
def test_one_cell_and_no_extras(head: Head) -> None:
    fitted, bags, _ = _fit(head)
    one = replace(
        bags, latents=[z[:1] for z in bags.latents], extras=np.full_like(bags.extras, np.nan)
    )
    assert np.isfinite(fitted.logits(one)).all()
    bare, labels = _bags(extras=0)
    assert np.isfinite(head.fit(bare, labels, 0).logits(bare)).all()


@heads
def test_an_extra_that_was_never_measured_has_no_weight(head: Head) -> None:
    bags, labels = _bags()
    extras = bags.extras.copy()
    extras[:, 1] = np.nan
    unmeasured = replace(bags, extras=extras)
    fitted = head.fit(unmeasured, labels, 0)
    later = extras.copy()
    later[:, 1] = 1e6
    np.testing.assert_array_equal(
        fitted.logits(replace(bags, extras=later)), fitted.logits(unmeasured)
    )


@heads
def test_a_head_reads_what_it_says_it_reads(head: Head) -> None:
    bags, labels = _bags()
    rng = np.random.default_rng(1)
    told = 3.0 * labels + rng.normal(size=12)
    alone = head.fit(bags, labels, 0).logits(bags)
    marked = replace(
        bags,
        markers=[
            (rng.normal(size=(len(z), 1)) + own).astype(np.float32)
            for z, own in zip(bags.latents, told, strict=True)
        ],
        marker_names=["gene:GZMB"],
    )
    extended = replace(bags, extras=bags.extras + told[:, None])
    for more, reads in ((marked, head.reads_markers), (extended, head.reads_extras)):
        assert np.allclose(head.fit(more, labels, 0).logits(more), alone) != reads


@heads
def test_labels_of_the_other_class_only_flip_the_sign(head: Head) -> None:
    fitted, bags, labels = _fit(head)
    flipped = head.fit(bags, 1 - labels, 0)
    np.testing.assert_allclose(flipped.logits(bags), -fitted.logits(bags), atol=1e-5)


# with more to choose from: what is chosen on the labels it is then judged by looks like knowledge
WIDE: dict[type[Head], Head] = {
    **RECIPES,
    AttentionHead: replace(
        RECIPES[AttentionHead], strengths=[0.03, 0.3, 3.0], epochs=60, inner_folds=3
    ),
    CellAttentionHead: CellAttentionHead(
        training=CellTraining(hidden=6, views=1, cells=20, bags=20, lr=0.2, weight_decay=0.1),
        epochs=8,
        inner_folds=3,
    ),
    MixedHead: MixedHead(
        strengths=[0.01, 0.1, 1.0, 10.0],
        weightings=[float("inf"), 1.0, 0.1],
        cells=30,
        inner_folds=3,
    ),
}
WIDE[EnsembleHead] = EnsembleHead(heads={"prototypes": PROTOTYPES, "mixed": WIDE[MixedHead]})


@pytest.mark.slow
@pytest.mark.parametrize("head", WIDE.values(), ids=lambda own: type(own).__name__)
def test_inner_logits_of_noise_claim_nothing(head: Head) -> None:
    rng = np.random.default_rng(0)
    latents = [rng.normal(rng.normal(0, 0.5, 3), 1, (30, 3)).astype(np.float32) for _ in range(30)]
    bags = BagLatents(
        latents=latents, extras=np.zeros((30, 0)), extra_names=[], patients=np.arange(30)
    )
    labels = [rng.permutation(np.arange(30) % 2) for _ in range(24)]
    heads = head.fit_stack([bags] * 24, labels, [0] * 24)
    # who knows nothing has no less loss than a coin, .693; chosen on the same folds .67 to .686
    assert np.mean([own.inner_loss for own in heads]) > 0.687
    aurocs = [roc_auc_score(y, own.inner_logits) for y, own in zip(labels, heads, strict=True)]
    assert np.mean(aurocs) < 0.55


@heads
def test_one_class_is_refused(head: Head) -> None:
    bags, labels = _bags()
    with pytest.raises(ValueError, match="class"):
        head.fit(bags, np.zeros_like(labels), 0)


@heads
def test_a_bundle_gives_it_back_to_the_bit_without_its_patients(head: Head, tmp_path: Path) -> None:
    fitted, bags, _ = _fit(head)
    shelf = Shelf()
    text = json.dumps(shelf.put(without_scores(fitted.state()), "head"), allow_nan=False)
    save_file(shelf.tensors, tmp_path / "weights.safetensors")
    tensors = {n: own.clone() for n, own in load_file(tmp_path / "weights.safetensors").items()}
    again = Shelf.of(tensors, shelf.words)
    restored = head.restore(again.take(json.loads(text)))
    np.testing.assert_array_equal(restored.logits(bags), fitted.logits(bags))
    np.testing.assert_array_equal(restored.embedding(bags)[0], fitted.embedding(bags)[0])
    assert restored.embedding(bags)[1] == fitted.embedding(bags)[1]
    # what a development bag was given by inner folds is not told
    assert not restored.inner_logits.size
    if isinstance(fitted, ChosenHead):
        assert isinstance(restored, ChosenHead)
        assert restored.fitted_bags == fitted.fitted_bags == len(bags.latents)
    told = {float(number) for number in fitted.inner_logits}
    assert not told & {float(own) for own in re.findall(r"-?[0-9]+[.][0-9]+(?:e-?[0-9]+)?", text)}
    for name, tensor in shelf.tensors.items():
        assert not told & set(tensor.double().flatten().tolist()), name
