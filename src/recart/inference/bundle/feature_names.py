"""Genes and proteins of a bundle, by all the names that they are known by."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final

from recart.data.names.gene_map import GENE_MAP_VERSION, gene_id, gene_symbol
from recart.data.names.protein_aliases import (
    PROTEIN_ALIASES_VERSION,
    marker_aliases,
    marker_gene,
    marker_of,
)

__all__ = ["feature_names", "given_id"]

_GIVEN: Final = "cohort"


def feature_names(members: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """Every gene of any member with id and symbol, and every protein with its marker and aliases.

    A gene's Ensembl id is that of the training cohort, else of recart's map, whichever `id_from`
    says; empty where neither knows. Its symbol is that of recart's map for this id, which the name
    in the cohort need not be: an Ensembl id, or a symbol of before. `members` are the contents of
    their files.
    """
    given: dict[str, str] = {}
    for own in members:
        features = own["features"]
        ids = features.get("gene_ids") or [""] * len(features["genes"])
        for name, known in zip(features["genes"], ids, strict=True):
            given[name] = given.get(name) or known
    return {
        "genes": [_gene(name, known) for name, known in given.items()],
        "proteins": [_protein(name) for name in members[0]["features"]["proteins"]],
        "alias_table": PROTEIN_ALIASES_VERSION,
    }


def given_id(gene: Mapping[str, str]) -> str:
    """The Ensembl id that the training cohort came with; empty where it had none."""
    return gene["ensembl"] if gene["id_from"] == _GIVEN else ""


def _gene(name: str, known: str) -> dict[str, str]:
    ensembl = known or gene_id(name)
    return {
        "name": name,
        "ensembl": ensembl,
        "id_from": _GIVEN if known else f"gene map {GENE_MAP_VERSION}",
        "symbol": gene_symbol(ensembl),
    }


def _protein(name: str) -> dict[str, Any]:
    marker = marker_of(name)
    return {
        "name": name,
        "marker": marker,
        "gene": marker_gene(marker) if marker else "",
        "aliases": list(marker_aliases(marker)) if marker else [],
    }
