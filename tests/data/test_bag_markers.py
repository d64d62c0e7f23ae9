"""Markers: each cell's own numbers, NaN where nothing was measured, one array for all members."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest

from recart.data.bag_markers import BagMarkers, check_marker_genes, marker_names
from recart.data.bags import Admission, Bags, Reading, make_bags
from recart.data.features import FeatureChoice, bind
from recart.data.gene_panels import named_genes
from recart.data.names.gene_map import gene_id
from recart.data.store import CohortStore, open_store, write_store
from recart.problems import InputError

MakeStore = Callable[..., CohortStore]


def _bags(store: CohortStore, genes: tuple[str, ...], day: float | None = None) -> Bags:
    labels = pd.Series(1.0, index=store.patients.index)
    return make_bags(
        store,
        labels,
        unit="patient",
        admission=Admission(decision_day=day),
        reading=Reading(marker_genes=genes),
    )


def _markers(
    store: CohortStore, bags: Bags, rows: list[int], fitted_to: CohortStore | None = None
) -> BagMarkers:
    """As a member reads them that was fitted to all cells of a store: by default to these."""
    source = store if fitted_to is None else fitted_to
    choice = FeatureChoice(n_genes=40, exclude=(), prior_cells=20)
    features = choice.fit(source, np.arange(len(source.cells)), seed=0)
    return BagMarkers(store, bags, rows, bind(features, store))


@pytest.fixture
def store(make_store: MakeStore) -> CohortStore:
    """The second sample of patient 0 was stained without PROT2."""
    made = make_store(patients=3)
    measured = made.protein_measured.copy()
    measured[1, 2] = False
    return replace(made, protein_measured=measured)


def test_values_by_hand(store: CohortStore) -> None:
    bags = _bags(store, ("GENE3", "GENE1"))
    names = marker_names(store, bags)
    assert names[:2] == ("protein:PROT0", "protein:PROT1")
    assert names[-2:] == ("gene:GENE3", "gene:GENE1")
    markers = _markers(store, bags, [0])[0]
    assert markers.dtype == np.float32
    assert store.protein is not None
    cells = bags.cells([0])
    # what the proteins of the second sample lack of the usual mean
    measured = store.protein_measured[store.cells["sample"].to_numpy()]
    usual = np.where(measured, np.log1p(np.asarray(store.protein, dtype=float)), 0).sum(0)
    usual /= measured.sum(0)
    for cell in (0, len(cells) - 1):
        row = int(cells[cell])
        kept = store.protein_measured[store.cells["sample"].iloc[row]]
        logs = np.log1p(store.protein[row : row + 1][0].astype(float))
        moved = usual[kept].mean() - usual.mean()
        assert kept.all() == (moved == 0)
        expected = np.where(kept, logs - logs[kept].mean() + moved, np.nan)
        np.testing.assert_allclose(markers[cell, :7], expected, rtol=1e-5, atol=1e-6)
        counts = store.rna[row : row + 1].toarray()[0]
        own = np.log1p(1e4 * counts[[3, 1]] / counts.sum())
        np.testing.assert_allclose(markers[cell, 7:], own, rtol=1e-5)
    first = store.sample_slice(0)
    assert np.isfinite(markers[: first.stop - first.start, 2]).all()
    assert np.isnan(markers[first.stop - first.start :, 2]).all()


def _panel(store: CohortStore, genes: list[int], proteins: list[int]) -> CohortStore:
    """The store of a laboratory that measured these columns only."""
    rna = store.rna[:, genes]
    assert store.protein is not None
    return replace(
        store,
        rna=rna,
        genes=tuple(store.genes[g] for g in genes),
        protein=np.asarray(store.protein)[:, proteins],
        proteins=tuple(store.proteins[a] for a in proteins),
        protein_measured=store.protein_measured[:, proteins],
        cells=store.cells.assign(n_counts=np.asarray(rna.sum(axis=1)).ravel()),
    )


def test_another_panel_moves_no_marker_on_average(make_store: MakeStore) -> None:
    whole = make_store(patients=3, cells=400)
    genes, proteins = [1, 3, 4, 9, 11, 12, 20, 31, 33], [0, 2, 3, 6]
    part = _panel(whole, genes, proteins)
    bags, of_part = _bags(whole, ("GENE3", "GENE9")), _bags(part, ("GENE3", "GENE9"))
    expected, found = _markers(whole, bags, [0])[0], _markers(part, of_part, [0], whole)[0]
    alone = _markers(part, of_part, [0])[0]  # as if the panel were all there is
    kept = [0, 2, 3, 6, 7, 8]
    for a, own in enumerate(kept):
        off = abs(float(found[:, a].mean() - expected[:, own].mean()))
        untold = abs(float(alone[:, a].mean() - expected[:, own].mean()))
        assert off < min(0.15, untold / 2), (a, off, untold)
    # an antibody that the member does not know moves nothing
    more = replace(
        whole,
        protein=np.c_[np.asarray(whole.protein), np.full(len(whole.cells), 900)],
        proteins=(*whole.proteins, "OTHER"),
        protein_measured=np.c_[whole.protein_measured, np.ones(len(whole.samples), dtype=bool)],
    )
    wider = _markers(more, _bags(more, ("GENE3", "GENE9")), [0], whole)[0]
    np.testing.assert_array_equal(np.delete(wider, 7, axis=1), expected)


def test_members_share_one_array_and_a_changed_store_does_not(store: CohortStore) -> None:
    bags = _bags(store, ("GENE3",))
    whole = replace(store, protein_measured=np.ones_like(store.protein_measured))
    assert _markers(whole, bags, [1, 2])[1] is _markers(whole, bags, [2])[0]
    one = _markers(store, bags, [1, 2])
    np.testing.assert_array_equal(one[1:][0], one[1])
    protein = np.asarray(store.protein).copy()
    protein[:] = 7
    changed = _markers(replace(store, protein=protein), bags, [2])[0]
    assert not np.array_equal(changed, one[1])
    # the same patient with fewer admitted samples is another bag
    assert len(_markers(store, _bags(store, ("GENE3",), day=0), [2])[0]) < len(one[1])
    assert _markers(store, _bags(store, ()), [2])[0].shape[1] == 7


def test_a_gene_that_new_patients_lack_is_missing(store: CohortStore) -> None:
    markers = _markers(store, _bags(store, ("GONE", "GENE0")), [0])[0]
    assert np.isnan(markers[:, 7]).all()
    assert np.isfinite(markers[:, 8]).all()


def test_unknown_genes_are_refused_before_training(store: CohortStore) -> None:
    check_marker_genes(store, ["GENE0"])
    with pytest.raises(InputError, match="E-MARK-001") as error:
        check_marker_genes(store, ["GEN3", "GENE0", "Q"])
    assert [problem.feature for problem in error.value.problems] == ["GEN3", "Q"]
    assert "GENE3" in error.value.problems[0].mend


def test_the_same_from_disk(store: CohortStore, tmp_path: object) -> None:
    path = tmp_path / "a.zarr"  # type: ignore[operator]
    write_store(store, path)
    lazy = open_store(path, in_memory=False)
    for n in range(3):
        np.testing.assert_array_equal(
            _markers(lazy, _bags(lazy, ("GENE5",)), [n])[0],
            _markers(store, _bags(store, ("GENE5",)), [n])[0],
        )


def test_normalised_values_stay(store: CohortStore) -> None:
    values = store.rna.astype(np.float32)
    given = replace(store, rna=values, normalised=True)
    markers = _markers(given, _bags(given, ("GENE4",)), [0])[0]
    np.testing.assert_array_equal(markers[:, -1], values[: len(markers), 4].toarray()[:, 0])


def test_a_store_named_by_ensembl_ids_has_the_named_genes_too(make_store: MakeStore) -> None:
    made = make_store(patients=2)
    symbols = ("GZMB", "CD3D", "CXCL8", *made.genes[3:])
    named = replace(made, genes=symbols)
    versions = tuple(f"{own}.3" if (own := gene_id(name)) else name for name in symbols)
    by_id = replace(made, genes=versions)
    before = replace(made, genes=("GZMB", "CD3D", "IL8", *made.genes[3:]))
    given = replace(
        made, genes=("a", "b", "c", *symbols[3:]), gene_ids=tuple(map(gene_id, symbols))
    )
    asked = named_genes(named, ["panel:immune"])
    assert set(asked) == {"GZMB", "CD3D", "CXCL8"}
    values = _markers(named, _bags(named, asked), [0])[0]
    for other in (by_id, before, given):
        assert named_genes(other, ["panel:immune"]) == asked
        check_marker_genes(other, asked)
        bags = _bags(other, asked)
        assert marker_names(other, bags)[-3:] == tuple(f"gene:{name}" for name in asked)
        np.testing.assert_array_equal(_markers(other, bags, [0])[0], values)
