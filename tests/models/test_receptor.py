"""The receptor terms against their plain formulas, counted by cells and by clones."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest
import torch

from recart.data.batches import gather
from recart.data.features import FeatureChoice, bind
from recart.data.store import CohortStore
from recart.models.objective import TermWeights
from recart.models.totalvi import Sizes, TotalVI


@pytest.mark.parametrize("clone_level", [False, True])
def test_each_cell_or_each_clone_counts_once(
    make_store: Callable[..., CohortStore], clone_level: bool
) -> None:
    store = make_store(patients=3)
    features = FeatureChoice(n_genes=100, exclude=[], prior_cells=5).fit(store, np.arange(30), 0)
    own = store.sample_slice(1)
    cells = np.arange(own.start, own.stop)
    batch = gather(store, [bind(features, store)], [cells], width=len(cells) + 2)
    genes, batches = len(features.spec.genes), len(features.spec.batches)
    sizes = Sizes(genes=genes, proteins=7, receptor=6, batches=(batches,))
    recipe = TotalVI(4, 8, weights=TermWeights(clone_level=clone_level))
    stack = recipe.stack(sizes, [3])
    with torch.no_grad():
        terms = stack.terms(batch, None)
        z_mbl = stack.latent(batch).mean_mbl
        decoded = stack.decoder(z_mbl, stack.known_batch(batch), None)
    assert store.receptor is not None
    clone = store.cells["clone"].to_numpy()[cells]
    predicted = decoded.receptor_mbt[0].numpy()
    distance = np.zeros(len(cells))
    for i, c in enumerate(clone):
        if c >= 0:
            truth = store.receptor[c]
            norm = np.linalg.norm(truth) * np.linalg.norm(predicted[i])
            distance[i] = 1 - truth @ predicted[i] / norm
    expected = distance.sum()
    if clone_level:  # the mean over clones of the mean distance of a clone, for each cell
        means = [distance[clone == c].mean() for c in np.unique(clone[clone >= 0])]
        expected = (clone >= 0).sum() * np.mean(means)
    assert float(terms["receptor"].sum()) == pytest.approx(expected, rel=1e-5)
    # nothing else is counted otherwise
    plain = replace(recipe, weights=TermWeights()).stack(sizes, [3])
    with torch.no_grad():
        for name, value in plain.terms(batch, None).items():
            if name != "receptor" or not clone_level:
                assert torch.equal(value, terms[name]), name
            else:
                assert not torch.equal(value, terms[name])
