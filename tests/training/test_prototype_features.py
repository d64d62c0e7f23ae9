"""Features of bags: samples, changes and CAR+ shares by name, and what is missing stays missing."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch

from recart.models.prototypes import Prototypes
from recart.training import bag_sums
from recart.training.cell_view import CellView
from recart.training.heads import BagLatents, Token
from recart.training.prototype_features import Features, PrototypeFeatures

TOKENS = [
    Token("pre", 0, "PB", "-"),
    Token("post", 1, "PB", "-"),
    Token("post", 1, "PB", "+"),
    Token("post", 1, "BM", "-"),
]


def _bags() -> BagLatents:
    rng = np.random.default_rng(0)
    tokens = [np.repeat([0, 1, 2, 3], [10, 12, 4, 6]), np.repeat([0], 20)]
    return BagLatents(
        latents=[rng.normal(size=(len(own), 2)).astype(np.float32) for own in tokens],
        extras=np.array([[0.0, -1.0], [0.2, 3.0]]),
        extra_names=["share", "score"],
        extra_groups=["clones", "covariates"],
        patients=np.arange(2),
        token_of_cell=tokens,
        tokens=TOKENS,
        markers=[rng.normal(size=(len(own), 2)).astype(np.float32) for own in tokens],
        marker_names=["protein:CD3", "gene:TOX"],
    )


def _fitted_plain(bags: BagLatents) -> tuple[PrototypeFeatures, Features]:
    """Without markers."""
    centres = torch.tensor([[-1.0, 0], [1.0, 0]]).double()
    fitted = PrototypeFeatures.fit(
        CellView.fit(bags, 0),
        [Prototypes(centres_kl=centres, width=0.5)],
        bags,
        shrinkage=5.0,
        use_extras=True,
    )
    return fitted, fitted.of(bags)


def _fitted(bags: BagLatents) -> tuple[PrototypeFeatures, Features]:
    view = CellView.fit(bags, 0)
    centres = torch.tensor([[-1.0, 0, 0], [1.0, 0, 0]]).double()
    fitted = PrototypeFeatures.fit(
        view, [Prototypes(centres_kl=centres, width=0.5)], bags, shrinkage=5.0, use_extras=True
    )
    return fitted, fitted.of(bags)


def _value(of: Features, name: str) -> list[float]:
    return of.values[:, of.names.index(name)].tolist()


def test_samples_that_a_bag_lacks_are_not_imputed() -> None:
    _, found = _fitted(_bags())
    for name, (one, other) in {
        "sample fractions:pre/PB:0": (True, True),
        "sample fractions:post/BM:0": (True, False),
        "changes of fractions:post/PB - pre/PB:0": (True, False),
        "changes of proteins:post - pre:0:CD3": (True, False),
        "CAR+ shares:post/PB": (True, False),
    }.items():
        values = np.isfinite(_value(found, name))
        assert values.tolist() == [one, other], name
    assert not any("post/BM - " in name for name in found.names)  # marrow has no earlier sample
    assert _value(found, "CAR+ shares:post/PB")[0] == np.log(4.5 / 17)


def test_a_large_bag_is_summed_in_chunks(monkeypatch: pytest.MonkeyPatch) -> None:
    bags = _bags()
    bags = replace(bags, markers=[np.where(own > 1, np.nan, own) for own in bags.markers])
    fitted, _ = _fitted(bags)
    whole = fitted.sums(bags)
    sizes: list[int] = []
    of_bag = bag_sums.bag_cells

    def counted(*args: Any) -> Any:
        cells = of_bag(*args)
        sizes.append(len(cells.x_cf))
        return cells

    monkeypatch.setattr(bag_sums, "bag_cells", counted)
    monkeypatch.setattr(bag_sums, "_CHUNK", 15)
    parts = fitted.sums(bags)
    assert sizes == [15, 15, 2, 15, 5]
    for name in ("mass", "sums", "counts", "cells"):
        torch.testing.assert_close(getattr(parts.coarse, name), getattr(whole.coarse, name))


def test_a_tissue_that_lacks_its_first_time_point_changes_from_the_next() -> None:
    tokens = [Token(word, stage, "PB", "") for stage, word in enumerate(("pre", "day 7", "day 28"))]
    rng = np.random.default_rng(0)
    of_cell = [np.repeat([0, 1, 2], 10), np.repeat([1, 2], 10)]
    bags = BagLatents(
        latents=[rng.normal(size=(len(own), 2)) for own in of_cell],
        extras=np.zeros((2, 0)),
        extra_names=[],
        patients=np.arange(2),
        token_of_cell=of_cell,
        tokens=tokens,
    )
    fitted, found = _fitted_plain(bags)
    assert np.isfinite(_value(found, "changes of fractions:day 28/PB - before:0")).all()
    one, other = _value(found, "changes of fractions:day 7/PB - pre/PB:0")
    assert np.isfinite(one)
    assert np.isnan(other)
    # of the second patient, "before" is day 7
    shares = [_value(found, f"sample fractions:day {day}/PB:0")[1] for day in (28, 7)]
    late = _value(found, "changes of fractions:day 28/PB - before:0")[1]
    assert late == pytest.approx(shares[0] - shares[1])
    assert PrototypeFeatures.restore(fitted.state()).slots == fitted.slots


def test_logarithms_stand_beside_shares_only() -> None:
    _, found = _fitted(_bags())
    assert np.allclose(_value(found, "clones:share:log"), np.log([0.1, 0.3]))
    assert np.isnan(_value(found, "covariates:score:log")).all()
    assert found.group_names[found.shared :] == ["clones", "covariates"]


def test_tokens_and_markers_are_matched_by_name() -> None:
    bags = _bags()
    fitted, found = _fitted(bags)
    turned = replace(
        bags,
        tokens=[Token("later", 2, "PB", "-"), *TOKENS[::-1]],
        token_of_cell=[4 - own for own in bags.token_of_cell],
        markers=[np.column_stack([own[:, ::-1], own[:, 0]]) for own in bags.markers],
        marker_names=["gene:TOX", "protein:CD3", "protein:new"],
        extras=bags.extras[:, ::-1],
        extra_names=["score", "share"],
    )
    again = fitted.of(turned)
    assert again.names == found.names
    torch.testing.assert_close(again.values, found.values, equal_nan=True)
    bare = fitted.of(replace(bags, markers=(), marker_names=()))
    assert np.isnan(_value(bare, "proteins:0:CD3")).all()
    restored = PrototypeFeatures.restore(fitted.state()).of(bags)
    assert torch.equal(restored.values.nan_to_num(), found.values.nan_to_num())


def test_bags_are_read_once_and_anew_when_they_change(
    monkeypatch: pytest.MonkeyPatch, make_rich_bags: Callable[..., Any], rich_head: Any
) -> None:
    from recart.training import prototype_features

    bags, _ = make_rich_bags(4)
    calls: list[int] = []
    summed = prototype_features.sum_bags
    monkeypatch.setattr(
        prototype_features, "sum_bags", lambda *args: (calls.append(1), summed(*args))[1]
    )
    logits = rich_head.logits(bags)
    once = len(calls)
    rich_head.embedding(bags)
    rich_head.outputs(bags)
    assert len(calls) == once
    changed = replace(bags, latents=[z + 1 for z in bags.latents])
    assert not np.allclose(rich_head.logits(changed), logits)
    np.testing.assert_array_equal(rich_head.logits(bags), logits)


def test_two_threads_that_read_the_same_bags_each_get_their_own() -> None:
    """Whatever the one does at every access of the other to what both keep."""
    bags = _bags()
    one, expected = _fitted(bags)
    other = replace(one, extra_names=(), extra_groups=(), floor_e=one.floor_e[:0])
    fewer = other.of(bags).names

    class Contended(list):
        busy = False

        def _meanwhile(self) -> None:
            if not self.busy:
                self.busy = True
                assert other.of(bags).names == fewer != expected.names
                self.busy = False

        def __getitem__(self, at: Any) -> Any:
            found = super().__getitem__(at)
            self._meanwhile()
            return found

        def __setitem__(self, at: Any, value: Any) -> None:
            super().__setitem__(at, value)
            self._meanwhile()

    for before in ([], list(bags.last_read)):
        object.__setattr__(bags, "last_read", Contended(before))
        assert one.of(bags).names == expected.names
        assert one.of(bags).names == expected.names
