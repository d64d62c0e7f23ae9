"""Panels of genes stand for what of them a cohort has."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import pytest

from recart.data.bag_markers import check_marker_genes
from recart.data.gene_panels import PANELS, named_genes
from recart.data.store import CohortStore
from recart.problems import InputError


def test_a_panel_is_what_the_cohort_has_of_it(make_store: Callable[..., CohortStore]) -> None:
    made = make_store()
    store = replace(made, genes=("GZMB", "CD3D", *made.genes[2:]))
    assert named_genes(store, ["panel:immune"]) == ("CD3D", "GZMB")
    assert named_genes(store, ["GENE5", "panel:immune", "GZMB"]) == ("GENE5", "CD3D", "GZMB")
    check_marker_genes(store, named_genes(store, ["panel:immune"]))


def test_a_gene_or_panel_that_is_not_there_is_named(make_store: Callable[..., CohortStore]) -> None:
    store = make_store()
    with pytest.raises(InputError) as caught:
        check_marker_genes(store, named_genes(store, ["panel:imune", "GZMB"]))
    assert [problem.feature for problem in caught.value.problems] == ["panel:imune", "GZMB"]


def test_no_gene_stands_twice_in_a_panel() -> None:
    assert all(len(set(own)) == len(own) for own in PANELS.values())
