"""Changes over time are of the patient's own cells, beyond what is usual in a sample."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import torch

from recart.models.prototypes import Prototypes
from recart.training.bag_sums import BagSums, Slot, slots_of, sum_bags
from recart.training.cell_view import CellView
from recart.training.changes import Changes
from recart.training.heads import BagLatents, Token

TOKENS = [Token("pre", 0, "PB", ""), Token("post", 1, "PB", ""), Token("post", 1, "BM", "")]
PATIENTS, CELLS = 12, 60
CENTRES = torch.tensor([[-9.0, 0], [-9, 1], [9, 0], [9, 1]], dtype=torch.float64)


def _bags(rise: np.ndarray, level: np.ndarray, marrow: float = 0.0) -> BagLatents:
    """Every third patient lacks blood after infusion. The first latent tells two families apart."""
    rng = np.random.default_rng(0)
    tokens, latents = [], []
    for n in range(PATIENTS):
        there = [0, 2] if n % 3 == 0 else [0, 1, 2]
        token = np.repeat(there, CELLS)
        z = rng.normal(scale=0.3, size=(len(token), 2))
        left = np.arange(len(z)) % 2 == 0
        z[:, 1] += left * (level[n] + (token > 0) * rise[n]) + (token == 2) * marrow
        z[:, 0] += np.where(left, -9.0, 9.0)
        tokens.append(token)
        latents.append(z)
    return BagLatents(
        latents=latents,
        extras=np.zeros((PATIENTS, 0)),
        extra_names=[],
        patients=np.arange(PATIENTS),
        token_of_cell=tokens,
        tokens=TOKENS,
    )


def _fit(bags: BagLatents) -> tuple[Changes, BagSums]:
    prototypes = Prototypes(centres_kl=CENTRES, width=0.1)
    view = CellView(scale=1.0, names=(), mean_p=torch.zeros(0), components_pd=torch.zeros(0, 0))
    slots = slots_of(bags)
    sums = sum_bags(prototypes, view, bags, slots, ())
    return Changes.fit(prototypes, slots, sums), sums


def _moved(bags: BagLatents) -> np.ndarray:
    """(n, j) change of the second latent; family 0 is on the left."""
    changes, sums = _fit(bags)
    left = int(changes.families_kj[0].argmax())
    assert changes.families_kj[:, left].tolist() == [1, 1, 0, 0]
    return changes.of(sums)[:, 0, :, 1].numpy()[:, [left, 1 - left]]


def test_a_rise_is_found_in_its_family_and_the_level_before_it_is_not() -> None:
    rng = np.random.default_rng(1)
    rise, level = rng.normal(size=(2, PATIENTS))
    moved = _moved(_bags(rise, level))
    assert np.corrcoef(moved[:, 0], rise)[0, 1] > 0.97
    assert abs(np.corrcoef(moved[:, 0], level)[0, 1] - np.corrcoef(rise, level)[0, 1]) < 0.1
    assert np.abs(moved[:, 1]).max() < 0.1


def test_what_all_marrow_has_is_no_change() -> None:
    rise = np.random.default_rng(1).normal(size=PATIENTS)
    none = np.zeros(PATIENTS)
    moved, shifted = (_moved(_bags(rise, none, marrow)) for marrow in (0.0, 3.0))
    # what is usual is itself shrunken a little to all cells'
    np.testing.assert_allclose(shifted, moved, atol=0.1)
    assert np.corrcoef(shifted[:, 0], rise)[0, 1] > 0.97


def test_a_bag_without_a_later_sample_has_no_change() -> None:
    bags = _bags(np.zeros(PATIENTS), np.zeros(PATIENTS))
    early = [own == 0 for own in bags.token_of_cell[:1]]
    bags = replace(
        bags,
        latents=[bags.latents[0][early[0]], *bags.latents[1:]],
        token_of_cell=[bags.token_of_cell[0][early[0]], *bags.token_of_cell[1:]],
    )
    changes, sums = _fit(bags)
    found = changes.of(sums)
    assert torch.isnan(found[0]).all()
    assert torch.isfinite(found[1:]).all()
    assert changes.titles == ["post - pre"]


def test_who_lacks_the_first_time_point_has_a_change_from_the_next() -> None:
    """Apheresis, product and day 28; every second patient has no apheresis."""
    rise = np.random.default_rng(1).normal(size=PATIENTS)
    bags = _bags(rise, np.zeros(PATIENTS))
    words = [
        Token("apheresis", 0, "PB", ""),
        Token("product", 1, "", ""),
        Token("D28", 2, "PB", ""),
    ]
    latents, tokens = [], []
    for n, (z, token) in enumerate(zip(bags.latents, bags.token_of_cell, strict=True)):
        before, after = z[token == 0], z[token == 2]
        first = [before] if n % 2 else []
        latents.append(np.concatenate([*first, before, after]))
        tokens.append(np.repeat([0, 1, 2] if n % 2 else [1, 2], CELLS))
    changes, sums = _fit(replace(bags, latents=latents, token_of_cell=tokens, tokens=words))
    assert changes.titles == ["product - apheresis", "D28 - before"]
    left = int(changes.families_kj[0].argmax())
    found = changes.of(sums)[:, :, left, 1].numpy()
    assert np.isnan(found[::2, 0]).all()
    assert np.isfinite(found[:, 1]).all()
    for own in (slice(0, None, 2), slice(1, None, 2)):
        assert np.corrcoef(found[own, 1], rise[own])[0, 1] > 0.97


def test_a_sample_without_a_tissue_or_a_time_is_a_slot_of_its_own() -> None:
    bags = _bags(np.zeros(PATIENTS), np.zeros(PATIENTS))
    lacking = [Token("post", 1, "", ""), Token("", -1, "", "")]
    tokens = [own.copy() for own in bags.token_of_cell]
    tokens[1][tokens[1] == 2], tokens[4][tokens[4] == 0] = 3, 4
    bags = replace(bags, tokens=[*TOKENS, *lacking], token_of_cell=tokens)
    changes, sums = _fit(bags)
    assert [slot.name for slot in changes.slots] == [
        *("", "not given", "pre/PB", "post", "post/BM", "post/PB")
    ]
    # every cell is in one sample's slot, and in that of all cells
    torch.testing.assert_close(sums.cells[:, 1:].sum(1), sums.cells[:, 0])
    torch.testing.assert_close(sums.mass[:, 1:].sum(1), sums.mass[:, 0])
    assert sums.cells[0, 3] == 0
    assert sums.cells[1, 3] == CELLS
    # what has no time point is before and after nothing
    assert changes.titles == ["post - pre"]
    assert torch.isnan(changes.of(sums)[4]).all()
    assert slots_of(bags) == [Slot(*own) for own in (tuple(slot) for slot in changes.slots)]
