"""The cell populations of the study: how frequent, how variable, how they shift with response.

Fractions are read off the figures of Rade, Grieb, ..., Merz, Nature Cancer 2024 (5:1048,
doi 10.1038/s43018-024-00763-8; ten patients, 25 samples) and rounded: about 5 % error above 0.002.
The centre of a population is the geometric mean of its medians with and without CR; what was
reported as absent is set to 0.0002. Marrow labels are mapped to those of blood (`CD8 Memory_2` to
`CD8 TEM`, `CD4 Memory` to `CD4 TCM`, `Prog_RBC` to `Erythroid`, HSC and LMPP to `HSPC`).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

__all__ = ["ANNOTATIONS", "CONTEXTS", "POPULATIONS", "RARE", "SHIFTS", "Population", "members_of"]

CONTEXTS: Final = ("pre_PB", "post_PB", "post_BM")


@dataclass(frozen=True)
class Population:
    """A cell population.

    Attributes
    ----------
    name
        As in the study.
    groups
        Groups that it belongs to; markers and antibodies are given by group.
    fractions
        Central fraction of cells in blood before, blood after and marrow after infusion.
    log_sd
        Standard deviation of the log fraction between samples: interquartile range / 1.349 within
        a response group, at least 0.25 and at most 1.4.
    rna_content
        UMIs of a cell relative to a T cell.
    """

    name: str
    groups: frozenset[str]
    fractions: tuple[float, float, float]
    log_sd: float
    rna_content: float


def _population(
    name: str, groups: str, fractions: tuple[float, float, float], log_sd: float, rna: float
) -> Population:
    return Population(name, frozenset(groups.split()), fractions, log_sd, rna)


# The population of the mechanism `rare_population`; annotators would call it CD8 TEM. One per cent
# of all cells is a choice, not a finding.
RARE: Final = "CD8 TEM rare"

POPULATIONS: Final = (
    _population("CD14 Mono", "myeloid mono", (0.298, 0.271, 0.182), 0.45, 1.5),
    _population("CD16 Mono", "myeloid mono", (0.050, 0.074, 0.0038), 0.40, 1.4),
    _population("cDC2", "myeloid dc", (0.020, 0.0082, 0.025), 0.40, 1.8),
    _population("pDC", "dc", (0.0050, 0.0008, 0.0012), 0.85, 1.5),
    _population("NK", "nk cytotoxic", (0.087, 0.055, 0.034), 0.75, 0.9),
    _population("NK CD56bright", "nk", (0.016, 0.0027, 0.0070), 1.10, 0.9),
    _population("NK Proliferating", "nk cytotoxic cycling", (0.0031, 0.0017, 0.0002), 1.40, 1.6),
    _population("CD8 TEM", "t cd8 cytotoxic memory", (0.121, 0.130, 0.022), 0.65, 1.0),
    _population("CD8 TCM", "t cd8 memory", (0.0017, 0.0002, 0.0003), 1.00, 1.0),
    _population("CD8 Naive", "t cd8 naive", (0.0012, 0.0007, 0.0003), 1.40, 0.9),
    _population("CD8 Proliferating", "t cd8 cytotoxic cycling", (0.0007, 0.001, 0.0002), 1.2, 1.8),
    _population("CD4 TCM", "t cd4 memory", (0.042, 0.054, 0.086), 0.60, 1.0),
    _population("CD4 Naive", "t cd4 naive", (0.0056, 0.0059, 0.0011), 1.40, 0.9),
    _population("CD4 TEM", "t cd4 memory", (0.0016, 0.0026, 0.0002), 0.65, 1.0),
    _population("CD4 CTL", "t cd4 cytotoxic memory", (0.0003, 0.0032, 0.0002), 1.40, 1.0),
    _population("Treg", "t cd4 treg", (0.0063, 0.0077, 0.0002), 0.70, 1.0),
    _population("MAIT", "t mait memory", (0.0005, 0.0003, 0.0018), 1.20, 1.0),
    _population("gdT", "t gd cytotoxic", (0.0003, 0.0002, 0.0002), 0.90, 1.0),
    _population("dnT", "t", (0.0022, 0.0036, 0.0002), 1.15, 0.9),
    # Not reported in marrow; the fraction of blood is assumed there.
    _population("CAR T", "t cd8 cytotoxic memory car", (0.0, 0.0040, 0.0040), 1.40, 1.5),
    _population("B naive", "b bnaive", (0.0039, 0.0008, 0.0004), 1.40, 1.0),
    _population("B memory", "b bmemory", (0.0026, 0.0006, 0.0010), 0.90, 1.0),
    _population("Plasma cells", "plasma", (0.0011, 0.0004, 0.048), 1.20, 2.5),
    _population("HSPC", "progenitor", (0.0016, 0.0005, 0.0041), 0.90, 1.8),
    _population("GMP", "progenitor myeloid cycling", (0.0002, 0.0002, 0.016), 0.50, 1.8),
    _population("Erythroid", "erythroid", (0.0042, 0.0031, 0.144), 0.80, 0.8),
    _population("Platelet", "platelet", (0.018, 0.020, 0.0010), 0.70, 0.25),
    _population(RARE, "t cd8 cytotoxic memory rare", (0.010, 0.010, 0.010), 0.25, 1.0),
)

# Annotated cell type of each population.
ANNOTATIONS: Final = tuple("CD8 TEM" if p.name == RARE else p.name for p in POPULATIONS)

# Median fraction (with CR, without CR) where the study reports a shift with response (scCODA, FDR
# 0.05) or the target antigen explains it (naive B cells and pDC vanish after infusion with CR).
# Left out: the erythroid shift before infusion, a matter of sample quality. The shift of CAR T
# cells is the mechanism `clonal_expansion`.
SHIFTS: Final = {
    ("pre_PB", "CD14 Mono"): (0.19, 0.46),
    ("pre_PB", "CD8 TEM"): (0.173, 0.085),
    ("pre_PB", "NK"): (0.20, 0.038),
    ("post_PB", "CD14 Mono"): (0.26, 0.28),
    ("post_PB", "NK"): (0.024, 0.127),
    ("post_PB", "Plasma cells"): (0.0002, 0.0014),
    ("post_PB", "B naive"): (0.0002, 0.0067),
    ("post_PB", "pDC"): (0.0002, 0.0070),
    ("post_BM", "Plasma cells"): (0.0044, 0.52),
}


def members_of(groups: str) -> list[int]:
    """Numbers of the populations that are named or grouped by one of the comma-separated terms."""
    terms = {term.strip() for term in groups.split(",")}
    known = {name for p in POPULATIONS for name in (p.name, *p.groups)} | {"all"}
    if terms - known:
        raise ValueError(f"no population or group is called {sorted(terms - known)}")
    return [
        number
        for number, p in enumerate(POPULATIONS)
        if "all" in terms or p.name in terms or p.groups & terms
    ]
