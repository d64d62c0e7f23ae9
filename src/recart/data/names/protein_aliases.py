"""Which surface marker the name of an antibody means: aliases, genes, clones and tags."""

from __future__ import annotations

import re
from functools import cache
from importlib.resources import files
from typing import Final

__all__ = ["PROTEIN_ALIASES_VERSION", "bare_protein", "marker_aliases", "marker_gene", "marker_of"]

PROTEIN_ALIASES_VERSION: Final = "2026-11"

_BEFORE: Final = re.compile(
    r"^(?:anti[- ]|(?:human|hu|mouse|ms)[/ .-]|hums\.|(?:ADT|AB|PROT|protein)[_:-])+",
    re.IGNORECASE,
)
_TAG: Final = re.compile(
    r"[ _.-]+(?:total[ _-]?(?:seq)?[ _-]?[abcd]?|ab|adt|antibody|prot|protein|proteona)$",
    re.IGNORECASE,
)
_PARENTHESES: Final = re.compile(r"[\(\[]([^\)\]]*)[\)\]]")
_PUNCTUATION: Final = re.compile(r"[\s_./,:-]+")
_BETWEEN_FIGURES: Final = re.compile(r"(?<=\d)[\s_./,:-]+(?=\d)")  # CD4.1 is not CD41
_GREEK: Final = {
    *(("\u03b1", "alpha"), ("\u03b2", "beta"), ("\u03b3", "gamma")),
    *(("\u03b4", "delta"), ("\u03b5", "epsilon")),
}


def bare_protein(name: str) -> str:
    """A name without `anti-human` before it and without the tag of its product line after it."""
    for letter, word in _GREEK:
        name = name.replace(letter, word)
    bare = _BEFORE.sub("", name.strip())
    while (shorter := _TAG.sub("", bare)) not in (bare, ""):
        bare = shorter
    return bare.strip()


def marker_of(name: str) -> str:
    """The marker that a name means, by its CD number where it has one; empty where not known.

    A name with parentheses, such as `CD279 (PD-1)`, means what its parts mean; nothing where they
    mean different things. Words after a marker are taken for the antibody's clone if a figure
    is among them: `CD3_UCHT1`. A form is never taken for its family: `CD45RA` is not `CD45`.
    """
    if whole := _names().get(_key(name)):
        return whole
    bare = bare_protein(name)
    inside = _PARENTHESES.findall(bare)
    outside = _PARENTHESES.sub(" ", bare).strip()
    found = {marker for part in (outside, *inside) if (marker := _of_part(part))}
    return found.pop() if len(found) == 1 else ""


def marker_gene(marker: str) -> str:
    """Symbol of the gene of a marker; empty for forms and complexes that no one gene names."""
    return _genes().get(marker, "")


def marker_aliases(marker: str) -> tuple[str, ...]:
    """Other names of a marker, as the shipped table lists them."""
    found = {own: others for own, _, others in _table()}.get(marker, "")
    return tuple(name for name in found.split(",") if name)


def _of_part(part: str) -> str:
    names = _names()
    if found := names.get(_key(part)):
        return found
    for pattern in (r"[ _]+", r"[ _.-]+"):
        words = re.split(pattern, part)
        for kept in range(len(words) - 1, 0, -1):
            clone = " ".join(words[kept:])
            found = names.get(_key(" ".join(words[:kept])), "")
            if found and any(sign.isdigit() for sign in clone):
                return found if names.get(_key(clone), found) == found else ""
    return ""


def _key(name: str) -> str:
    return _PUNCTUATION.sub("", _BETWEEN_FIGURES.sub("|", name)).upper()


@cache
def _table() -> list[list[str]]:
    text = (files(__package__) / "protein_aliases.tsv").read_text(encoding="utf-8")
    return [line.split("\t") for line in text.splitlines() if not line.startswith("#")]


@cache
def _genes() -> dict[str, str]:
    return {marker: gene for marker, gene, _ in _table()}


@cache
def _names() -> dict[str, str]:
    names: dict[str, str] = {}
    for marker, gene, others in _table():
        for name in (gene, *others.split(",")):
            if name:
                names.setdefault(_key(name), marker)
    # a marker's own name comes before what another is also called
    return names | {_key(marker): marker for marker, _, _ in _table()}
