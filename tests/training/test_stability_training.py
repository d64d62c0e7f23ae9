"""Training through situations that made users of totalVI report NaN, and others that might.

The issues named are those of scvi-tools. Each situation is trained as `train.py` would: features
and background prior fitted, several epochs, best state restored, every cell encoded.
"""

from __future__ import annotations

import logging
import math
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch

from recart.contracts import Member
from recart.data.bags import Bags
from recart.data.checks.counts import check_protein_counts
from recart.data.features import FeatureChoice, bind
from recart.data.simulate import SimulatedCohort
from recart.data.store import CohortStore
from recart.models.encoder import JointEncoder
from recart.models.masking import Masking
from recart.models.rna import NegativeBinomial, ZeroInflated
from recart.models.totalvi import TotalVI
from recart.problems import InputError, Problems
from recart.training.encoder_training import EncoderTraining
from recart.training.encoding import encode
from recart.training.jobs import Recipes, TrainedEncoder, restore_stack, train_encoders

MEMBER = Member(
    name="m", fold=0, repeat=0, seed=1, train=(0, 1, 2, 3), validation=(4,), held_out=(5,)
)
RECIPES = Recipes(
    features=FeatureChoice(n_genes=1000, exclude=[], prior_cells=20),
    model=TotalVI(4, 16, JointEncoder(2), 1, 0.2, Masking(0.1), NegativeBinomial()),
    training=EncoderTraining(
        epochs=3,
        batch_size=32,
        block=8,
        lr=0.01,
        weight_decay=0.0,
        clip_norm=None,  # clipping would hide what explodes
        warmup_epochs=2,
        patience=3,
    ),
)


@contextmanager
def _quiet() -> Iterator[None]:
    logger = logging.getLogger("lightning.pytorch")
    level = logger.level
    logger.setLevel(logging.WARNING)
    try:
        yield
    finally:
        logger.setLevel(level)


def _train(
    store: CohortStore,
    bags: Bags,
    recipes: Recipes = RECIPES,
    precision: str = "32-true",
    members: Sequence[Member] = (MEMBER,),
) -> TrainedEncoder:
    import lightning.pytorch as pl

    def trainer(epochs: int) -> pl.Trainer:
        return pl.Trainer(
            max_epochs=epochs,
            accelerator="cpu",
            precision=precision,  # type: ignore[arg-type]
            logger=False,
            enable_checkpointing=False,
            enable_progress_bar=False,
            enable_model_summary=False,
            num_sanity_val_steps=0,
        )

    with _quiet():
        return train_encoders(members, store, bags, recipes, trainer)[0]


def _latents(store: CohortStore, encoder: TrainedEncoder, recipes: Recipes = RECIPES) -> Any:
    stack = restore_stack(recipes.model, encoder.features, encoder.state)
    slices = [store.sample_slice(i) for i in range(len(store.samples))]
    return encode(stack, bind(encoder.features, store), store, slices)


def _check_sound(store: CohortStore, encoder: TrainedEncoder, recipes: Recipes = RECIPES) -> None:
    assert len(encoder.history) == recipes.training.epochs
    for row in encoder.history:
        assert all(math.isfinite(value) for value in row.values() if isinstance(value, float)), row
    assert all(torch.isfinite(value).all() for value in encoder.state.values())
    features = encoder.features
    assert np.isfinite(features.background_mean).all()
    assert np.isfinite(features.background_scale).all()
    assert (features.background_scale > 0).all()
    latents = _latents(store, encoder, recipes)
    assert latents.shape == (len(store.cells), recipes.model.latent)
    assert np.isfinite(latents).all()


@pytest.mark.parametrize(
    "precision", ["32-true", pytest.param("bf16-mixed", marks=pytest.mark.slow)]
)
def test_training_stays_finite(
    situation: Callable[[CohortStore], CohortStore],
    precision: str,
    make_store: Callable[..., CohortStore],
    make_all_bags: Callable[[CohortStore], Bags],
) -> None:
    store = situation(make_store(patients=6))
    encoder = _train(store, make_all_bags(store), precision=precision)
    _check_sound(store, encoder)


