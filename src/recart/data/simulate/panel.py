"""The study's panel of 61 antibodies: background, and how far above it each population stains.

Names and number: Rade, Grieb, ..., Merz, Nature Cancer 2024 (without its two anti-fluorochrome
tags FITC and PE; it holds no isotype controls). Levels are rounded from what is known of blood
cells, within the range measured in 10x PBMC CITE-seq: background 2 to 77 counts (10th percentile),
positive populations 10 to 600 times that. CD39 on CD16 monocytes, CD4 on both monocytes and CD94 on
NK cells are set to the study's patient means (CLR).
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from typing import Any, Final

import numpy as np

from recart.data.simulate.populations import POPULATIONS, members_of

__all__ = ["PANEL", "Antibody", "panel_levels"]


@dataclass(frozen=True)
class Antibody:
    """An antibody: counts of unspecific background, and `populations: ratio to it; ...`."""

    name: str
    background: float
    stains: str


PANEL: Final = (
    Antibody("CD3e", 12, "t: 60"),
    Antibody("CD4", 14, "cd4: 60; CD16 Mono: 3.6; CD14 Mono: 2.8; dc: 5"),
    Antibody("CD8a", 12, "cd8: 80; mait: 30; nk: 6"),
    Antibody("CD11b", 10, "mono: 60; nk: 15; GMP: 20; cytotoxic: 5"),
    Antibody("CD11c", 8, "mono: 50; cDC2: 60; nk: 8; GMP: 10"),
    Antibody("CD14", 12, "CD14 Mono: 60; CD16 Mono: 6"),
    Antibody("CD15", 25, "GMP: 12; CD14 Mono: 2"),
    Antibody("CD16", 14, "NK: 70; NK Proliferating: 50; CD16 Mono: 90; gd: 8"),
    Antibody("CD19", 5, "b: 60; plasma: 6"),
    Antibody("CD25", 8, "treg: 25; car: 8; CD4 TCM: 4"),
    Antibody("CD28", 8, "cd4: 20; CD8 Naive: 15; CD8 TCM: 15; mait: 15; plasma: 6"),
    Antibody("CD33", 8, "mono: 20; cDC2: 25; GMP: 30; progenitor: 10"),
    Antibody("CD38", 10, "plasma: 150; pDC: 25; nk: 12; mono: 10; progenitor: 15; cycling: 15"),
    Antibody("CD39", 10, "CD16 Mono: 13; CD14 Mono: 10; bmemory: 12; treg: 12; cDC2: 10; rare: 15"),
    Antibody("CD40", 8, "b: 20; dc: 15; mono: 6"),
    Antibody("CD45", 40, "t: 20; nk: 18; b: 15; mono: 12; dc: 10; plasma: 4; progenitor: 5"),
    Antibody(
        "CD45RA",
        20,
        "naive: 40; nk: 25; b: 30; pDC: 20; cytotoxic: 12; progenitor: 6; CD16 Mono: 0.5",
    ),
    Antibody("CD45RO", 15, "memory: 15; treg: 20; mono: 8; CAR T: 15"),
    Antibody("CD56", 10, "nk: 30; NK CD56bright: 120; gd: 8"),
    Antibody("CD57", 10, "CD4 CTL: 15"),
    Antibody("CD62L", 12, "naive: 40; bnaive: 20; CD14 Mono: 15; NK CD56bright: 20; CD4 TCM: 15"),
    Antibody("CD69", 10, "mait: 8; NK: 5; car: 6; rare: 8"),
    Antibody("CD80", 10, "bmemory: 3; cDC2: 3"),
    Antibody("CD81", 20, "all: 3; b: 12; pDC: 10; plasma: 10"),
    Antibody("CD94", 8, "nk: 14; gd: 8; CD8 TEM: 3"),
    Antibody("CD95", 10, "memory: 10; car: 15; mono: 8; treg: 15; bmemory: 5"),
    Antibody("CD107a", 14, "mono: 3; plasma: 4; platelet: 4"),
    Antibody("CD117", 8, "progenitor: 20"),
    Antibody("CD123", 8, "pDC: 100; progenitor: 10; cDC2: 5; mono: 3"),
    Antibody("CD127", 10, "CD4 TCM: 25; naive: 25; mait: 25; CD8 TCM: 20; CD4 TEM: 15; dnT: 10"),
    Antibody("CD134", 10, "treg: 5; car: 4"),
    Antibody("CD137", 8, "car: 8; rare: 4"),
    Antibody("CD138", 8, "plasma: 100"),
    Antibody("CD141", 10, "cDC2: 5; mono: 4"),
    Antibody("CD152", 10, "treg: 4; car: 3"),
    Antibody("CD160", 8, "NK: 6; gd: 6; CD8 TEM: 3"),
    Antibody("CD161", 10, "mait: 80; NK: 15; NK CD56bright: 10; CD4 TEM: 5"),
    Antibody("CD183", 12, "CD8 TCM: 10; CD4 TEM: 8; pDC: 15; NK CD56bright: 5"),
    Antibody("CD195", 10, "CD4 TEM: 8; mait: 10; CD8 TCM: 6; treg: 4; mono: 3"),
    Antibody("CD197", 12, "naive: 15; CD4 TCM: 8; bnaive: 4"),
    Antibody("CD200", 6, "b: 10; plasma: 10; pDC: 5"),
    Antibody("CD223", 8, "car: 8; rare: 10"),
    Antibody("CD244", 10, "nk: 12; mono: 8; cytotoxic: 8"),
    Antibody("CD269", 6, "plasma: 30; pDC: 3; bmemory: 2"),
    Antibody("CD273", 8, "cDC2: 3"),
    Antibody("CD274", 10, "mono: 4; cDC2: 4"),
    Antibody("CD278", 10, "treg: 15; CD4 TCM: 8; car: 12"),
    Antibody("CD279", 10, "CD4 TEM: 5; CD8 TCM: 5; car: 8; rare: 20"),
    Antibody("CD294", 8, "CD4 TCM: 1.5"),
    Antibody("CD314", 8, "nk: 15; cd8: 12; gd: 15; mait: 10"),
    Antibody("CD319", 10, "plasma: 80; nk: 10; cytotoxic: 10; pDC: 6"),
    Antibody("CD337", 8, "nk: 8"),
    Antibody("CD357", 10, "treg: 3; NK CD56bright: 2"),
    Antibody("CD366", 10, "car: 6; rare: 15; nk: 4; mono: 5; cDC2: 5"),
    Antibody("CD307", 8, "bmemory: 8; plasma: 15"),
    Antibody("TCRAB", 10, "t: 40"),
    Antibody("TCRV2", 6, "gd: 60"),
    Antibody("CCR10", 12, "plasma: 2; CD4 TCM: 1.5"),
    Antibody("HLA-DR", 20, "mono: 25; dc: 80; b: 50; progenitor: 20; car: 15; cycling: 10"),
    Antibody("KLRG1", 8, "CD8 TEM: 15; NK: 12; CD4 CTL: 10; mait: 8"),
    Antibody("TIGIT", 8, "treg: 12; CD8 TEM: 6; nk: 8; car: 10; rare: 20"),
)


@cache
def panel_levels() -> np.ndarray[Any, np.dtype[np.float64]]:
    """Tabulate mean counts above background: (populations, antibodies).

    A population that several terms name takes the highest of their ratios.
    """
    level = np.zeros((len(POPULATIONS), len(PANEL)))
    for a, antibody in enumerate(PANEL):
        for term in antibody.stains.split(";"):
            who, ratio = term.split(":")
            inside = members_of(who)
            value = float(ratio) * antibody.background
            level[inside, a] = np.maximum(level[inside, a], value)
    names = [antibody.name for antibody in PANEL]
    car = next(i for i, p in enumerate(POPULATIONS) if p.name == "CAR T")
    # TCRAB is not on gamma delta T cells; CAR T cells are partly CD4 in patients, CD8 here.
    level[members_of("gd"), names.index("TCRAB")] = 0.0
    level[car, names.index("CD4")] = 0.0
    # T-lineage proteins are absent from red cells and platelets, which stain weakly for anything.
    level[members_of("erythroid, platelet")] *= 0.5
    level.setflags(write=False)
    return level
