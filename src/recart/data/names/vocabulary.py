"""The names that a model knows, and a cohort in its words."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from typing import Any

import pandas as pd

from recart.contracts import FeatureSpec
from recart.data.cohort import Cohort
from recart.data.names.gene_map import (
    bare_gene,
    ensembl_id,
    folded,
    gene_id,
    known_ids,
    without_suffix,
)
from recart.data.names.gene_places import gene_places
from recart.data.names.isotopes import without_isotope
from recart.data.names.matching import NameMatches, Pass, match_names
from recart.data.names.protein_aliases import bare_protein, marker_of

__all__ = ["InModelWords", "Vocabulary"]


@dataclass(frozen=True, kw_only=True)
class InModelWords:
    """A cohort whose genes and proteins have the model's names, and how each was matched.

    What the model does not know keeps the name that it was given.
    """

    cohort: Cohort
    genes: NameMatches
    proteins: NameMatches

    def exported(self, given: Cohort) -> Cohort:
        """The renamed cohort, with the names that it came with in a column `given_name`."""
        names = [str(name) for name in given.genes.index]
        if names == [str(name) for name in self.cohort.genes.index]:
            return self.cohort
        return replace(self.cohort, genes=self.cohort.genes.assign(given_name=names))

    def table(self, given: Cohort) -> pd.DataFrame:
        """How every name was matched; `given` is the cohort with its own names."""
        parts = (
            self.genes.table([str(name) for name in given.genes.index]),
            self.proteins.table(given.proteins),
        )
        return pd.concat(parts, ignore_index=True)


@dataclass(frozen=True, kw_only=True)
class Vocabulary:
    """Genes with their Ensembl ids (empty where not known), and proteins.

    `optional` genes are looked for, and not missed.
    """

    genes: tuple[str, ...]
    gene_ids: tuple[str, ...]
    proteins: tuple[str, ...]
    optional: frozenset[str] = frozenset()

    @classmethod
    def of(cls, specs: Iterable[FeatureSpec], genes: Sequence[str] = ()) -> Vocabulary:
        """What any of the members knows, and further `genes` by name, which are optional.

        A further gene that a member knows by another name is found as the member's.
        """
        ids: dict[str, str] = {}
        proteins: dict[str, None] = {}
        for spec in specs:
            own = spec.gene_ids or ("",) * len(spec.genes)
            for name, gene in zip(spec.genes, own, strict=True):
                ids[name] = ids.get(name) or gene
            proteins |= dict.fromkeys(spec.proteins)
        known = gene_places(genes, tuple(ids), tuple(ids.values())) >= 0
        optional = frozenset(name for name, own in zip(genes, known, strict=True) if not own)
        ids |= dict.fromkeys((name for name in genes if name in optional), "")
        return cls(
            genes=tuple(ids),
            gene_ids=tuple(ids.values()),
            proteins=tuple(proteins),
            optional=optional,
        )

    def translate(self, cohort: Cohort) -> InModelWords:
        """Find these names in a cohort and rename what was found; nothing is summed or left out."""
        names = [str(name) for name in cohort.genes.index]
        genes, proteins = self.match(names, _given_ids(cohort, names), cohort.proteins)
        index = list(names)
        for name, (position, _) in genes.found.items():
            index[position] = name
        panel = list(cohort.proteins)
        for name, (position, _) in proteins.found.items():
            panel[position] = name
        renamed = replace(
            cohort,
            genes=cohort.genes.set_axis(pd.Index(index, dtype=object), axis=0),
            proteins=panel,
        )
        return InModelWords(cohort=renamed, genes=genes, proteins=proteins)

    def match(
        self, genes: Sequence[str], gene_ids: Sequence[str], proteins: Sequence[str]
    ) -> tuple[NameMatches, NameMatches]:
        """Where each gene and protein stands in these lists."""
        return self._match_genes(genes, gene_ids), self._match_proteins(proteins)

    def _match_genes(self, given: Sequence[str], ids: Sequence[str]) -> NameMatches:
        def by(of: Any) -> dict[str, Any]:
            return {"wanted": lambda _, name: (of(name),), "given": lambda _, name: (of(name),)}

        own_ids = self.gene_ids or ("",) * len(self.genes)
        wanted_ids = known_ids(self.genes, own_ids)
        stripped = {
            "wanted": lambda i, name: (folded(name), wanted_ids[i]),
            "given": lambda _, name: (
                folded(without_suffix(name)),
                gene_id(without_suffix(name)),
            ),
        }
        passes = (
            Pass(how="name", **by(str)),
            Pass(
                how="Ensembl id",
                wanted=lambda i, name: (own_ids[i] or ensembl_id(bare_gene(name)),),
                given=lambda i, name: (ids[i] or ensembl_id(bare_gene(name)),),
            ),
            Pass(how="name without prefix or version", **by(bare_gene)),
            Pass(how="name in other letters", **by(folded)),
            Pass(
                how="gene map",
                wanted=lambda i, _: (wanted_ids[i],),
                given=lambda i, name: (ids[i] or gene_id(name),),
            ),
            Pass(how="name without suffix", **stripped),
        )
        found = match_names("gene", self.genes, given, passes)
        wanted = [own for own in self.genes if own in found.found or own not in self.optional]
        return replace(found, wanted=tuple(wanted))

    def _match_proteins(self, given: Sequence[str]) -> NameMatches:
        def by(of: Any) -> dict[str, Any]:
            return {"wanted": lambda _, name: (of(name),), "given": lambda _, name: (of(name),)}

        passes = (
            Pass(how="name", **by(str)),
            Pass(how="name without tag", **by(lambda name: bare_protein(name).upper())),
            Pass(how="alias", **by(marker_of)),
            # models trained on mass cytometry of before are named 145Nd_CD4
            Pass(how="name without isotope", **by(_antigen)),
        )
        return match_names("protein", self.proteins, given, passes)


def _antigen(name: str) -> str:
    bare = without_isotope(name)
    return marker_of(bare) or bare_protein(bare).upper()


def _given_ids(cohort: Cohort, names: Sequence[str]) -> list[str]:
    if "ensembl" not in cohort.genes:
        return [""] * len(names)
    return [ensembl_id(str(own)) for own in cohort.genes["ensembl"]]