@pytest.mark.parametrize(
    ("model", "training"),
    [
        ({"rna": NegativeBinomial(bfloat16=True)}, {}),
        ({"rna": ZeroInflated(per_batch=True)}, {}),
        pytest.param({}, {"batch_size": 1, "block": 1, "epochs": 1}, marks=pytest.mark.slow),
        # the settings of 727: deep, half of the units dropped, few cells
        (
            {"encoder": JointEncoder(4), "decoder_layers": 4, "dropout": 0.52},
            {"epochs": 10, "patience": 10},
        ),
    ],
    ids=["bfloat16-gene-head", "zinb-per-batch", "one-cell-minibatches", "deep-with-dropout"],
)
def test_other_recipes_stay_finite(
    model: dict[str, Any],
    training: dict[str, Any],
    sparse_and_extreme: Callable[[CohortStore], CohortStore],
    make_store: Callable[..., CohortStore],
    make_all_bags: Callable[[CohortStore], Bags],
) -> None:
    store = sparse_and_extreme(make_store(patients=6))
    recipes = replace(
        RECIPES,
        model=replace(RECIPES.model, **model),
        training=replace(RECIPES.training, **training),
    )
    _check_sound(store, _train(store, make_all_bags(store), recipes), recipes)


def test_cells_empty_after_the_choice_of_genes(
    make_store: Callable[..., CohortStore], make_all_bags: Callable[[CohortStore], Bags]
) -> None:
    store = make_store(patients=6)
    rna = store.rna[:].tolil()
    rna[::2, 0] = 0
    store = replace(store, rna=rna.tocsr())
    choice = replace(RECIPES.features, exclude=["GENE[1-9]"])  # leaves GENE0
    recipes = replace(RECIPES, features=choice)
    encoder = _train(store, make_all_bags(store), recipes)
    assert encoder.features.spec.genes == ("GENE0",)
    _check_sound(store, encoder, recipes)


def test_missing_values_among_the_proteins_of_one_cell_are_refused_by_name() -> None:
    """873: one such cell in one of six data sets made every value NaN, after three days."""
    cohort = SimulatedCohort(3, 10, 200).read()
    assert cohort.protein is not None
    cohort.protein[7, 2] = np.nan
    problems = Problems()
    check_protein_counts(cohort, problems)
    with pytest.raises(InputError) as raised:
        problems.raise_if_any()
    (problem,) = raised.value.problems
    assert problem.code == "E-PROT-003"
    assert problem.sample == cohort.cells["sample"].iloc[7]
    assert problem.feature == cohort.proteins[2]
    assert problem.count == 1


def test_the_member_whose_loss_is_not_finite_is_named(
    make_store: Callable[..., CohortStore], make_all_bags: Callable[[CohortStore], Bags]
) -> None:
    """Only the second member meets the spoilt cell."""
    store = make_store(patients=6)
    protein = np.asarray(store.protein, dtype=np.float32)
    protein[store.sample_slice(2 * 5).start, 3] = np.nan
    other = replace(MEMBER, name="other", validation=(5,), held_out=(4,))
    said = r"^member other: .*protein.* not finite in validation after epoch 0"
    with pytest.raises(FloatingPointError, match=said):
        _train(replace(store, protein=protein), make_all_bags(store), members=(MEMBER, other))


def test_a_diverging_training_is_said(
    make_store: Callable[..., CohortStore], make_all_bags: Callable[[CohortStore], Bags]
) -> None:
    store = make_store(patients=6)
    recipes = replace(RECIPES, training=replace(RECIPES.training, lr=1e30))
    with pytest.raises(FloatingPointError, match=r"^member m: .*rna.* not finite .*training\.lr"):
        _train(store, make_all_bags(store), recipes)
