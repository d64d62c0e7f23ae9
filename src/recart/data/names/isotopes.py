"""Isotopes by which mass cytometry names its channels: 145Nd, alone or before a marker."""

from __future__ import annotations

import re
from typing import Final

__all__ = ["is_isotope", "without_isotope"]

# elements of 75 to 209 u that are measured: labels, and what cells and reagents are polluted with;
# 62L, 17A and 107A are shorthands of markers
_ELEMENTS: Final = (
    "As|Se|Br|Sr|Y|Zr|Mo|Ru|Rh|Pd|Ag|Cd|In|Sn|Te|I|Xe|Cs|Ba|La|Ce|Pr|Nd|Sm|Eu|Gd|Tb|Dy|Ho|Er|Tm"
    "|Yb|Lu|Hf|Ta|W|Re|Os|Ir|Pt|Au|Hg|Tl|Pb|Bi"
)
_MASS: Final = r"(?:7[5-9]|[89]\d|1\d\d|20\d)"
_ALONE: Final = re.compile(rf"{_MASS}(?:{_ELEMENTS})|(?:{_ELEMENTS}){_MASS}D[id]")
_BEFORE: Final = re.compile(rf"^{_MASS}(?:{_ELEMENTS})_(?=.)")


def is_isotope(name: str) -> bool:
    """Whether a name is that of an isotope and nothing else: `131Xe`, `Xe131Di`."""
    return _ALONE.fullmatch(name) is not None


def without_isotope(name: str) -> str:
    """A marker of mass cytometry by its antigen alone: `CD4` of `145Nd_CD4`."""
    return _BEFORE.sub("", name)
