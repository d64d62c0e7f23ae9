"""Training patients are recognised by what was counted, whatever they are called now."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest

from recart.data.features import BoundFeatures, FeatureChoice, bind
from recart.data.store import CohortStore
from recart.inference.trust.fingerprints import Fingerprints


@pytest.fixture
def store(make_store: Callable[..., CohortStore]) -> CohortStore:
    return make_store(patients=6, cells=80)


def bound_to(store: CohortStore, other: CohortStore) -> BoundFeatures:
    cells = np.arange(len(store.cells))
    return bind(FeatureChoice(n_genes=30, exclude=(), prior_cells=20).fit(store, cells, 0), other)


@pytest.fixture
def prints(store: CohortStore) -> Fingerprints:
    """Of the first five patients."""
    return Fingerprints.fit("key", bound_to(store, store), store, range(5))


def met(prints: Fingerprints, store: CohortStore, other: CohortStore) -> list[bool]:
    """Of each patient of `other`."""
    patient = other.cells["patient"].to_numpy()
    bound = bound_to(store, other)
    return [
        prints.recognised(bound, other, np.flatnonzero(patient == p))
        for p in range(len(other.patients))
    ]


def test_who_was_in_training_is_met_again_and_nobody_else(
    prints: Fingerprints, store: CohortStore, make_store: Callable[..., CohortStore]
) -> None:
    assert met(prints, store, store) == [True] * 5 + [False]
    assert met(prints, store, make_store(patients=6, cells=80, seed=1)) == [False] * 6


def test_other_names_orders_and_a_part_of_the_cells_do_not_hide_it(
    prints: Fingerprints, store: CohortStore
) -> None:
    rng = np.random.default_rng(0)
    genes = rng.permutation(len(store.genes))
    renamed = replace(
        store,
        rna=store.rna[:, genes].tocsr(),
        genes=tuple(store.genes[g] for g in genes),
        patients=store.patients.set_axis([f"new{i}" for i in range(6)]),
    )
    assert met(prints, store, renamed) == [True] * 5 + [False]
    bound = bound_to(store, renamed)
    cells = rng.permutation(np.flatnonzero(store.cells["patient"].to_numpy() == 2))
    assert prints.recognised(bound, renamed, cells[: len(cells) // 4])


def test_proteins_alone_are_enough(store: CohortStore) -> None:
    panel = 12
    rng = np.random.default_rng(0)
    shown = rng.poisson(20, (len(store.cells), panel)).astype(np.uint16)
    wide = replace(
        store,
        protein=shown,
        proteins=tuple(f"PROT{i}" for i in range(panel)),
        protein_measured=np.ones((len(store.samples), panel), dtype=bool),
    )
    prints = Fingerprints.fit("key", bound_to(wide, wide), wide, range(5))
    fewer = replace(wide, rna=wide.rna[:, :20].tocsr(), genes=wide.genes[:20])
    assert met(prints, wide, fewer) == [True] * 5 + [False]


def test_another_key_gives_other_numbers_and_plain_content_the_same(
    prints: Fingerprints, store: CohortStore
) -> None:
    other = Fingerprints.fit("another", bound_to(store, store), store, range(5))
    assert not np.isin(other.kept[:, 0], prints.kept[:, 0][prints.kept[:, 0] < 2**64 - 1]).any()
    again = Fingerprints.from_plain(prints.plain())
    np.testing.assert_array_equal(again.kept, prints.kept)
    assert met(again, store, store) == [True] * 5 + [False]
