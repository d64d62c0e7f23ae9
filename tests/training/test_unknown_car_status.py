"""Cohorts without the CAR transgene get scores from heads fitted with it, and the other way."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest
import torch

from recart.models.gated_attention import GatedAttention
from recart.training.attention_head import AttentionResidual
from recart.training.cell_attention_head import CellAttentionHead
from recart.training.cell_attention_training import CellTraining
from recart.training.heads import BagLatents, Head, Token
from recart.training.mixed_head import MixedHead
from recart.training.prototype_head import PrototypeHead
from recart.training.prototype_tokens import (
    PrototypeTokens,
    TokenScaling,
    known_token_of_cell,
    tokens_of,
)

Make = Callable[..., tuple[BagLatents, np.ndarray]]

TOKENS = [
    Token("pre", 0, "blood", "-"),
    Token("post", 1, "blood", "-"),
    Token("post", 1, "blood", "+"),
]
UNKNOWN = [Token("pre", 0, "blood", ""), Token("post", 1, "blood", "")]
PROTOTYPES = PrototypeHead(
    prototypes=4, shrinkage=5.0, cells=2000, strengths=[0.1, 1.0], inner_folds=3, use_extras=True
)
HEADS = [
    PROTOTYPES,
    CellAttentionHead(
        training=CellTraining(hidden=8, views=2, cells=64, bags=16, lr=0.05, weight_decay=0.3),
        epochs=20,
        inner_folds=3,
    ),
    MixedHead(strengths=[0.1, 1.0], weightings=[1.0], cells=40, inner_folds=3),
]
each_head = pytest.mark.parametrize("head", HEADS, ids=lambda own: type(own).__name__)


def _with_status(bags: BagLatents) -> BagLatents:
    """Half of the cells before and half after; of these a tenth, or a fifth, is CAR+."""
    rows = []
    for n, z in enumerate(bags.latents):
        row = np.arange(len(z)) % 2
        row[1 :: 20 if n % 3 else 10] = 2
        rows.append(row)
    return replace(bags, tokens=TOKENS, token_of_cell=rows)


def _without_status(bags: BagLatents) -> BagLatents:
    rows = [np.minimum(own, 1) for own in bags.token_of_cell]
    return replace(bags, tokens=UNKNOWN, token_of_cell=rows)


@each_head
def test_a_score_without_the_status_is_close_to_that_with_it(
    head: Head, make_state_bags: Make
) -> None:
    bags, labels = make_state_bags(36, 3.0, 1)
    fitted = head.fit(_with_status(bags), labels, 1)
    fresh = _with_status(make_state_bags(60, 3.0, 2)[0])
    told, untold = fitted.logits(fresh), fitted.logits(_without_status(fresh))
    assert untold.std() > 0.5 * told.std() > 0
    assert np.corrcoef(told, untold)[0, 1] > 0.95


@each_head
def test_a_head_that_was_told_no_status_reads_cells_of_either(
    head: Head, make_state_bags: Make
) -> None:
    bags, labels = make_state_bags(36, 3.0, 1)
    fitted = head.fit(_without_status(_with_status(bags)), labels, 1)
    fresh = _with_status(make_state_bags(20, 3.0, 2)[0])
    told, untold = fitted.logits(fresh), fitted.logits(_without_status(fresh))
    assert told.std() > 0
    np.testing.assert_allclose(told, untold, rtol=1e-12)


def test_attention_over_prototypes_reads_cells_of_unknown_status(make_state_bags: Make) -> None:
    bags, labels = make_state_bags(24, 3.0, 1)
    bags = _with_status(bags)
    base = PROTOTYPES.fit(bags, labels, 1)
    tokens = PrototypeTokens(prototypes=base.prototypes, view=base.view, tokens=tokens_of(bags))
    x, mask = tokens.pool(bags)
    scaling = TokenScaling.fit(x, mask, np.arange(24))
    network = GatedAttention([1], tokens.instances(x, mask, scaling)[0].shape[-1], 8)
    with torch.no_grad():
        network.readout.fill_(1.0)
    residual = AttentionResidual(tokens=tokens, scaling=scaling, network=network)
    fresh = _with_status(make_state_bags(60, 3.0, 2)[0])
    told, untold = residual.read(fresh)[0], residual.read(_without_status(fresh))[0]
    assert untold.std() > 0
    assert np.corrcoef(told, untold)[0, 1] > 0.8


def test_an_unknown_share_of_car_cells_is_not_measured_and_not_none(make_state_bags: Make) -> None:
    bags, labels = make_state_bags(24, 3.0, 1)
    bags = _with_status(bags)
    fitted = PROTOTYPES.fit(bags, labels, 1)
    for given, measured in ((bags, True), (_without_status(bags), False)):
        values, names = fitted.embedding(given)
        shares = [i for i, name in enumerate(names) if name.startswith("CAR+ shares")]
        assert len(shares) == 3  # of all cells, and before and after
        assert (np.isfinite(values[:, shares]) == measured).all()


def test_what_a_status_stands_for() -> None:
    def rows(given: list[Token], known: list[Token]) -> list[int]:
        bags = BagLatents(
            latents=[np.zeros((len(given), 1))],
            extras=np.zeros((1, 0)),
            extra_names=[],
            patients=np.arange(1),
            tokens=given,
            token_of_cell=[np.arange(len(given))],
        )
        return known_token_of_cell(bags, 0, known).tolist()

    assert rows(TOKENS, TOKENS) == [0, 1, 2]
    assert rows(UNKNOWN, TOKENS) == [0, 1]
    assert rows(UNKNOWN, TOKENS[2:]) == [-1, 0]
    assert rows(TOKENS, UNKNOWN) == [0, 1, 1]
    assert rows(TOKENS, TOKENS[:2]) == [0, 1, -1]  # a status that is known and was never seen
