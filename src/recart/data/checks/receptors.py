"""Receptor chains: which can be used, and signs that the columns are not what they should be."""

from __future__ import annotations

from typing import Any, Final

import numpy as np
import pandas as pd

from recart.data.cohort import HAS_BCR, HAS_TCR, Cohort
from recart.problems import Problem, Problems

__all__ = ["chain_faults", "check_receptors"]

_LOCI: Final = ("TRA", "TRB", "IGH", "IGK", "IGL")
_MIN_LENGTH, _MAX_LENGTH = 5, 30
_NUCLEOTIDE_SHARE: Final = 0.5
_FAULTY_SHARE: Final = 0.05
# Numbered clone ids start anew in each sample where most of those of one recur in another.
_NUMBERED: Final = r"(?:clono?type|clone)?[ _-]?\d+(?:\.0)?"
_RECURRING: Final = 0.5
_FEWEST_IDS: Final = 10
_EXPECTED: Final = 5  # cells with a clone; none of them is then hardly chance

Mask = np.ndarray[Any, np.dtype[np.bool_]]


def chain_faults(chains: pd.DataFrame) -> dict[str, Mask]:
    """Rows that cannot be used, by reason; a row is listed under its first reason only.

    A row without locus and sequence but with a clone id is usable, and so is one of a B cell with
    its locus and clone id, as restricted cohorts publish them. Letters, length (5 to 30) and
    the conserved C ... F/W of the junction are those of IMGT.
    """
    junction = chains["junction_aa"].astype("string").str.upper()
    any_or_b_cell = chains["locus"].isna() | chains["locus"].isin(("IGH", "IGK", "IGL"))
    lone_id = (chains["clone_id"].notna() & junction.isna() & any_or_b_cell).to_numpy()
    locus = chains["locus"].isin(_LOCI).to_numpy()
    stopped = junction.str.contains(r"[*_]", regex=True).fillna(value=False).to_numpy(dtype=bool)
    letters = junction.str.fullmatch(r"[ACDEFGHIKLMNPQRSTVWY]+").fillna(value=False)
    length = junction.str.len().between(_MIN_LENGTH, _MAX_LENGTH).fillna(value=False)
    anchored = junction.str.fullmatch(r"C.*[FW]").fillna(value=False)
    # The anchors are those of TCR; IGHV junctions end in W too, and are left alone.
    tcr = chains["locus"].isin(("TRA", "TRB")).to_numpy()
    faults = {
        "gamma-delta or unassigned locus": ~locus,
        "not productive": chains["productive"].isin([False]).to_numpy(),
        "no junction sequence": junction.isna().to_numpy(),
        "stop codon or frameshift in junction": stopped,
        "letters that are no amino acid": ~letters.to_numpy(dtype=bool),
        "junction shorter than 5 or longer than 30": ~length.to_numpy(dtype=bool),
        "junction without C at its start or F/W at its end": tcr & ~anchored.to_numpy(dtype=bool),
    }
    rest = ~lone_id
    first: dict[str, Mask] = {}
    for reason, mask in faults.items():
        first[reason] = np.asarray(mask & rest, dtype=np.bool_)
        rest &= ~mask
    return first


