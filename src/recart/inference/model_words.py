"""New data in the words of a model: genes by id, symbol or alias, proteins by alias."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from recart.data.cohort import Cohort
from recart.data.gene_panels import panel_genes
from recart.data.names.vocabulary import InModelWords, Vocabulary
from recart.training.member_file import LoadedMember

__all__ = ["in_model_words"]


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
