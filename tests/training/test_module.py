"""The Lightning module: each member keeps its own best state and stops by its own loss."""

from __future__ import annotations

import logging
import math
import warnings
from collections.abc import Callable
from dataclasses import replace
from itertools import pairwise
from typing import Any

import numpy as np
import pytest
import torch
from torch.utils.data import DataLoader

from recart.contracts import CellBatch, Member
from recart.data.bags import Bags
from recart.data.batches import Blocks, StackBatches
from recart.data.features import FeatureChoice, bind
from recart.data.store import CohortStore
from recart.models.cell_encoder import Posterior
from recart.models.encoder import JointEncoder
from recart.models.masking import Masking
from recart.models.noise import Noise
from recart.models.rna import NegativeBinomial
from recart.models.totalvi import Sizes, TotalVI, TotalVIStack
from recart.training.encoder_training import EncoderTraining
from recart.training.jobs import Recipes, train_encoders
from recart.training.module import StackModule

MODEL = TotalVI(4, 8, JointEncoder(1), 1, 0.1, Masking(0.1), NegativeBinomial())
TRAINING = EncoderTraining(
    epochs=4,
    batch_size=32,
    block=8,
    lr=0.01,
    weight_decay=0.0,
    clip_norm=1.0,
    warmup_epochs=2,
    patience=2,
)
CHOICE = FeatureChoice(n_genes=1000, exclude=[], prior_cells=5)  # all genes: no choice, no scanpy


def _trainer(epochs: int) -> Any:
    import lightning.pytorch as pl

    logging.getLogger("lightning.pytorch").setLevel(logging.WARNING)
    return pl.Trainer(
        max_epochs=epochs,
        accelerator="cpu",
        logger=False,
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
        num_sanity_val_steps=0,
    )


Loaders = tuple[DataLoader[CellBatch], DataLoader[CellBatch]]


def _loaders(
    store: CohortStore, train: list[list[int]], validation: list[list[int]]
) -> tuple[TotalVIStack, Loaders]:
    cells = [np.flatnonzero(store.cells["patient"].isin(own)) for own in train]
    features = [CHOICE.fit(store, own, 0) for own in cells]
    bound = [bind(own, store) for own in features]
    batches = tuple(len(own.spec.batches) for own in features)
    sizes = Sizes(genes=len(store.genes), proteins=7, receptor=6, batches=batches)
    stack = MODEL.stack(sizes, list(range(len(train))))
    for m, own in enumerate(features):
        stack.set_batch_prior(m, torch.from_numpy(own.batch_share))

    def loader(groups: list[list[int]], shuffled: bool) -> DataLoader[CellBatch]:
        blocks = []
        for m, group in enumerate(groups):
            rows = np.flatnonzero(store.samples["patient"].isin(group))
            blocks.append(Blocks([store.sample_slice(int(r)) for r in rows], 8, 32, m))
        return DataLoader(StackBatches(store, bound, blocks, shuffled), batch_size=None)

    return stack, (loader(train, True), loader(validation, False))


@pytest.fixture(autouse=True)
def _third_party() -> Any:
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message=".*training_step.*returned.*None.*")
        yield


def test_best_state_is_that_of_the_best_epoch(
    make_store: Callable[..., CohortStore], take_member: Callable[[CellBatch, int], CellBatch]
) -> None:
    store = make_store(patients=6)
    stack, (train, validation) = _loaders(store, [[0, 1, 2], [3]], [[3], [4, 5]])
    module = StackModule(stack, [0, 1], TRAINING)
    _trainer(TRAINING.epochs).fit(module, train, validation)
    for member in range(2):
        rows = [row for row in module.history if row["member"] == member]
        losses = [-row["elbo_validation"] for row in rows]
        assert module.best_loss_m[member] == min(losses)
        assert module.best_epoch_m[member] == int(np.argmin(losses))
        assert [row["epoch"] for row in rows] == list(range(len(rows)))
        # the state kept gives the loss that was written down
        alone = TotalVIStack(MODEL, replace(stack.sizes, batches=(stack.sizes.batches[member],)), 1)
        alone.load_state_dict(module.best_states[member])
        total = cells = 0.0
        for batch in validation:
            own = take_member(batch, member)
            own = replace(own, batch_mbe=own.batch_mbe[..., : stack.sizes.batches[member]])
            weight = float(own.weight_mb.sum())
            with torch.no_grad():
                loss = alone.loss(alone.terms(own, None), own.weight_mb, 1.0)
            total, cells = total + float(loss[0]) * weight, cells + weight
        assert total / cells == pytest.approx(module.best_loss_m[member], rel=1e-4)


def test_a_member_stops_by_itself_and_then_rests(make_store: Callable[..., CohortStore]) -> None:
    """With a step of no size nothing improves: one member is made to go on."""
    store = make_store(patients=6)
    stack, (train, validation) = _loaders(store, [[0, 1], [2, 3]], [[4], [5]])
    module = StackModule(stack, [0, 1], replace(TRAINING, epochs=8, lr=0.01, patience=1))
    end_of_epoch, latent = module.on_validation_epoch_end, stack.latent
    weights: list[torch.Tensor] = []
    encoded: list[set[int]] = []

    def watch() -> None:
        end_of_epoch()
        weights.append(stack.encoder.mean.weight.detach().clone())
        module.best_loss_m[0] = -math.inf  # member 0 can't improve any more
        encoded.append(set())

    def count(batch: CellBatch) -> Posterior:
        if encoded:
            encoded[-1].add(batch.x.shape[0])
        return latent(batch)

    module.on_validation_epoch_end = watch  # type: ignore[method-assign]
    stack.latent = count  # type: ignore[method-assign]
    _trainer(8).fit(module, train, validation)
    assert module.stopped_m[0]
    epochs = [sum(row["member"] == m for row in module.history) for m in (0, 1)]
    assert epochs[0] == 2 < epochs[1]  # best in epoch 0, stopped after `patience` more
    assert [len(own) for own in weights] == [2, 2] + [1] * (epochs[1] - 2)
    assert encoded[0] == {2}
    assert all(own <= {1} for own in encoded[1:])  # no cell of member 0 is read any more
    for before, later in pairwise([weights[1][1:], *weights[2:]]):
        assert not torch.equal(before, later)
    assert module.best_epoch_m[0] == 0
    assert module.running == [1]
    for name, tensor in module.best_states[0].items():
        assert len(tensor) == 1, name