def check_receptors(cohort: Cohort, problems: Problems, *, whole: bool = True) -> None:
    """Refuse nucleotides given as amino acids; warn of junctions and clone ids that are none.

    `whole`: all samples of a cohort, so that they can be compared.
    """
    chains = cohort.chains
    if chains is None or not len(chains):
        return
    file = cohort.source.get("chains", "")
    sample = cohort.cells["sample"][~cohort.cells.index.duplicated()]
    owner = chains["cell"].map(sample)
    _warn_of_restarting_ids(chains, owner, cohort, problems)
    if whole:
        _warn_of_samples_without(chains, owner, cohort, problems)
    junction = chains["junction_aa"].astype("string").str.upper()
    known = junction.notna()
    # A real CDR3 of ACGTN alone is rarer than one in ten thousand
    nucleotide = known & junction.str.fullmatch(r"[ACGTUN]+").fillna(value=False)
    if nucleotide.sum() > _NUCLEOTIDE_SHARE * known.sum():
        problems.error(
            Problem(
                code="E-REC-001",
                what="the junction column holds nucleotides",
                mend="give the amino-acid column (cdr3 or junction_aa, not cdr3_nt or junction)",
                file=file,
                sample=str(owner[nucleotide].iloc[0]),
                column="junction_aa",
                count=int(nucleotide.sum()),
            )
        )
        return
    productive = known & ~chains["productive"].isin([False])
    faults = chain_faults(chains)
    shape = np.zeros(len(chains), dtype=np.bool_)
    for reason in list(faults)[4:]:
        shape |= faults[reason]
    if shape.sum() > _FAULTY_SHARE * productive.sum():
        problems.warn(
            Problem(
                code="W-REC-003",
                what=f"{shape.sum() / productive.sum():.0%} of the productive junctions are "
                "no CDR3 with its conserved ends",
                mend="give the junction (C ... F/W), not the CDR3 without its ends",
                file=file,
                sample=str(owner[shape].iloc[0]),
                column="junction_aa",
                count=int(shape.sum()),
            )
        )


def _warn_of_samples_without(
    chains: pd.DataFrame, owner: pd.Series[Any], cohort: Cohort, problems: Problems
) -> None:
    """Warn of samples without a clone that may have been sequenced: none left is no gap.

    Only of those in which, by the other samples, some clones would be expected.
    """
    of_b_cell = chains["locus"].isin(_LOCI[2:])
    cells = cohort.cells["sample"].value_counts()
    for said, cell, mask in ((HAS_TCR, "T", ~of_b_cell), (HAS_BCR, "B", of_b_cell)):
        if said in cohort.samples:
            continue
        named = owner[mask].groupby(chains["cell"][mask]).first().value_counts()
        share = (named.reindex(cells.index, fill_value=0) / cells).loc[lambda own: own > 0].median()
        without = cells.index[~cells.index.isin(named.index) & (share * cells >= _EXPECTED)]
        if not len(without):
            continue
        problems.warn(
            Problem(
                code="W-REC-013",
                what=f"{len(without)} of {len(cells)} samples have no {cell} cell clone, where "
                f"others have some in {share:.0%} of their cells, and are taken as not sequenced: "
                "shares of clones are missing there, not 0",
                mend=f"if some were sequenced, say which in a column {said} of the samples, "
                "yes or no",
                file=cohort.source.get("chains", ""),
                column=said,
                count=len(without),
            )
        )


def _warn_of_restarting_ids(
    chains: pd.DataFrame, owner: pd.Series[Any], cohort: Cohort, problems: Problems
) -> None:
    """Warn of clone ids without sequences that are numbered in each sample by itself."""
    ids = chains["clone_id"].astype("string")
    lone = chains["junction_aa"].isna() & ids.str.fullmatch(_NUMBERED, case=False).fillna(False)
    seen = pd.DataFrame({"sample": owner[lone], "clone_id": ids[lone]}).drop_duplicates().dropna()
    seen["patient"] = seen["sample"].map(cohort.samples["patient"].astype(str))
    restarting, patients = 0, 0
    for _, own in seen.groupby("patient"):
        sizes = own["sample"].value_counts()
        if len(sizes) < 2 or sizes.iloc[1] < _FEWEST_IDS:
            continue
        patients += 1
        first, second = (set(own["clone_id"][own["sample"] == name]) for name in sizes.index[:2])
        restarting += len(first & second) > _RECURRING * len(second)
    if restarting > patients / 2:
        problems.warn(
            Problem(
                code="W-REC-012",
                what="most clone ids of a sample recur in another of the same patient, as numbers "
                "do that start anew in each sample; there are no sequences to tell by, and "
                "clones would seem to persist",
                mend="unless they were called over all samples of a patient at once, write the "
                "sample before the id",
                file=cohort.source.get("chains", ""),
                column="clone_id",
                count=restarting,
            )
        )
