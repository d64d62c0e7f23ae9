"""Joint training: labels reach the encoder, and no label serves twice."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from types import SimpleNamespace
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch

from recart.contracts import Member
from recart.data.bags import Bags, with_blocks
from recart.data.features import FeatureChoice
from recart.data.store import CohortStore
from recart.evaluation.refit import permute_run
from recart.models.bag_terms import BagTerms
from recart.models.encoder import JointEncoder
from recart.models.masking import Masking
from recart.models.rna import NegativeBinomial
from recart.models.totalvi import TotalVI
from recart.problems import InputError
from recart.training.decision_rule import DecisionRule
from recart.training.encoder_training import EncoderTraining
from recart.training.head_fitting import development_bags, save_fitted
from recart.training.jobs import Recipes, TrainedEncoder, train_encoders
from recart.training.joint_training import JointTraining, require_lent
from recart.training.member_file import ENCODER_LABELS, load_encoder, load_member
from recart.training.prototype_head import PrototypeHead

pytestmark = [pytest.mark.filterwarnings("ignore:.*training_step.*returned:UserWarning")]

JOINT = JointTraining(weight=20.0, lent=0.5, prototypes=4, shrinkage=2.0)
MODEL = TotalVI(4, 8, JointEncoder(1), 1, 0.1, Masking(0.1), NegativeBinomial())
HEAD = PrototypeHead(
    prototypes=3, shrinkage=2.0, cells=400, strengths=[0.1, 1.0], inner_folds=2, use_extras=False
)
MEMBERS = [
    Member(
        name="a",
        fold=0,
        repeat=0,
        seed=1,
        train=tuple(range(10)),
        validation=(10, 11, 12, 13),
        held_out=(14, 15),
    ),
    Member(
        name="b",
        fold=1,
        repeat=0,
        seed=2,
        train=tuple(range(4, 16)),
        validation=(0, 1, 2, 3),
        held_out=(),
    ),
]


def _recipes(joint: JointTraining | None = JOINT, epochs: int = 2, patience: int = 9) -> Recipes:
    training = EncoderTraining(
        epochs=epochs,
        batch_size=64,
        block=8,
        lr=0.01,
        weight_decay=0.0,
        clip_norm=10.0,
        warmup_epochs=1,
        patience=patience,
        joint=joint,
    )
    features = FeatureChoice(n_genes=1000, exclude=[], prior_cells=5)
    return Recipes(features=features, model=MODEL, training=training)


def _trainer(epochs: int) -> Any:
    import lightning.pytorch as pl

    return pl.Trainer(
        max_epochs=epochs,
        accelerator="cpu",
        precision="64-true",
        logger=False,
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
        num_sanity_val_steps=0,
    )


def _train(
    members: list[Member], store: CohortStore, bags: Bags, recipes: Recipes | None = None
) -> list[TrainedEncoder]:
    return train_encoders(members, store, bags, recipes or _recipes(), _trainer)


def _flipped(bags: Bags, patients: tuple[int, ...]) -> Bags:
    table = bags.table.copy()
    own = table["patient"].isin(patients).to_numpy()
    table.loc[own, "label"] = 1 - table.loc[own, "label"]
    return replace(bags, table=table)


@pytest.fixture
def cohort(
    make_store: Callable[..., CohortStore], make_all_bags: Callable[[CohortStore], Bags]
) -> tuple[CohortStore, Bags]:
    store = make_store(patients=16, cells=12)
    return store, make_all_bags(store)


def test_a_bag_is_pooled_and_read_alone() -> None:
    torch.manual_seed(0)
    terms = BagTerms([3, 4], prototypes=5, latent=4, shrinkage=2.0)
    with torch.no_grad():
        terms.weight_mkf.normal_()
    z = torch.randn(2, 6, 4)
    bag = torch.zeros(2, 3, 6)
    bag[0, 0, :2], bag[0, 1, 2:5], bag[1, 0, 3:] = 1.0, 1.0, 1.0  # one cell of member 0 is in none
    logits = terms.logits(z, bag)
    alone = BagTerms([4], prototypes=5, latent=4, shrinkage=2.0)
    torch.testing.assert_close(alone.centres_mkl[0], terms.centres_mkl[1])
    alone.weight_mkf.data = terms.weight_mkf.data[1:].clone()
    own = alone.logits(z[1:, 3:], torch.ones(1, 1, 3))
    torch.testing.assert_close(own[0, 0], logits[1, 0])
    loss = terms(z, bag, torch.tensor([[1, 0, -1], [-1, -1, -1]]))
    expected = (-torch.sigmoid(logits[0, 0]).log() - torch.sigmoid(-logits[0, 1]).log()) / 2
    torch.testing.assert_close(loss, torch.stack([expected, torch.zeros(())]))


def test_lent_patients_are_half_of_each_class_of_training(cohort: tuple[Any, Bags]) -> None:
    _, bags = cohort
    for member in MEMBERS:
        lent = JOINT.patients(member, bags)
        assert set(lent) < set(member.train)
        labels = bags.table["label"].to_numpy()[list(lent)]
        assert abs(2 * labels.sum() - len(labels)) <= 1
        assert len(lent) == pytest.approx(len(member.train) / 2, abs=1)
        assert JOINT.patients(member, bags) == lent
        # labels of patients that are held out say nothing in it
        assert JOINT.patients(member, _flipped(bags, member.held_out)) == lent
    assert JOINT.patients(replace(MEMBERS[0], seed=5), bags) != JOINT.patients(MEMBERS[0], bags)


def test_blocks_lend_whole(cohort: tuple[Any, Bags]) -> None:
    _, bags = cohort
    paired = with_blocks(bags, lambda codes: codes // 2)  # one of each class
    lent = JOINT.patients(replace(MEMBERS[0], train=tuple(range(8)), validation=(8, 9)), paired)
    assert all((code ^ 1) in lent for code in lent)


def test_too_few_patients_are_refused_before_training(cohort: tuple[Any, Bags]) -> None:
    _, bags = cohort
    few = replace(MEMBERS[0], name="few", train=(0, 1), validation=(2, 3), held_out=())
    require_lent(JOINT, MEMBERS, bags)
    with pytest.raises(InputError, match="training=default") as caught:
        require_lent(JOINT, [*MEMBERS, few], bags)
    assert caught.value.problems[0].examples == ("few",)
    with pytest.raises(InputError, match=r"trainer\.devices=1"):
        JOINT.require_alone(2)


def test_permutations_are_refused_where_labels_shaped_the_encoders() -> None:
    members: Any = [SimpleNamespace(fitted_on={ENCODER_LABELS: frozenset({"P-001"})})]
    nothing: Any = None
    found = permute_run(nothing, members, HEAD, nothing, k=9, seed=0)
    assert found.p is None
    assert "trained anew" in found.refusal


@pytest.mark.parametrize("wrong", [{"weight": 0.0}, {"lent": 1.0}, {"prototypes": 1}])
def test_what_is_no_joint_training_is_refused(wrong: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match="training=default"):
        replace(JOINT, **wrong)


def _differing(one: TrainedEncoder, other: TrainedEncoder) -> list[str]:
    return [name for name, own in one.state.items() if not torch.equal(own, other.state[name])]


@pytest.mark.slow
def test_lent_labels_reach_the_encoder_and_no_others_do(cohort: tuple[CohortStore, Bags]) -> None:
    store, bags = cohort
    member = MEMBERS[0]
    (plain,) = _train([member], store, bags)
    assert plain.lent == JOINT.patients(member, bags)
    others = tuple(p for p in range(16) if p not in plain.lent)
    # the lent ones stay lent: each class keeps its number where one of each is exchanged
    (held,) = _train([member], store, _flipped(bags, member.held_out))
    assert not _differing(plain, held)
    staged = [
        _train([member], store, own, _recipes(None))[0] for own in (bags, _flipped(bags, others))
    ]
    assert not _differing(*staged)
    assert _differing(plain, staged[0])

    class Same(JointTraining):  # another labelling of the same lent patients
        def patients(self, _member: Member, _bags: Bags) -> tuple[int, ...]:
            return plain.lent

    same = _recipes(Same(weight=20.0, lent=0.5, prototypes=4, shrinkage=2.0))
    (kept,) = _train([member], store, _flipped(bags, others), same)
    assert not _differing(plain, kept)  # labels of the head's patients
    (lent,) = _train([member], store, _flipped(bags, plain.lent[:1]), same)
    assert any(name.startswith("encoder.") for name in _differing(plain, lent))


@pytest.mark.slow
def test_joint_members_are_the_same_in_company(cohort: tuple[CohortStore, Bags]) -> None:
    store, bags = cohort
    recipes = _recipes(epochs=5, patience=1)
    together = _train(MEMBERS, store, bags, recipes)
    for member, company in zip(MEMBERS, together, strict=True):
        (alone,) = _train([member], store, bags, recipes)
        assert alone.lent == company.lent
        assert alone.best_epoch == company.best_epoch
        assert "train_response" in alone.history[0]
        for one, other in zip(alone.history, company.history, strict=True):
            assert one["train_response"] == pytest.approx(other["train_response"], rel=1e-6)
        for name, tensor in alone.state.items():
            torch.testing.assert_close(company.state[name], tensor, rtol=1e-6, atol=1e-8, msg=name)


@pytest.mark.slow
def test_the_bag_loss_falls(cohort: tuple[CohortStore, Bags]) -> None:
    store, bags = cohort
    joint = replace(JOINT, weight=500.0)
    recipes = _recipes(joint, epochs=12, patience=12)
    recipes = replace(recipes, training=replace(recipes.training, lr=0.05))
    (own,) = _train(MEMBERS[:1], store, bags, recipes)
    losses = [row["train_response"] / joint.weight for row in own.history]
    assert losses[0] == pytest.approx(np.log(2), abs=0.2)
    assert np.mean(losses[-3:]) < losses[0] / 2  # .74 and .17


@pytest.mark.slow
def test_the_head_never_sees_who_lent_a_label(
    cohort: tuple[CohortStore, Bags], tmp_path: Any
) -> None:
    store, bags = cohort
    (encoder,) = _train(MEMBERS[:1], store, bags)
    extras = pd.DataFrame(index=bags.table.index)
    seen = development_bags(encoder, MODEL, store, bags, extras)
    told = set(MEMBERS[0].train + MEMBERS[0].validation) - set(encoder.lent)
    assert set(seen.seen.patients) == told
    head = HEAD.fit(seen.seen, seen.labels, 1)
    path = tmp_path / "a.ckpt"
    save_fitted(path, encoder, head, seen, bags, store)
    member = load_member(path, MODEL, HEAD)
    name = store.patients.index
    assert member.fitted_on[ENCODER_LABELS] == {name[p] for p in encoder.lent}
    for part in ("head", "calibration", "threshold"):
        assert member.fitted_on[part] == {name[p] for p in told}
    assert isinstance(member.rule, DecisionRule)
    with pytest.raises(ValueError, match="jointly"):
        load_encoder(path, MEMBERS[0])
