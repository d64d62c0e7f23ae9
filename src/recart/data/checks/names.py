"""Names of cells, genes and proteins: unique, present and of one species."""

from __future__ import annotations

import re
from typing import Final

import numpy as np
import pandas as pd

from recart.data.cohort import Cohort
from recart.data.names.protein_aliases import marker_of
from recart.problems import Problem, Problems

__all__ = ["check_names", "is_isotype"]

_MONTH: Final = "Jan|Feb|Mar|Apr|May|Jun|Jul|Aug|Sep|Sept|Oct|Nov|Dec"
_DATE: Final = re.compile(rf"^(?:(\d{{1,2}})-({_MONTH})|({_MONTH})-(\d{{1,2}}))$", re.IGNORECASE)
_FAMILY: Final = {"mar": "MARCHF", "sep": "SEPTIN", "sept": "SEPTIN", "dec": "DELEC"}
_UNNAMED: Final = frozenset({"", "nan", "none", "na", "<na>"})
# Human symbols are upper case but for open reading frames (C1orf112); mouse ones are capitalised.
# Ensembl ids of other species have letters of the species before the G.
_MOUSE: Final = re.compile(r"^(?:[A-Z][a-z]+[a-z0-9-]*|ENS[A-Z]{3,4}G\d{11}(?:\.\d+)?)$")
_MOUSE_SHARE: Final = 0.5
_ISOTYPE: Final = re.compile(
    r"isotype|(?:mouse|rat|hamster)[ _-]?ig[gm]|^igg[123][abc]?(?:[ _-](?:ctrl|control))?$"
    r"|igg[123]?[abc]?[ _-](?:ctrl|control)",
    re.IGNORECASE,
)


def is_isotype(name: str) -> bool:
    """Whether a protein is an isotype control, which measures background only."""
    return bool(_ISOTYPE.search(name))


def check_names(cohort: Cohort, problems: Problems) -> None:
    """Check ids of cells, symbols of genes and names of proteins."""
    _check_cells(cohort, problems)
    _check_genes(cohort, problems)
    _check_proteins(cohort, problems)


def _check_cells(cohort: Cohort, problems: Problems) -> None:
    twice = cohort.cells.index.duplicated()
    if not twice.any():
        return
    for sample, ids in (
        cohort.cells.index[twice].to_series().groupby(cohort.cells["sample"].to_numpy()[twice])
    ):
        problems.error(
            Problem(
                code="E-ID-001",
                what=f"cell id {ids.iloc[0]} stands several times in the sample",
                mend="make cell ids unique within each sample (several GEM wells need a suffix)",
                file=cohort.source.get("rna", ""),
                sample=str(sample),
                column="barcode",
                count=len(ids),
                examples=tuple(map(str, ids.unique()[:3])),
            )
        )


def _check_genes(cohort: Cohort, problems: Problems) -> None:
    names = cohort.genes.index.astype(str)
    file = cohort.source.get("rna", "")

    def error(code: str, what: str, mend: str, which: pd.Index) -> None:
        problems.error(
            Problem(
                code=code,
                what=what,
                mend=mend,
                file=file,
                feature=str(which[0]),
                count=len(which),
                examples=tuple(map(str, which[:5])),
            )
        )

    unnamed = names.str.lower().isin(_UNNAMED)
    if unnamed.any():
        at = pd.Index([f"column {i}" for i in np.flatnonzero(unnamed)])
        error("E-GENE-002", "genes without a name", "name them or remove them", at)
    twice = names[names.duplicated() & ~unnamed].unique()
    if len(twice):
        mend = "set data.reader.duplicate_genes to sum, first or ensembl"
        error("E-GENE-001", "gene names stand several times", mend, twice)
    dates = names[[bool(_DATE.match(name)) for name in names]]
    if len(dates):
        meant = ", ".join(dict.fromkeys(map(_undated, dates[:5])))
        error("E-GENE-003", "a spreadsheet turned genes into dates", f"rename to {meant}", dates)
    mouse = names[[bool(_MOUSE.match(name)) for name in names]]
    if len(mouse) > _MOUSE_SHARE * len(names):
        what = f"{len(mouse) / len(names):.0%} of the names look like genes of the mouse "
        what += f"or another species ({mouse[0]}?)"
        error("E-GENE-005", what, "give human gene symbols or Ensembl ids", mouse)


def _undated(name: str) -> str:
    match = _DATE.match(name)
    if match is None:
        return name
    number, month = match.group(1) or match.group(4), match.group(2) or match.group(3)
    return f"{_FAMILY.get(month.lower(), month.upper())}{int(number)}"


def _check_proteins(cohort: Cohort, problems: Problems) -> None:
    names = pd.Index(cohort.proteins, dtype=object).astype(str)
    file = cohort.source.get("protein", "")
    blank = [name.strip().lower() in _UNNAMED for name in cohort.proteins]
    unnamed = np.flatnonzero(blank)
    if len(unnamed):
        problems.error(
            Problem(
                code="E-PROT-007",
                what="proteins without a name",
                mend="name them or remove them",
                file=file,
                feature=f"column {unnamed[0]}",
                count=len(unnamed),
            )
        )
    twice = names[names.duplicated()].unique()
    if len(twice):
        problems.error(
            Problem(
                code="E-PROT-006",
                what="protein names stand several times",
                mend="give each antibody its own name (add its clone)",
                file=file,
                feature=str(twice[0]),
                count=len(twice),
                examples=tuple(map(str, twice[:5])),
            )
        )
    _warn_of_split_proteins(cohort, problems)


def _warn_of_split_proteins(cohort: Cohort, problems: Problems) -> None:
    """Names of one marker of which no sample has more than one: panels that spell it unlike."""
    if cohort.protein_measured is None:
        return
    columns: dict[str, list[int]] = {}
    for column in np.flatnonzero(cohort.protein_measured.any(axis=0)):
        if marker := marker_of(cohort.proteins[column]):
            columns.setdefault(marker, []).append(int(column))
    split = {
        marker: [cohort.proteins[column] for column in own]
        for marker, own in columns.items()
        if len(own) > 1 and cohort.protein_measured[:, own].sum(axis=1).max() == 1
    }
    if split:
        marker, first = next(iter(split.items()))
        problems.warn(
            Problem(
                code="W-PROT-009",
                what=f"some samples have {marker} as {' and others as '.join(first)}: to the model "
                "these are several proteins, each missing where the other is measured",
                mend="if they are one antibody, give it one name in all samples",
                file=cohort.source.get("protein", ""),
                feature=first[0],
                count=len(split),
                examples=tuple(" / ".join(own) for own in list(split.values())[:5]),
            )
        )
