"""Panels of genes by name, and what of a list of genes and panels a cohort has."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from recart.data.names.gene_places import gene_places
from recart.data.store import CohortStore

__all__ = ["PANELS", "is_panel", "named_genes", "panel_genes"]

_PREFIX: Final = "panel:"

# Genes by which immunologists tell cells of blood and marrow, and their states, apart.
_IMMUNE: Final = """
CD3D CD3E CD3G CD2 LCK TRAC CD8A CD8B CD4 IL7R LTB CCR7 LEF1 TCF7 SELL CD27 CD28 BACH2 KLF2 S1PR1
GZMK GZMA GZMB GZMH GZMM PRF1 GNLY NKG7 CST7 CTSW FGFBP2 CX3CR1 FCRL6 IFNG TNF IL2 CCL3 CCL4 CCL5
XCL1 XCL2 IL32 KLRD1 KLRG1 KLRB1 KLRC1 KLRC2 KLRC3 KLRF1 NCAM1 NCR1 NCR3 FCGR3A TYROBP FCER1G ZNF683
IKZF2 IKZF3 EOMES TBX21 RUNX3 ID2 ID3 BATF PRDM1 TOX TOX2 PDCD1 HAVCR2 LAG3 TIGIT CTLA4 ENTPD1 LAYN
CXCL13 TNFRSF9 TNFRSF18 TNFRSF4 ICOS CD69 CD44 CD52 LGALS1 FAS HLA-DRA HLA-DRB1 HLA-DPA1 HLA-DPB1
CD74 FOXP3 IL2RA RTKN2 TRDC TRGC1 SLC4A10 ZBTB16 RORC CCR6 CXCR3 CXCR4 CXCR5 CXCR6 ITGAE ITGA1 ISG15
IFI6 IFI44L IFITM3 MX1 LY6E IRF7 STAT1 MKI67 TOP2A STMN1 TYMS JUN FOS DUSP2 NR4A1 TNFAIP3 CD14 LYZ
S100A8 S100A9 S100A12 VCAN FCN1 CSF3R CST3 AIF1 LST1 PSAP MS4A7 CDKN1C RHOC LILRB2 IL1B CXCL8 CD163
CD1C FCER1A CLEC10A CLEC9A IL3RA CLEC4C LILRA4 TCF4 CD19 CD22 MS4A1 CD79A CD79B BANK1 PAX5 TCL1A
IGHD IL4R AIM2 TNFRSF13B TNFRSF17 GPRC5D SDC1 SLAMF7 CD38 XBP1 MZB1 JCHAIN CCND1 CCND2 NSD2 CD34
SPINK2 SOX4 MPO ELANE AZU1 GYPA ALAS2 PPBP PF4 GP9
"""

PANELS: Final = {"immune": tuple(_IMMUNE.split())}


def is_panel(word: str) -> bool:
    """Whether an entry of a list of genes stands for one of the shipped panels."""
    return word.startswith(_PREFIX) and word.removeprefix(_PREFIX) in PANELS


def panel_genes(asked: Sequence[str]) -> tuple[str, ...]:
    """Every gene of a list in which `panel:NAME` stands for those of a panel; none comes twice."""
    genes: dict[str, None] = {}
    for word in asked:
        own: tuple[str, ...] = (word,)
        if word.startswith(_PREFIX):
            own = PANELS.get(word.removeprefix(_PREFIX), own)
        genes |= dict.fromkeys(own)
    return tuple(genes)


def named_genes(store: CohortStore, asked: Sequence[str]) -> tuple[str, ...]:
    """Genes of a list in which `panel:NAME` stands for those of a panel that the store has.

    A store that is named by Ensembl ids has them too, see `gene_places`. Genes that are named
    themselves stay, whether the store has them or not; none comes twice.
    """
    asked_for = panel_genes(asked)
    places = gene_places(asked_for, store.genes, store.gene_ids)
    there = {gene for gene, at in zip(asked_for, places, strict=True) if at >= 0}
    genes: dict[str, None] = {}
    for word in asked:
        if word.startswith(_PREFIX):
            own = PANELS.get(word.removeprefix(_PREFIX), (word,))
            genes |= dict.fromkeys(gene for gene in own if gene in there or gene == word)
        else:
            genes[word] = None
    return tuple(genes)
