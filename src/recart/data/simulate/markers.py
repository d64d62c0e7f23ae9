"""Marker genes of the populations, gene programmes and named background genes.

Well-known markers of human blood and marrow; levels are rounded UMIs in a median 10x cell.
"""

from __future__ import annotations

from typing import Final

__all__ = ["BACKGROUND", "MARKERS", "MITOCHONDRIAL", "PROGRAMMES"]

# (genes, populations or groups, UMIs in a median cell)
MARKERS: Final = (
    ("CD3D CD3E CD3G", "t", 2.0),
    ("CD2 LCK TRAC IL32", "t", 2.5),
    ("TRAC IL32", "t", 4.0),
    ("CD2", "nk", 1.0),
    ("CD8A", "cd8", 2.5),
    ("CD8B", "cd8", 1.5),
    ("CD8A", "mait", 1.0),
    ("CD4", "cd4", 0.5),
    ("CD4", "mono, dc", 0.5),
    ("IL7R LTB", "cd4, naive, mait", 3.0),
    ("CCR7 LEF1 TCF7 SELL", "naive", 1.5),
    ("TCF7", "CD4 TCM, CD8 TCM", 1.0),
    ("SELL", "CD4 TCM, CD8 TCM, bnaive, mono", 0.6),
    ("GZMK", "CD8 TCM, CD4 TEM, mait", 2.0),
    ("FOXP3 IL2RA CTLA4 IKZF2 RTKN2", "treg", 1.2),
    ("SLC4A10 KLRB1 ZBTB16", "mait", 2.0),
    ("KLRB1", "nk", 1.5),
    ("TRDC TRGC1", "gd", 2.5),
    ("TRDC", "nk", 0.5),
    ("CST7 CTSW GZMA", "cytotoxic", 3.0),
    ("NKG7 GNLY", "cytotoxic", 6.0),
    ("NKG7", "nk, mait", 4.0),
    ("GNLY XCL1 XCL2 SELL", "NK CD56bright", 3.0),
    ("PRF1 GZMB GZMH FGFBP2 KLRD1 IFNG CX3CR1 FCRL6", "cytotoxic", 1.5),
    ("CCL5", "cytotoxic", 6.0),
    ("CCL4", "cytotoxic", 2.0),
    ("FCGR3A", "NK, NK Proliferating", 2.0),
    ("FCGR3A", "CD16 Mono", 4.0),
    ("NCAM1 KLRF1 NCR1 KLRC1", "nk", 0.8),
    ("KLRC2 KLRC3 ZNF683 IKZF3 CD52 LGALS1", "cytotoxic", 0.8),
    ("TYROBP FCER1G", "myeloid, nk", 4.0),
    ("LYZ S100A9 S100A8", "CD14 Mono", 25.0),
    ("LYZ", "CD16 Mono, cDC2, GMP", 8.0),
    ("S100A8 S100A9", "CD16 Mono, GMP", 3.0),
    ("CD14 VCAN FCN1 S100A12 CSF3R", "CD14 Mono", 2.0),
    ("FCN1 CST3 AIF1 LST1 PSAP", "mono", 5.0),
    ("CST3 AIF1", "dc", 6.0),
    ("MS4A7 CDKN1C RHOC LILRB2", "CD16 Mono", 2.0),
    ("ENTPD1", "mono, treg, bmemory", 0.3),
    ("ISG15 IFI6 IFITM3 MX1 LY6E IFI44L", "CD14 Mono", 1.0),
    ("ISG15 LY6E", "all", 0.3),
    ("CD1C FCER1A CLEC10A", "cDC2", 2.5),
    ("HLA-DRA HLA-DRB1 HLA-DPA1 HLA-DPB1 CD74", "mono, bnaive, bmemory", 8.0),
    ("HLA-DRA HLA-DRB1 HLA-DPA1 HLA-DPB1 CD74", "dc", 20.0),
    ("IL3RA CLEC4C LILRA4 IRF7 TCF4", "pDC", 3.0),
    ("TNFRSF17", "pDC", 0.2),
    ("MS4A1 CD79A CD79B BANK1", "b", 3.0),
    ("CD19 CD22 PAX5", "b", 0.7),
    ("TCL1A IGHD IL4R", "bnaive", 2.5),
    ("CD27 AIM2 TNFRSF13B", "bmemory", 1.0),
    ("CD27", "naive, CD4 TCM, CD8 TCM", 1.0),
    ("SDC1 TNFRSF17 SLAMF7 XBP1 PRDM1", "plasma", 4.0),
    ("MZB1 JCHAIN CD38", "plasma", 10.0),
    ("IGKC IGHG1", "plasma", 60.0),
    ("IGKC", "b", 5.0),
    ("CD34 SPINK2 SOX4", "HSPC", 2.5),
    ("MPO ELANE AZU1 PRTN3", "GMP", 6.0),
    ("HBB HBA1 HBA2", "erythroid", 80.0),
    ("GYPA ALAS2", "erythroid", 2.0),
    ("PPBP PF4", "platelet", 80.0),
    ("GP9 ITGA2B TUBB1", "platelet", 6.0),
    ("MKI67 TOP2A STMN1 TYMS", "cycling", 2.5),
    ("STMN1", "progenitor", 1.0),
    ("TOX HAVCR2 LAG3 TIGIT CXCL13 LAYN", "rare", 2.5),
    ("LAG3 TIGIT HAVCR2 TNFRSF9", "car", 1.2),
    ("TIGIT", "treg", 1.0),
    ("CD69 JUN FOS", "all", 0.8),
)

