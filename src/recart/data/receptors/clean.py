"""Receptor sequences as an encoder can read them; what cannot be read is masked and counted."""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Callable
from functools import lru_cache, partial
from importlib.util import find_spec
from typing import Any, Final, NamedTuple

import numpy as np
import pandas as pd

from recart.problems import InputError, Problem

__all__ = [
    "AMINO_ACIDS",
    "SEQUENCE_COLUMNS",
    "Cleaned",
    "Verdict",
    "judge_each",
    "require",
    "standardise",
    "take_sequences",
]

SEQUENCE_COLUMNS: Final = ("v_a", "cdr3_a", "v_b", "cdr3_b")

# The twenty letters of the genetic code.
AMINO_ACIDS: Final = frozenset("ACDEFGHIKLMNPQRSTVWY")
# No junction of a functional chain is this long; the cost of attention grows with its square.
_LONGEST_JUNCTION: Final = 60
# Human and mouse V genes share many names: only a cohort that is read clearly better as mouse is.
_FEWEST_FOR_SPECIES: Final = 20
_MOUSE_MARGIN: Final = 0.1


class Cleaned(NamedTuple):
    """Sequences with None where masked, columns `SEQUENCE_COLUMNS`; and chains masked by reason."""

    table: pd.DataFrame
    masked: dict[str, int]


class Verdict(NamedTuple):
    """What a value reads after cleaning; or None, and the reason."""

    text: str | None
    reason: str | None


def take_sequences(table: pd.DataFrame) -> pd.DataFrame:
    """Sequence columns of a clonotype table, None for every kind of missing, rows from 0."""
    absent = [column for column in SEQUENCE_COLUMNS if column not in table]
    sequences = table.reindex(columns=list(SEQUENCE_COLUMNS)).astype(object).reset_index(drop=True)
    if len(absent) == len(SEQUENCE_COLUMNS):
        raise ValueError(f"a clonotype table needs columns {SEQUENCE_COLUMNS}; got {list(table)}")
    return sequences.where(sequences.notna() & (sequences != ""), None)


def standardise(table: pd.DataFrame, extra: str = "receptors") -> Cleaned:
    """Bring human TCR sequences to IMGT names and junctions, with tidytcells.

    A V gene that cannot be read is masked alone; a junction that cannot be read masks its chain,
    since a V gene alone does not name a receptor. V genes get the first functional allele where
    none is given: encoders that need the germline loops would pick the same, only more slowly.

    Parameters
    ----------
    table
        Clonotypes, any of the columns `SEQUENCE_COLUMNS`.
    extra
        The extra of recart that asks, and that brings tidytcells.

    Raises
    ------
    InputError
        If tidytcells is not installed, or the V genes are those of the mouse.
    """
    require("tidytcells", extra)
    # it notes every assumption on every sequence; what counts is in `masked`
    logging.getLogger("tidytcells").setLevel(logging.ERROR)
    sequences = take_sequences(table)
    _refuse_mouse(sequences)
    masked: Counter[str] = Counter()
    for chain, locus in (("a", "TRAV"), ("b", "TRBV")):
        v, junction = f"v_{chain}", f"cdr3_{chain}"
        sequences[junction] = judge_each(sequences[junction], _junction, masked)
        sequences.loc[sequences[junction].isna(), v] = None
        sequences[v] = judge_each(sequences[v], partial(_v_gene, locus=locus), masked)
    return Cleaned(sequences, dict(masked))


def require(package: str, extra: str) -> None:
    """Say that `extra` is to be installed where `package` is missing."""
    if find_spec(package) is None:
        raise InputError(
            [
                Problem(
                    code="E-REC-012",
                    feature=package,
                    what=f"this receptor embedding needs the package {package}",
                    mend=f"pip install -e '.[{extra}]' in recart's checkout, or choose "
                    "data/receptors=physicochemical, which needs nothing",
                )
            ]
        )


def judge_each(
    column: pd.Series[Any], clean: Callable[[str], Verdict], masked: Counter[str]
) -> pd.Series[Any]:
    """Clean each distinct value once; count the rows whose value was masked, by reason."""
    code, values = pd.factorize(column)
    verdicts = [clean(str(value)) for value in values]
    rows = np.bincount(code[code >= 0], minlength=len(values))
    for verdict, count in zip(verdicts, rows, strict=True):
        if verdict.reason is not None:
            masked[verdict.reason] += int(count)
    text = np.array([verdict.text for verdict in verdicts] + [None], dtype=object)
    return pd.Series(text[code], index=column.index, dtype=object)


def _junction(sequence: str) -> Verdict:
    from tidytcells import junction

    sequence = sequence.strip().upper()
    if not set(sequence) <= AMINO_ACIDS:
        return Verdict(None, "junction not of amino acids")
    if len(sequence) > _LONGEST_JUNCTION:
        return Verdict(None, "junction too long")
    text = junction.standardise(sequence, fix_missing_conserved=False, log_failures=False)
    return Verdict(text, None if text else "junction without conserved C and F or W")


def _v_gene(symbol: str, locus: str) -> Verdict:
    symbol = symbol.strip()
    name = _imgt(symbol, "homosapiens", False)
    if name is None:  # an allele newer than tidytcells' table: its gene says what is needed
        symbol = symbol.partition("*")[0]
        name = _imgt(symbol, "homosapiens", False)
    if name is None:
        return Verdict(None, "V gene unknown")
    if not name.startswith(locus):
        return Verdict(None, "V gene of another locus")
    functional = _imgt(symbol, "homosapiens", True)
    if functional is None:
        return Verdict(None, "V gene not functional")
    return Verdict(functional if "*" in functional else _first_allele(functional), None)


@lru_cache(maxsize=4096)
def _imgt(symbol: str, species: str, functional: bool) -> str | None:
    from tidytcells import tr

    name: str | None = tr.standardise(
        symbol, species=species, enforce_functional=functional, log_failures=False
    )
    return name


@lru_cache(maxsize=512)
def _first_allele(gene: str) -> str:
    from tidytcells import tr

    alleles: frozenset[str] = tr.query(species="homosapiens", precision="allele", functionality="F")
    return min(allele for allele in alleles if allele.partition("*")[0] == gene)


def _refuse_mouse(sequences: pd.DataFrame) -> None:
    symbols = pd.concat([sequences["v_a"], sequences["v_b"]]).dropna().astype(str)
    if len(symbols) < _FEWEST_FOR_SPECIES:
        return
    human, mouse = (
        float(symbols.map(lambda s, of=species: _imgt(s, of, True) is not None).mean())
        for species in ("homosapiens", "musmusculus")
    )
    if mouse > human + _MOUSE_MARGIN:
        raise InputError(
            [
                Problem(
                    code="E-REC-013",
                    column="v_call",
                    count=len(symbols),
                    what=f"{mouse:.0%} of the V genes are functional in the mouse, {human:.0%} in "
                    "humans: these are not human receptors",
                    mend="this embedding knows human receptors only; "
                    "choose data/receptors=physicochemical, which reads any species, or none",
                )
            ]
        )
