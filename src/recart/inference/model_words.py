"""New data in the words of a model: genes by id, symbol or alias, proteins by alias."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from recart.data.cohort import Cohort
from recart.data.gene_panels import panel_genes
from recart.data.names.gene_map import bare_gene
from recart.data.names.vocabulary import InModelWords, Vocabulary
from recart.training.member_file import LoadedMember

__all__ = ["in_model_words", "present_car_genes", "warn_of_absent"]


def in_model_words(
    members: Sequence[LoadedMember], data: Any, cohort: Cohort, progress: Callable[[str], None]
) -> InModelWords:
    """Rename what the members know; `data` are the settings of their training data.

    Heads read named genes besides those of the encoder: these are looked for as well.
    """
    named = panel_genes(tuple(data.get("marker_genes") or ()))
    words = Vocabulary.of([own.features.spec for own in members], named).translate(cohort)
    for matches in (words.genes, words.proteins):
        if matches.wanted:
            progress(matches.summary())
    return words


def present_car_genes(
    named: Sequence[str], cohort: Cohort, progress: Callable[[str], None]
) -> list[str]:
    """Those of the CAR genes that the cohort has, by its names; of others the user is warned.

    They are met with the prefix of a genome as well, and by no map: a construct is no human gene.
    """
    names = list(cohort.genes.index.astype(str))
    genes = {bare_gene(name): name for name in names} | {name: name for name in names}
    present = [genes[gene] for gene in named if gene in genes]
    if lacking := [gene for gene in named if gene not in genes]:
        unknown = "which cells are CAR+ is not known, and all are read as CAR-"
        by_others = f"cells are CAR+ by {', '.join(present)} alone"
        progress(
            f"warning: the new data lack the CAR genes {', '.join(lacking)}: "
            f"{by_others if present else unknown}"
        )
    return present


def warn_of_absent(covariates: Sequence[str], progress: Callable[[str], None]) -> None:
    """Say which covariates of the model the new data lack."""
    if covariates:
        progress(
            f"warning: the new data lack {len(covariates)} covariates that the model reads: "
            f"{', '.join(covariates)}; they count as missing"
        )
