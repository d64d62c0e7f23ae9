"""Attention is judged by the score that it is a part of, and not at all where it is none of it."""

from __future__ import annotations

import re
from types import SimpleNamespace

import numpy as np
import pytest

from recart.evaluation import attended_cells as module
from recart.evaluation.attended_cells import attended_cells
from recart.training.attention_deletion import deletion_curve
from recart.training.cell_attention_head import CellAttentionHead
from recart.training.cell_attention_training import CellTraining
from recart.training.ensemble_head import FittedEnsembleHead
from recart.training.heads import BagLatents, FittedHead
from recart.training.prototype_head import PrototypeHead

PROTOTYPES = PrototypeHead(
    prototypes=3, shrinkage=5.0, cells=400, strengths=[0.1, 1.0], inner_folds=3, use_extras=True
)
CELLS = CellAttentionHead(
    training=CellTraining(hidden=4, views=1, cells=20, bags=16, lr=0.05, weight_decay=0.3),
    epochs=20,
    inner_folds=3,
)


@pytest.fixture(scope="module")
def bags() -> BagLatents:
    """The first cells of every second bag are moved."""
    rng = np.random.default_rng(0)
    latents = [rng.normal(size=(40, 3)).astype(np.float32) for _ in range(24)]
    for z in latents[1::2]:
        z[:12, 0] += 3.0
    return BagLatents(
        latents=latents, extras=np.zeros((24, 0)), extra_names=[], patients=np.arange(24)
    )


@pytest.fixture(scope="module")
def parts(bags: BagLatents) -> dict[str, FittedHead]:
    labels = np.arange(24) % 2
    heads = {"prototypes": PROTOTYPES, "twin": PROTOTYPES, "cells": CELLS, "again": CELLS}
    return {name: head.fit(bags, labels, 1) for name, head in heads.items()}


def _told(head: FittedHead, bags: BagLatents, monkeypatch: pytest.MonkeyPatch) -> str:
    for name in ("bind", "labelled_bags"):
        monkeypatch.setattr(module, name, lambda *_: None)
    monkeypatch.setattr(module, "bag_latents", lambda *_: bags)
    member = SimpleNamespace(head=head, held_out=[], features=None, stack=None)
    names = SimpleNamespace(patients=SimpleNamespace(index=[]))
    return attended_cells([member], SimpleNamespace(store=names, bags=None, extras=None))


def test_attention_of_no_weight_is_not_spoken_of(
    parts: dict[str, FittedHead], bags: BagLatents, monkeypatch: pytest.MonkeyPatch
) -> None:
    alone = FittedEnsembleHead(parts=parts, weights=[1.0, 0.0, 0.0, 0.0], inner=([], 0.0))
    assert _told(alone, bags, monkeypatch) == ""
    around = FittedEnsembleHead(
        parts={"inner": alone, "first": parts["prototypes"]}, weights=[0.5, 0.5], inner=([], 0.0)
    )
    assert _told(around, bags, monkeypatch) == ""


def test_attention_within_an_ensemble_is_judged_by_the_score_of_the_ensemble(
    parts: dict[str, FittedHead], bags: BagLatents, monkeypatch: pytest.MonkeyPatch
) -> None:
    stacked = FittedEnsembleHead(parts=parts, weights=[0.5, 0.3, 0.2, 0.0], inner=([], 0.0))
    told = _told(stacked, bags, monkeypatch)
    numbers = [float(own) for own in re.findall(r"by (\d[-.e\d]*)", told)]
    own = parts["cells"]
    of_whole = deletion_curve(own, stacked, bags, [0.2], draws=3, seed=0)
    of_itself = deletion_curve(own, own, bags, [0.2], draws=3, seed=0)
    attention = own.attention(bags)
    kept = [np.sort(np.argsort(-a, kind="stable")[8:]) for a in attention]
    moved = np.abs(stacked.logits(bags.with_cells(kept)) - stacked.logits(bags))
    np.testing.assert_allclose(of_whole.top[0], moved)
    expected = [of_whole.top.mean(), of_whole.random.mean()]
    np.testing.assert_allclose(numbers, expected, rtol=0.05)  # told with two digits
    assert abs(of_itself.top.mean() / expected[0] - 1) > 0.1  # and not the part's own
