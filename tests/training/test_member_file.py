"""The file of a member: the same latents and logits after reading, and whose patients it saw."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pandas as pd
import pytest
import torch
from scipy.special import expit, logit

from recart.contracts import Member, MemberSettings
from recart.data.bags import Bags
from recart.data.features import FeatureChoice, Features, bind
from recart.data.store import CohortStore
from recart.models.encoder import JointEncoder
from recart.models.masking import Masking
from recart.models.rna import NegativeBinomial
from recart.models.totalvi import Sizes, TotalVI, TotalVIStack
from recart.problems import InputError
from recart.training.bag_latents import bag_latents
from recart.training.checkpoints import load_checkpoint
from recart.training.decision_rule import DecisionRule
from recart.training.heads import BagLatents, FittedHead
from recart.training.jobs import TrainedEncoder
from recart.training.member_file import load_member, member_path, save_member
from recart.training.mixed_head import MixedHead
from recart.training.prototype_head import PrototypeHead

MODEL = TotalVI(4, 8, JointEncoder(2), 1, 0.2, Masking(0.1), NegativeBinomial(per_batch=True))
HEAD = PrototypeHead(
    prototypes=3, shrinkage=5.0, cells=500, strengths=[0.1, 1.0], inner_folds=2, use_extras=True
)
RULE = DecisionRule(intercept=0.2, slope=0.8, threshold=0.4, calibrated=True)
MEMBER = Member(
    name="r0f1",
    fold=1,
    repeat=0,
    seed=4,
    train=(0, 1, 2, 3),
    validation=(4, 5),
    held_out=(6, 7),
    settings=MemberSettings(lr=0.01, latent=3),
)


class Trained(NamedTuple):
    path: Path
    features: Features
    stack: TotalVIStack
    head: FittedHead
    bags: BagLatents


@pytest.fixture
def trained(
    make_store: Callable[..., CohortStore],
    make_all_bags: Callable[[CohortStore], Bags],
    tmp_path: Path,
) -> Trained:
    """One member in company of another that knows more batches, then saved."""
    store = make_store(patients=8)
    all_bags = make_all_bags(store)
    cells = np.flatnonzero(store.cells["patient"].isin([0]))  # two of the three batches
    features = FeatureChoice(n_genes=20, exclude=[], prior_cells=5).fit(store, cells, 0)
    assert len(features.spec.batches) == 2
    company = MODEL.stack(Sizes(genes=20, proteins=7, receptor=6, batches=(3, 2)), [1, MEMBER.seed])
    company.set_settings(1, MEMBER.settings)
    company.set_batch_prior(1, torch.from_numpy(features.batch_share))
    state = company.member_state(1)
    stack = TotalVIStack(MODEL, Sizes(genes=20, proteins=7, receptor=6, batches=(2,)), 1)
    stack.load_state_dict(state)
    extras = pd.DataFrame({"share": [0.1, np.nan] * 4}, index=all_bags.table.index)
    bags = bag_latents(stack, bind(features, store), store, all_bags, range(8), extras)
    development = bag_latents(stack, bind(features, store), store, all_bags, range(6), extras)
    head = HEAD.fit(development, all_bags.table["label"].to_numpy()[:6], MEMBER.seed)
    encoder = TrainedEncoder(
        member=MEMBER,
        features=features,
        state=state,
        best_epoch=2,
        best_loss=12.5,
        history=[{"member": "r0f1", "epoch": 0, "elbo_train": -3.0}],
    )
    path = member_path(tmp_path, MEMBER.name)
    save_member(path, encoder, head, RULE, list(store.patients.index))
    return Trained(path, features, stack, head, bags)


def test_reading_gives_the_same_member(
    trained: Trained,
    make_store: Callable[..., CohortStore],
    make_all_bags: Callable[[CohortStore], Bags],
) -> None:
    loaded = load_member(trained.path, MODEL, HEAD)
    assert loaded.features.spec == trained.features.spec
    for name in ("protein_seen", "background_mean", "background_scale", "batch_share"):
        one, other = getattr(loaded.features, name), getattr(trained.features, name)
        assert one.dtype == other.dtype
        np.testing.assert_array_equal(one, other)
    for name, tensor in trained.stack.state_dict().items():
        assert torch.equal(loaded.stack.state_dict()[name], tensor), name
    store = make_store(patients=8)
    bound = bind(loaded.features, store)
    extras = pd.DataFrame({"share": [0.1, np.nan] * 4})
    again = bag_latents(loaded.stack, bound, store, make_all_bags(store), range(8), extras)
    for one, other in zip(again.latents, trained.bags.latents, strict=True):
        np.testing.assert_array_equal(one, other)
    np.testing.assert_array_equal(loaded.head.logits(again), trained.head.logits(trained.bags))
    assert loaded.head.inner_loss == trained.head.inner_loss
    assert (loaded.best_epoch, loaded.best_loss, loaded.fold, loaded.repeat) == (2, 12.5, 1, 0)
    assert loaded.history == [{"member": "r0f1", "epoch": 0, "elbo_train": -3.0}]
    assert loaded.settings == MEMBER.settings
    assert loaded.rule == RULE
    assert not loaded.stack.training


def test_an_interval_is_calibrated_as_the_prediction_that_it_is_of(trained: Trained) -> None:
    loaded = load_member(trained.path, MODEL, HEAD)
    assert loaded.outputs(trained.bags) == {}
    mixed = MixedHead(strengths=[1.0], weightings=[float("inf")], cells=20, inner_folds=2)
    fitted = mixed.fit(trained.bags, np.arange(8) % 2, 0)
    for rule in (RULE, DecisionRule(intercept=3.0, slope=2.0, threshold=0.5, calibrated=True)):
        found = replace(loaded, head=fitted, rule=rule).outputs(trained.bags)
        given = fitted.interval(trained.bags, 0.95)
        for name, own in zip(("posterior:low", "posterior:high"), given.T, strict=True):
            np.testing.assert_allclose(found[name], expit(rule.log_odds(logit(own))))
        p = expit(rule.log_odds(fitted.logits(trained.bags)))
        assert (found["posterior:low"] < p).all()
        assert (p < found["posterior:high"]).all()


def test_files_from_before_members_had_a_rule_are_refused_with_the_mend(trained: Trained) -> None:
    content = load_checkpoint(trained.path)
    del content["decision_rule"]
    torch.save({**content, "schema": 1}, trained.path)
    with pytest.raises(InputError, match=r"E-CKPT-002.*layout 1; .* reads 5 .*train the run again"):
        load_member(trained.path, MODEL, HEAD)


def test_it_names_whose_patients_each_part_saw(trained: Trained) -> None:
    loaded = load_member(trained.path, MODEL, HEAD)
    names = [f"P-{i:03d}" for i in range(8)]
    assert loaded.held_out == frozenset(names[6:])
    assert (
        loaded.fitted_on
        == {
            "features": frozenset(
                names[:1]
            ),  # what the features were fitted to, not what was meant
            "encoder": frozenset(names[:4]),
            "epoch": frozenset(names[4:6]),
            "head": frozenset(names[:6]),
            "calibration": frozenset(names[:6]),
            "threshold": frozenset(names[:6]),
        }
    )
    assert not any(seen & loaded.held_out for seen in loaded.fitted_on.values())


def test_it_is_plain_and_knows_no_path(trained: Trained) -> None:
    content = torch.load(trained.path, weights_only=True)
    assert set(content) >= {"schema", "member", "fitted_on", "features", "encoder", "head"}
    assert str(trained.path.parent).encode() not in trained.path.read_bytes()
