"""A member trained in company equals the member trained alone, whatever is its own."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Any, Literal

import numpy as np
import pytest
import torch

from recart.contracts import Member, MemberSettings
from recart.data.bags import Bags
from recart.data.features import FeatureChoice, Features
from recart.data.store import CohortStore
from recart.models.encoder import JointEncoder
from recart.models.masking import Masking
from recart.models.objective import TermWeights
from recart.models.product_of_experts import ProductOfExperts
from recart.models.rna import NegativeBinomial, Normal, Poisson, ZeroInflated
from recart.models.totalvi import TotalVI
from recart.training.encoder_training import EncoderTraining
from recart.training.jobs import Recipes, TrainedEncoder, restore_stack, train_encoders

PLAIN = TotalVI(4, 8, JointEncoder(2), 1, 0.2, Masking(0.2), NegativeBinomial())
OWN_GENES = {1: 12, 2: 9, 3: 10}  # by seed
OWN_SETTINGS = [
    MemberSettings(lr=0.02, kl_weight=2.0, dropout=0.0),
    MemberSettings(dropout=0.5, latent=2),
    MemberSettings(kl_weight=0.0, latent=1),
]


@dataclass(frozen=True)
class OwnGenes:
    """Each member has a gene list of its own length."""

    def fit(self, store: CohortStore, cells: np.ndarray, seed: int) -> Features:
        choice = FeatureChoice(n_genes=OWN_GENES[seed], exclude=[], prior_cells=10)
        return choice.fit(store, cells, seed)


@dataclass(frozen=True)
class Case:
    """A combination to be tried."""

    model: TotalVI = PLAIN
    settings: list[MemberSettings] = field(default_factory=lambda: [MemberSettings()] * 3)
    genes: Any = field(default_factory=lambda: FeatureChoice(n_genes=30, exclude=[], prior_cells=9))
    epochs: int = 3
    patience: int = 2
    lr: float = 0.01
    precision: Literal["64-true", "32-true"] = "64-true"


ALL_MASKS = Masking(0.2, proteins=0.3, genes=0.3, rna=0.2, panel=0.3)
# of losses, relative; of weights and of what stands in the history, relative and absolute
TOLERANCES = {
    "64-true": (1e-9, (1e-6, 1e-9), (1e-6, 1e-8)),
    "32-true": (1e-5, (1e-4, 1e-5), (1e-4, 1e-5)),
}
CASES = {
    "nb": Case(),
    "nb-per-batch": Case(replace(PLAIN, rna=NegativeBinomial(per_batch=True))),
    "zinb": Case(replace(PLAIN, rna=ZeroInflated())),
    "poisson": Case(replace(PLAIN, rna=Poisson())),
    "normal": Case(replace(PLAIN, rna=Normal())),
    "product": Case(replace(PLAIN, encoder=ProductOfExperts(2))),
    "masks": Case(replace(PLAIN, masking=ALL_MASKS)),
    "clone-level": Case(replace(PLAIN, weights=TermWeights(clone_level=True))),
    "settings": Case(settings=OWN_SETTINGS),
    "genes": Case(genes=OwnGenes()),
    # as members are trained by default, and where the processor has bfloat16
    "nb-float32": Case(precision="32-true"),
    "nb-bfloat16": Case(
        replace(PLAIN, rna=NegativeBinomial(bfloat16=True)), precision="32-true", epochs=2
    ),
    "zinb-product-clone-level-float32": Case(
        replace(
            PLAIN,
            rna=ZeroInflated(),
            encoder=ProductOfExperts(2),
            weights=TermWeights(clone_level=True),
            masking=ALL_MASKS,
        ),
        precision="32-true",
    ),
    "all": Case(
        TotalVI(4, 8, ProductOfExperts(2), 1, 0.2, ALL_MASKS, NegativeBinomial(per_batch=True)),
        OWN_SETTINGS,
        OwnGenes(),
        epochs=12,
        patience=1,
        lr=0.1,
    ),
}


def _trainer(epochs: int, precision: Literal["64-true", "32-true"]) -> Any:
    import lightning.pytorch as pl

    return pl.Trainer(
        max_epochs=epochs,
        accelerator="cpu",
        precision=precision,
        logger=False,
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
        num_sanity_val_steps=0,
    )


def _members() -> list[Member]:
    # members of different sizes, sharing patients, with different batches in training
    return [
        Member(
            name="a",
            fold=0,
            repeat=0,
            seed=1,
            train=(0, 1, 2, 3),
            validation=(4, 5),
            held_out=(6, 7),
        ),
        Member(
            name="b",
            fold=1,
            repeat=0,
            seed=2,
            train=(2, 3, 4, 5, 6, 7),
            validation=(0, 1),
            held_out=(),
        ),
        Member(
            name="c", fold=2, repeat=0, seed=3, train=(6, 7), validation=(2, 3), held_out=(0, 1)
        ),
    ]


def _train(
    members: list[Member], store: CohortStore, bags: Bags, case: Case
) -> list[TrainedEncoder]:
    recipes = Recipes(
        features=case.genes,
        model=case.model,
        training=EncoderTraining(
            epochs=case.epochs,
            batch_size=32,
            block=8,
            lr=case.lr,
            weight_decay=1e-3,
            clip_norm=1.0,
            warmup_epochs=2,
            patience=case.patience,
        ),
    )
    return train_encoders(
        members, store, bags, recipes, partial(_trainer, precision=case.precision)
    )


@pytest.mark.slow  # each trains four stacks: about 3 s
@pytest.mark.filterwarnings("ignore:.*training_step.*returned:UserWarning")
@pytest.mark.parametrize("case", CASES.values(), ids=CASES.keys())
def test_together_equals_alone(
    case: Case,
    make_store: Callable[..., CohortStore],
    make_all_bags: Callable[[CohortStore], Bags],
) -> None:
    store = make_store(patients=8)
    bags = make_all_bags(store)
    members = [
        replace(member, settings=own) for member, own in zip(_members(), case.settings, strict=True)
    ]
    together = _train(members, store, bags, case)
    epochs = {len(own.history) for own in together}
    # stopped one by one, or not
    assert len(epochs) > 1 if case.epochs > 3 else epochs == {case.epochs}
    of_loss, of_history, of_weights = TOLERANCES[case.precision]
    for member, company in zip(members, together, strict=True):
        (alone,) = _train([member], store, bags, case)
        assert alone.features.spec == company.features.spec
        assert alone.best_epoch == company.best_epoch
        assert alone.best_loss == pytest.approx(company.best_loss, rel=of_loss)
        assert len(alone.history) == len(company.history)
        for one, other in zip(alone.history, company.history, strict=True):
            assert one.keys() == other.keys()
            for key in one.keys() - {"member"}:
                np.testing.assert_allclose(one[key], other[key], *of_history, err_msg=key)
        assert alone.state.keys() == company.state.keys()
        for name, tensor in alone.state.items():
            np.testing.assert_allclose(company.state[name], tensor, *of_weights, err_msg=name)


def test_own_genes_and_settings_come_out_of_the_stack(
    make_store: Callable[..., CohortStore], make_all_bags: Callable[[CohortStore], Bags]
) -> None:
    store = make_store(patients=8)
    case = CASES["all"]
    members = [
        replace(member, settings=own) for member, own in zip(_members(), OWN_SETTINGS, strict=True)
    ]
    for own in _train(members, store, make_all_bags(store), replace(case, epochs=1)):
        count = OWN_GENES[own.member.seed]
        assert len(own.features.spec.genes) == count
        assert own.state["encoder.rna.weight"].shape[1] == count
        assert own.state["rna.head.weight"].shape[2] == count
        assert (own.state["rna.head.weight"] != 0).all()  # none of it is padding
        used = own.member.settings.latent or 4
        assert own.state["latent_mask_ml"].sum() == used
        (row,) = own.history
        kl = row["kl_per_dimension"]
        assert len(kl) == 4
        assert all(value > 0 for value in kl[:used])
        assert not any(kl[used:])
        assert sum(kl) == pytest.approx(row["validation_kl_z"], rel=1e-6)
        assert row["active_dimensions"] == sum(value > 0.01 for value in kl)
        restored = restore_stack(case.model, own.features, own.state)
        assert torch.equal(restored.latent_mask_ml, own.state["latent_mask_ml"])


def test_members_differ_and_training_lowers_the_loss(
    make_store: Callable[..., CohortStore], make_all_bags: Callable[[CohortStore], Bags]
) -> None:
    store = make_store(patients=8)
    trained = _train(_members(), store, make_all_bags(store), CASES["nb"])
    weights = [own.state["encoder.mean.weight"].numpy() for own in trained]
    assert not np.allclose(weights[0], weights[1])
    for own in trained:
        bounds = [row["elbo_validation"] for row in own.history]
        assert max(bounds) > bounds[0]
