"""Random cells of the shape the speed tables speak of; nothing in them is to be learned."""

from __future__ import annotations

import numpy as np
import pandas as pd
from scipy import sparse

from recart.contracts import Member
from recart.data.bags import Admission, Bags, make_bags
from recart.data.store import CohortStore

__all__ = ["bags_of", "fold_members", "member_of", "random_store"]

_SPREAD, _DISPERSION = 2.75, 0.1  # of log gene means, of counts: 7 % non-zeros at 4,000 genes
_COUNTS_PER_GENE = 4 / 3  # mean over genes of a cell's counts
_PIECE = 4096


def random_store(
    cells: int, genes: int, proteins: int, patients: int, seed: int = 0
) -> CohortStore:
    """A store of `patients` equal patients of one sample each, in two batches."""
    rng = np.random.default_rng(seed)
    profile = rng.lognormal(0, _SPREAD, genes)
    profile *= _COUNTS_PER_GENE / profile.mean()
    pieces = []
    for start in range(0, cells, _PIECE):
        size = (min(_PIECE, cells - start), genes)
        counts = rng.poisson(profile * rng.gamma(_DISPERSION, 1 / _DISPERSION, size))
        pieces.append(sparse.csr_matrix(np.minimum(counts, 65535).astype(np.uint16)))
    rna = sparse.vstack(pieces, format="csr")
    rates = rng.lognormal(2, 1, proteins)
    own = rng.gamma(2, 0.5, (cells, proteins))
    protein = rng.poisson(own * rates).astype(np.uint16)
    patient = np.arange(cells) * patients // cells
    stop = np.searchsorted(patient, np.arange(patients), side="right")
    names = [f"P{p}" for p in range(patients)]
    samples = pd.DataFrame(
        {
            "patient": np.arange(patients),
            "start": np.concatenate(([0], stop[:-1])),
            "stop": stop,
            "has_receptor": False,
            "batch": [f"batch{p % 2}" for p in range(patients)],
        },
        index=pd.Index(names),
    )
    table = pd.DataFrame(
        {"source": np.arange(cells), "sample": patient, "patient": patient, "clone": -1}
    )
    return CohortStore(
        rna=rna,
        genes=tuple(f"GENE{g}" for g in range(genes)),
        protein=protein,
        proteins=tuple(f"PROT{a}" for a in range(proteins)),
        protein_measured=np.ones((patients, proteins), dtype=bool),
        cells=table.assign(n_counts=np.asarray(rna.sum(axis=1)).ravel()),
        samples=samples,
        patients=pd.DataFrame({"response": np.arange(patients) % 2}, index=pd.Index(names)),
        receptor=None,
        clones=None,
        normalised=False,
        dropped={},
    )


def bags_of(store: CohortStore) -> Bags:
    """One bag a patient, labelled."""
    labels = store.patients["response"].astype(float)
    return make_bags(store, labels, unit="patient", admission=Admission())


def member_of(
    name: str,
    train: tuple[int, ...],
    validation: tuple[int, ...],
    held_out: tuple[int, ...] = (),
    seed: int = 0,
) -> Member:
    """A member of a fold of its own."""
    return Member(
        name=name,
        fold=seed,
        repeat=0,
        seed=seed,
        train=train,
        validation=validation,
        held_out=held_out,
    )


def fold_members(patients: int, folds: int) -> list[Member]:
    """Patients dealt into folds, two neighbours together, so that each part has both labels.

    A sixth of a fold's development patients, rounded up to pairs, are for validation.
    """
    everyone, pair = np.arange(patients), np.arange(patients) // 2
    members = []
    for fold in range(folds):
        development = everyone[pair % folds != fold]
        aside = 2 * max(1, round(len(development) / 12))
        members.append(
            member_of(
                f"fold{fold}",
                tuple(development[aside:].tolist()),
                tuple(development[:aside].tolist()),
                tuple(everyone[pair % folds == fold].tolist()),
                seed=fold,
            )
        )
    return members
