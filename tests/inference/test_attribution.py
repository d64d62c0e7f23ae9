"""What a cell adds to its patient's score: it sums, and it is what deletion says."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest

from recart.inference.attributed_cells import AttributedCells
from recart.inference.attribution import attribute_cells
from recart.inference.score_parts import ScoreParts, score_parts
from recart.training.decision_rule import DecisionRule
from recart.training.ensemble_head import EnsembleHead, FittedEnsembleHead
from recart.training.heads import BagLatents, FittedHead
from recart.training.mixed_head import MixedHead
from recart.training.prototype_head import PrototypeHead

RULE = DecisionRule(intercept=0.3, slope=0.8, calibrated=True)
HEAD = PrototypeHead(
    prototypes=3,
    fine_prototypes=6,
    shrinkage=5.0,
    cells=600,
    strengths=[0.1],
    inner_folds=3,
    use_extras=True,
)
MakeBags = Callable[..., tuple[BagLatents, np.ndarray]]


def _without(bags: BagLatents, n: int, gone: np.ndarray) -> BagLatents:
    kept = np.setdiff1d(np.arange(len(bags.latents[n])), gone)
    return replace(
        bags,
        latents=[bags.latents[n][kept]],
        extras=bags.extras[n : n + 1],
        patients=bags.patients[n : n + 1],
        token_of_cell=[bags.token_of_cell[n][kept]],
        markers=[bags.markers[n][kept]],
    )


@pytest.mark.parametrize("ensemble", [False, True])
def test_cells_sum_to_the_score_of_the_patient(make_rich_bags: MakeBags, ensemble: bool) -> None:
    bags, labels = make_rich_bags(16)
    recipe = EnsembleHead(heads={"a": HEAD, "b": replace(HEAD, prototypes=2)}) if ensemble else HEAD
    head: FittedHead = recipe.fit(bags, labels, seed=1)
    for n in range(4):
        told = attribute_cells(head, RULE, bags, n)
        assert told.method == "growth"
        score = RULE.log_odds(head.logits(bags))[n]
        assert told.base + told.contributions.sum() == pytest.approx(score, abs=1e-9)


def test_what_has_no_weight_in_an_ensemble_is_no_part_of_its_score(
    make_rich_bags: MakeBags,
) -> None:
    """An ensemble of the prototypes alone is told as the prototypes are, to the bit."""
    bags, labels = make_rich_bags(16)
    recipe = MixedHead(strengths=[0.1], weightings=[1.0], cells=30, inner_folds=3)
    own, mixed = HEAD.fit(bags, labels, seed=1), recipe.fit(bags, labels, seed=1)
    head = FittedEnsembleHead(
        parts={"mixed": mixed, "prototypes": own}, weights=[0.0, 1.0], inner=([], 0.0)
    )
    told, alone = (attribute_cells(fitted, RULE, bags, 1) for fitted in (head, own))
    assert told.method == "growth"
    assert (told.base, told.rest) == (alone.base, alone.rest)
    np.testing.assert_array_equal(told.contributions, alone.contributions)
    assert score_parts(head) == ScoreParts(linear=[(own, 1.0)], residuals=[], others=[])


def test_members_of_two_methods_do_not_pass_for_growth() -> None:
    grown, deleted = (
        AttributedCells(
            cells=np.ones(3, dtype=np.float32),
            of_bags=pd.DataFrame({"base": [base], "rest": [0.0]}),
            method=method,
        )
        for base, method in ((1.0, "growth"), (np.nan, "deletion"))
    )
    both = AttributedCells.mean([grown, deleted])
    assert both is not None
    assert both.method == "deletion"
    assert both.of_bags["base"].isna().all()
    alike = AttributedCells.mean([grown, grown])
    assert alike is not None
    assert alike.method == "growth"


def test_the_growth_finds_the_sum_by_itself(
    make_rich_bags: MakeBags, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What cells share because the steps are coarse is next to nothing."""
    from recart.inference import attribution

    bags, labels = make_rich_bags(16, cells=200)
    head = HEAD.fit(bags, labels, seed=1)
    coarse = [attribute_cells(head, RULE, bags, n).contributions for n in range(4)]
    monkeypatch.setattr(attribution, "_STEPS", 2000)
    exact = [attribute_cells(head, RULE, bags, n).contributions for n in range(4)]
    for one, other in zip(coarse, exact, strict=True):
        assert np.abs(one - other).sum() < 0.01 * np.abs(other).sum()


def test_a_cell_adds_what_its_deletion_takes(make_rich_bags: MakeBags) -> None:
    bags, labels = make_rich_bags(16, cells=200)
    head = HEAD.fit(bags, labels, seed=1)
    rng = np.random.default_rng(0)
    score = RULE.log_odds(head.logits(bags))
    close = []
    for n in range(4):
        told = attribute_cells(head, RULE, bags, n).contributions
        order = np.argsort(told)
        gone = [
            order[:40],
            order[-40:],
            order[80:120],
            *(rng.permutation(200)[:40] for _ in range(9)),
        ]
        added = [told[own].sum() for own in gone]
        lost = [score[n] - RULE.log_odds(head.logits(_without(bags, n, own)))[0] for own in gone]
        close.append(np.corrcoef(added, lost)[0, 1])
        assert lost[1] > lost[2] > lost[0]  # who adds most is missed most
    assert np.mean(close) > 0.9, close


def test_order_of_cells_and_company_change_nothing(make_rich_bags: MakeBags) -> None:
    bags, labels = make_rich_bags(16)
    head = HEAD.fit(bags, labels, seed=1)
    turned = np.random.default_rng(0).permutation(60)
    alone = replace(
        bags,
        latents=[bags.latents[2][turned]],
        extras=bags.extras[2:3],
        patients=bags.patients[2:3],
        token_of_cell=[bags.token_of_cell[2][turned]],
        markers=[bags.markers[2][turned]],
    )
    whole = attribute_cells(head, RULE, bags, 2).contributions
    np.testing.assert_allclose(
        attribute_cells(head, RULE, alone, 0).contributions, whole[turned], atol=1e-12
    )


def test_a_head_without_sums_is_told_by_deletion(make_rich_bags: MakeBags) -> None:
    bags, labels = make_rich_bags(16)
    recipe = MixedHead(strengths=[0.1], weightings=[1.0], cells=30, inner_folds=3)
    head = recipe.fit(bags, labels, seed=1)
    told = attribute_cells(head, RULE, bags, 1)
    assert told.method == "deletion"
    assert np.isnan(told.base)
    score = RULE.log_odds(head.logits(bags))[1]
    share = np.flatnonzero(told.contributions == told.contributions[0])
    lost = score - RULE.log_odds(head.logits(_without(bags, 1, share)))[0]
    assert told.contributions[share].sum() == pytest.approx(lost, abs=1e-9)
