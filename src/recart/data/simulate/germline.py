"""Germline segments of human receptors: how junctions of each V gene begin and of each J gene end.

IMGT gene symbols without allele. Weights follow the usage that is common in blood, roughly.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

__all__ = ["MAIT_CHAIN", "SEGMENTS", "Segments"]


@dataclass(frozen=True)
class Segments:
    """V and J genes of one locus, as `gene ends weight` with the germline amino acids."""

    v: tuple[tuple[str, str, float], ...]
    j: tuple[tuple[str, str, float], ...]


def _parse(text: str) -> tuple[tuple[str, str, float], ...]:
    words = text.split()
    return tuple(
        (gene, residues, float(weight))
        for gene, residues, weight in zip(words[::3], words[1::3], words[2::3], strict=True)
    )


SEGMENTS: Final = {
    "TRB": Segments(
        _parse(
            """
            TRBV2 CAS 4 TRBV3-1 CASS 3 TRBV4-1 CASS 3 TRBV5-1 CASS 6 TRBV5-4 CASS 2 TRBV5-6 CASS 2
            TRBV6-1 CASS 3 TRBV6-5 CASS 4 TRBV7-2 CASS 5 TRBV7-8 CASS 3 TRBV7-9 CASS 6 TRBV9 CASS 4
            TRBV10-3 CAIS 2 TRBV11-2 CASS 3 TRBV12-4 CASS 4 TRBV13 CASS 1 TRBV14 CASS 1
            TRBV18 CASS 3 TRBV19 CASS 5 TRBV20-1 CSAR 9 TRBV24-1 CATS 2 TRBV25-1 CASS 1
            TRBV27 CASS 5 TRBV28 CASS 5 TRBV29-1 CSVE 5 TRBV30 CAWS 2
            """
        ),
        _parse(
            """
            TRBJ1-1 NTEAFF 11 TRBJ1-2 YGYTF 8 TRBJ1-3 GNTIYF 3 TRBJ1-4 NEKLFF 4 TRBJ1-5 NQPQHF 7
            TRBJ1-6 NSPLHF 2 TRBJ2-1 YNEQFF 17 TRBJ2-2 NTGELFF 6 TRBJ2-3 TDTQYF 11 TRBJ2-4 KNIQYF 2
            TRBJ2-5 ETQYF 10 TRBJ2-7 YEQYF 19
            """
        ),
    ),
    "TRA": Segments(
        _parse(
            """
            TRAV1-2 CAV 3 TRAV2 CAV 3 TRAV4 CLV 3 TRAV5 CAE 3 TRAV8-1 CAV 2 TRAV8-2 CVV 2
            TRAV8-4 CAV 3 TRAV8-6 CAV 2 TRAV9-2 CAL 5 TRAV12-1 CVV 4 TRAV12-2 CAV 5 TRAV12-3 CAM 3
            TRAV13-1 CAA 5 TRAV13-2 CAE 3 TRAV14/DV4 CAM 4 TRAV16 CAL 1 TRAV17 CAT 4 TRAV19 CAL 5
            TRAV20 CAV 3 TRAV21 CAV 5 TRAV22 CAV 2 TRAV23/DV6 CAA 2 TRAV24 CAF 1 TRAV25 CAG 2
            TRAV26-1 CIV 3 TRAV26-2 CIL 3 TRAV27 CAG 3 TRAV29/DV5 CAA 5 TRAV35 CAG 2
            TRAV36/DV7 CAV 1 TRAV38-1 CAF 2 TRAV38-2/DV8 CAY 4 TRAV39 CAV 1 TRAV41 CAV 2
            """
        ),
        _parse(
            """
            TRAJ6 ASGGSYIPTF 2 TRAJ8 NTGFQKLVF 2 TRAJ9 NTGGFKTIF 3 TRAJ10 TGGGNKLTF 2
            TRAJ13 SGGYQKVTF 2 TRAJ15 NQAGTALIF 2 TRAJ20 SNDYKLSF 4 TRAJ22 SSGSARQLTF 2
            TRAJ23 IYNQGGKLIF 4 TRAJ26 DNYGQNFVF 3 TRAJ27 NTNAGKSTF 2 TRAJ28 YSGAGSYQLTF 4
            TRAJ29 SGNTPLVF 2 TRAJ30 RDDKIIF 3 TRAJ31 NNNARLMF 2 TRAJ33 DSNYQLIW 2
            TRAJ34 YNTDKLIF 3 TRAJ36 TGANNLFF 2 TRAJ37 SNTGKLIF 3 TRAJ39 NNAGNMLTF 4
            TRAJ40 TSGTYKYIF 4 TRAJ41 NSGYALNF 2 TRAJ42 GGSQGNLIF 5 TRAJ43 NNNDMRF 5
            TRAJ45 SGGGADGLTF 4 TRAJ47 EYGNKLVF 2 TRAJ48 NFGNEKLTF 4 TRAJ49 NTGNQFYF 5
            TRAJ52 AGGTSYGKLTF 4 TRAJ53 SGGSNYKLTF 4 TRAJ54 IQGAQKLVF 4 TRAJ57 QGGSEKLVF 3
            """
        ),
    ),
    "IGH": Segments(
        _parse(
            """
            IGHV1-2 CAR 4 IGHV1-18 CAR 4 IGHV1-69 CAR 6 IGHV3-7 CAR 6 IGHV3-11 CAR 3 IGHV3-21 CAR 4
            IGHV3-23 CAK 11 IGHV3-30 CAR 8 IGHV3-33 CAR 5 IGHV3-48 CAR 4 IGHV4-34 CAR 7
            IGHV4-39 CAR 7 IGHV4-59 CAR 7 IGHV5-51 CAR 5
            """
        ),
        _parse(
            "IGHJ1 EYFQHW 2 IGHJ2 WYFDLW 3 IGHJ3 DAFDIW 9 IGHJ4 YFDYW 47 IGHJ5 NWFDPW 14 "
            "IGHJ6 YYYGMDVW 25"
        ),
    ),
    "IGK": Segments(
        _parse(
            """
            IGKV1-5 CQQY 8 IGKV1-33 CQQY 5 IGKV1-39 CQQS 12 IGKV2-28 CMQA 5 IGKV3-11 CQQR 10
            IGKV3-15 CQQY 9 IGKV3-20 CQQY 17 IGKV4-1 CQQY 9
            """
        ),
        _parse("IGKJ1 WTF 30 IGKJ2 YTF 22 IGKJ3 FTF 10 IGKJ4 LTF 26 IGKJ5 ITF 8"),
    ),
}

# The semi-invariant alpha chain of MAIT cells.
MAIT_CHAIN: Final = ("TRAV1-2", "TRAJ33", "CAVMDSNYQLIW")
