"""How many members a GPU is given at a time."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from recart.data.features import FeatureChoice
from recart.data.store import CohortStore
from recart.models.totalvi import TotalVI
from recart.training.encoder_training import EncoderTraining
from recart.training.jobs import Recipes
from recart.training.stack_size import (
    member_bytes,
    members_that_fit,
    on_gpu,
    step_bytes,
    weight_bytes,
)

GIB = 2**30


def test_a_member_takes_its_weights_four_times_and_a_step() -> None:
    # 1e6 float32 parameters: parameter, gradient, two moments
    assert weight_bytes(1_000_000) == 16_000_000
    # 256 cells: 8 arrays over genes, 24 over proteins, 16 over hidden units, of 4 bytes
    assert step_bytes(256, 4000, 140, 128) == 4 * 256 * (8 * 4000 + 24 * 140 + 16 * 128)


@pytest.mark.parametrize(
    ("free", "own", "members", "size"),
    [
        (10 * GIB, 1 * GIB, 100, 8),  # a fifth is left free
        (10 * GIB, 1 * GIB, 5, 5),
        (10 * GIB, 1 * GIB, 15, 8),  # two stacks of 8 and 7
        (10 * GIB, 1 * GIB, 9, 5),  # of 5 and 4, not of 8 and 1
        (1 * GIB, 4 * GIB, 9, 1),  # it is tried all the same
    ],
)
def test_as_few_stacks_as_memory_allows_of_equal_size(
    free: int, own: int, members: int, size: int
) -> None:
    assert members_that_fit(free, own, members) == size


@given(st.integers(0, 10**12), st.integers(1, 10**11), st.integers(1, 500))
def test_a_stack_fits_and_no_fewer_stacks_would(free: int, own: int, members: int) -> None:
    size = members_that_fit(free, own, members)
    assert 1 <= size <= members
    most = max(1, int(0.8 * free) // own)
    assert size <= most
    assert -(-members // size) == -(-members // min(most, members))


def test_a_members_memory_grows_with_its_batch_and_its_genes(
    make_store: Callable[..., CohortStore],
) -> None:
    store = make_store(patients=3)
    training = EncoderTraining(
        epochs=1,
        batch_size=64,
        block=8,
        lr=0.01,
        weight_decay=0.0,
        clip_norm=None,
        warmup_epochs=1,
        patience=1,
    )
    recipes = Recipes(
        features=FeatureChoice(n_genes=20, exclude=[], prior_cells=10),
        model=TotalVI(latent=4, hidden=8),
        training=training,
    )
    own = member_bytes(recipes, store)
    larger = replace(recipes, training=replace(training, batch_size=128))
    assert member_bytes(larger, store) - own == step_bytes(64, 20, 7, 8)
    # the store has 40 genes: what is asked for beyond them takes nothing
    at_most = [
        member_bytes(replace(recipes, features=replace(recipes.features, n_genes=n)), store)
        for n in (40, 4000)
    ]
    assert own < at_most[0] == at_most[1]


def test_a_gpu_is_one_only_where_it_is_there(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    assert [on_gpu(name) for name in ("auto", "gpu", "cuda", "cpu")] == [True, True, True, False]
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    assert not on_gpu("auto")