def test_kl_weight_rises_over_the_warm_up(make_store: Callable[..., CohortStore]) -> None:
    store = make_store(patients=3)
    stack, (train, validation) = _loaders(store, [[0, 1]], [[2]])
    recipe = replace(TRAINING, epochs=4, warmup_epochs=3)
    module = StackModule(stack, [0], recipe)
    seen: list[float] = []
    start = module.on_train_epoch_start

    def watch() -> None:
        start()
        seen.append(module.kl_weight)

    module.on_train_epoch_start = watch  # type: ignore[method-assign]
    _trainer(4).fit(module, train, validation)
    assert seen == pytest.approx([1 / 3, 2 / 3, 1.0, 1.0])


def test_a_loss_that_is_not_finite_is_said(make_store: Callable[..., CohortStore]) -> None:
    store = make_store(patients=3)
    stack, (train, validation) = _loaders(store, [[0, 1]], [[2]])
    with torch.no_grad():
        stack.log_protein_theta[0, 0, 0] = torch.nan
    module = StackModule(stack, [0], TRAINING, names=["r0f0"])
    said = r"member r0f0: protein not finite at step 0 of epoch 0; lower training\.lr"
    with pytest.raises(FloatingPointError, match=said):
        _trainer(2).fit(module, train, validation)


@pytest.mark.parametrize("at_once", [True, False])
def test_the_step_that_was_not_finite_is_said(
    make_store: Callable[..., CohortStore], monkeypatch: pytest.MonkeyPatch, at_once: bool
) -> None:
    """On a CPU at the step, on a GPU before the validation; where validation would be finite."""
    store = make_store(patients=6)
    stack, (train, validation) = _loaders(store, [[0, 1], [2, 3]], [[4], [5]])
    module = StackModule(stack, [0, 1], TRAINING, names=["r0f0", "r0f1"])
    drawn, steps = stack.drawn, 0

    def spoil(batch: CellBatch, noise: Noise) -> tuple[Any, dict[str, torch.Tensor]]:
        nonlocal steps
        posterior, found = drawn(batch, noise)
        steps += 1
        if steps == 2:
            spoilt = found["kl_z"].detach().clone()  # no gradient: the weights stay finite
            spoilt[1, 0] = torch.inf
            found["kl_z"] = spoilt
        return posterior, found

    monkeypatch.setattr(stack, "drawn", spoil)
    if not at_once:
        ask = module._finite.ask
        asked: list[int] = []

        def once_an_epoch(names: Any, epoch: int) -> None:
            if len(asked) == len(train):  # once more than there are steps: before validation
                ask(names, epoch)
            asked.append(epoch)

        monkeypatch.setattr(module._finite, "ask", once_an_epoch)
    said = r"^member r0f1: kl_z not finite at step 1 of epoch 0;"
    with pytest.raises(FloatingPointError, match=said):
        _trainer(2).fit(module, train, validation)
    assert steps == (2 if at_once else len(train))


def test_members_without_cells_are_said(
    make_store: Callable[..., CohortStore], make_all_bags: Callable[[CohortStore], Bags]
) -> None:
    """No validation cells would choose the first epoch in silence."""
    store = make_store(patients=4)
    recipes = Recipes(features=CHOICE, model=MODEL, training=TRAINING)
    member = Member(
        name="a", fold=0, repeat=0, seed=1, train=(0, 1), validation=(2,), held_out=(3,)
    )
    for empty in ("train", "validation"):
        lacking = replace(member, **{empty: ()})
        with pytest.raises(ValueError, match=f"member a has no cells in {empty}"):
            train_encoders([member, lacking], store, make_all_bags(store), recipes, _trainer)


def test_cells_are_held_on_the_device_when_training_starts(
    make_store: Callable[..., CohortStore],
) -> None:
    """The loaders are there by then, and held cells train as those gathered on the host."""
    import lightning.pytorch as pl

    class Hold(pl.Callback):
        def on_train_start(self, trainer: pl.Trainer, module: Any) -> None:
            assert not module.hold_cells(0), "no memory is free"
            assert module.hold_cells(10**12)
            for loader in (trainer.train_dataloader, trainer.val_dataloaders):
                assert loader.dataset.view is not None

    store = make_store(patients=6)
    found = []
    for callbacks in ([], [Hold()]):
        stack, (train, validation) = _loaders(store, [[0, 1, 2], [3, 4]], [[3], [5]])
        module = StackModule(stack, [0, 1], TRAINING)
        trainer = _trainer(TRAINING.epochs)
        trainer.callbacks.extend(callbacks)
        trainer.fit(module, train, validation)
        found.append(module.best_loss_m)
    assert found[0] == pytest.approx(found[1], rel=1e-4)