MITOCHONDRIAL: Final = (
    "MT-ND1 MT-ND2 MT-CO1 MT-CO2 MT-ATP8 MT-ATP6 MT-CO3 MT-ND3 MT-ND4L MT-ND4 MT-ND5 MT-ND6 MT-CYB"
)

# Genes that move together with a state of the cell.
PROGRAMMES: Final = {
    "effector": "PRF1 GZMB GZMH FGFBP2 KLRD1 IFNG CX3CR1 CCL4",
    "interferon": "ISG15 IFI6 IFITM3 MX1 LY6E IFI44L",
    "adaptive": "KLRC2 KLRC3 ZNF683 IKZF3 CD52 LGALS1",
    "rare": "TOX HAVCR2 LAG3 TIGIT CXCL13 LAYN",
}

BACKGROUND: Final = """
ACTB B2M TMSB4X TMSB10 MALAT1 EEF1A1 FTH1 FTL PTMA GAPDH
RPL3 RPL4 RPL5 RPL6 RPL7 RPL7A RPL8 RPL9 RPL10 RPL10A RPL11 RPL12 RPL13 RPL13A RPL14 RPL15 RPL18
RPL18A RPL19 RPL21 RPL23 RPL23A RPL24 RPL26 RPL27 RPL27A RPL28 RPL29 RPL30 RPL31 RPL32 RPL34 RPL35
RPL35A RPL36 RPL37 RPL37A RPL38 RPL39 RPLP0 RPLP1 RPLP2 RPS2 RPS3 RPS3A RPS4X RPS5 RPS6 RPS7 RPS8
RPS9 RPS10 RPS11 RPS12 RPS13 RPS14 RPS15 RPS15A RPS16 RPS18 RPS19 RPS20 RPS21 RPS23 RPS24 RPS25
RPS26 RPS27 RPS27A RPS28 RPS29 RPSA UBA52 FAU TPT1 NACA EIF1 EEF2 EEF1B2 EEF1D PFN1 CFL1 ACTG1
MYL6 MYL12A ARPC2 ARPC3 CORO1A H3-3B SRSF3 HNRNPA1 HNRNPA2B1 HSP90AA1 HSP90AB1 HSPA8 UBC UBB
YWHAZ YWHAB ATP5F1E COX4I1 COX7C NDUFA4 UQCRB SERF2 OAZ1 GNAS CALM1 CALM2 TUBA1B BTF3 SUMO2 PABPC1
"""
