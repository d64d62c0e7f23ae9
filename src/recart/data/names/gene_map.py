"""Which human gene a name means: Ensembl ids, symbols, and symbols of before."""

from __future__ import annotations

import gzip
import re
from collections.abc import Iterable, Iterator, Sequence
from functools import cache
from importlib.resources import files
from typing import Final

__all__ = [
    "GENE_MAP_VERSION",
    "bare_gene",
    "ensembl_id",
    "folded",
    "gene_id",
    "gene_symbol",
    "known_ids",
    "known_symbol",
    "without_suffix",
]

GENE_MAP_VERSION: Final = "GENCODE 48, previous symbols 2026-11"

_PREFIX: Final = re.compile(r"^(?:GRCh3[78]|hg19|hg38)[^_]*_+", re.IGNORECASE)
_ENSEMBL: Final = re.compile(r"^(ENSG\d{11})(?:\.\d+)?(?:_PAR_Y)?$", re.IGNORECASE)
_SUFFIX: Final = re.compile(r"[-.]\d{1,2}$")
# Symbols of mice and rats are capitalised; human ones are not, but for open reading frames.
_CAPITALISED: Final = re.compile(r"^[A-Z][a-z]+[a-z0-9-]*$")


def bare_gene(name: str) -> str:
    """A name without the prefix of its genome, without version where it is an Ensembl id."""
    bare = _PREFIX.sub("", name.strip())
    return ensembl_id(bare) or bare


def ensembl_id(name: str) -> str:
    """The human Ensembl id that a name is, without its version; empty where it is none."""
    found = _ENSEMBL.match(name)
    return found.group(1).upper() if found else ""


def folded(name: str) -> str:
    """A bare name in capitals; as it is where it reads like a gene of another species."""
    bare = bare_gene(name)
    return bare if _CAPITALISED.match(bare) else bare.upper()


def without_suffix(name: str) -> str:
    """A bare name without the number that makes names unique, such as `TBCE-1` or `TBCE.1`."""
    return _SUFFIX.sub("", bare_gene(name))


def gene_id(name: str) -> str:
    """Ensembl id of a symbol of today or before; empty where it is not known."""
    bare = bare_gene(name)
    if found := ensembl_id(bare):
        return found
    symbols, previous = _symbols(), _previous()
    in_capitals = folded(bare)
    for form in (bare, in_capitals):
        number = symbols.get(form) or symbols.get(previous.get(form, ""))
        if number is not None:
            return f"ENSG{number:011d}"
    return ""


def gene_symbol(ensembl: str) -> str:
    """Symbol of today of an Ensembl id, with or without version; empty where it is not known."""
    found = ensembl_id(bare_gene(ensembl))
    return _symbol_of().get(int(found.removeprefix("ENSG")), "") if found else ""


def known_symbol(name: str) -> str:
    """Symbol of an Ensembl id that the shipped map knows; else the name without its prefix."""
    return gene_symbol(name) or bare_gene(name)


def known_ids(names: Sequence[str], ids: Sequence[str]) -> tuple[str, ...]:
    """Ensembl ids: as given, else by the shipped map; empty where neither knows."""
    return tuple(own or gene_id(name) for own, name in zip(ids, names, strict=True))


@cache
def _symbols() -> dict[str, int]:
    place = files(__package__) / "human_genes.tsv.gz"
    with place.open("rb") as packed, gzip.open(packed, "rt", encoding="utf-8") as lines:
        return {symbol: int(number) for symbol, number in _rows(lines)}


@cache
def _symbol_of() -> dict[int, str]:
    return {number: symbol for symbol, number in _symbols().items()}


@cache
def _previous() -> dict[str, str]:
    with (files(__package__) / "previous_symbols.tsv").open(encoding="utf-8") as lines:
        return {before.upper(): symbol for before, symbol in _rows(lines)}


def _rows(lines: Iterable[str]) -> Iterator[list[str]]:
    # one at a time: every process that trains reads them, and holds what it once took
    return (line.rstrip("\n").split("\t") for line in lines if not line.startswith("#"))
