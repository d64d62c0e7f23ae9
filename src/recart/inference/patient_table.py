"""The table of new patients: prediction, spread over members, coverage, flags, refusals."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pandas as pd

from recart.data.bags import Bags
from recart.data.features import BoundFeatures
from recart.data.store import CohortStore
from recart.inference.attributed_cells import AttributedCells
from recart.inference.cell_pictures import CellPictures
from recart.inference.explain import Explanation
from recart.inference.trust.trust import Trusted

__all__ = ["Coverage", "MemberView", "coverage", "patient_table"]

FEW_CELLS = 100  # below this a bag's composition is mostly sampling noise


@dataclass(frozen=True, kw_only=True)
class Coverage:
    """Shares of what a member was trained on that the new data have.

    `genes` and `proteins` are shares of the member's features; `known_batch` (s) says whether the
    member knows the sample's batch.
    """

    genes: float
    proteins: float
    known_batch: np.ndarray[Any, np.dtype[np.bool_]]


@dataclass(frozen=True, kw_only=True)
class MemberView:
    """How one member sees the new patients: calibrated log-odds (n) and bag features (n, f).

    `batch_spread` (n) is how far its probability goes between known batches where a bag's are not.
    `outputs` (n) each are what its endpoint says besides: probabilities of levels, survival.
    `explained` is what its features add to its score, `states` what each cell state of the
    reference member does; `cells` what each cell does, where asked for, and `pictures` cells to be
    drawn.
    """

    name: str
    logits: np.ndarray[Any, Any]
    bag_features: np.ndarray[Any, Any]
    feature_names: list[str]
    batch_spread: np.ndarray[Any, Any]
    explained: Explanation
    cells: AttributedCells | None = None
    pictures: CellPictures | None = None
    states: pd.DataFrame | None = None
    outputs: dict[str, np.ndarray[Any, Any]] = field(default_factory=dict)


def coverage(bound: BoundFeatures) -> Coverage:
    """What of the member's features the new data have."""
    proteins = bound.proteins[bound.features.protein_seen]
    return Coverage(
        genes=float(np.mean(bound.genes >= 0)),
        proteins=float(np.mean(proteins >= 0)) if len(proteins) else 1.0,
        known_batch=bound.batch_of_sample >= 0,
    )


def patient_table(
    views: Sequence[MemberView],
    covered: Coverage,
    store: CohortStore,
    bags: Bags,
    extras: pd.DataFrame,
    known: frozenset[str],
    trusted: Trusted | None,
) -> pd.DataFrame:
    """One row a bag: what all members say together, what was there to say it from, and flags.

    A sample's row names its `patient`. `extras` (n, f) has the covariates of the bags.
    """
    lacking = extras[list(bags.reading.covariates)].isna().any(axis=1).to_numpy()
    logits_mn = np.stack([view.logits for view in views])
    sample_of_bag = [
        np.unique(store.cells["sample"].to_numpy()[bags.cells([n])]) for n in range(len(bags))
    ]
    rows = []
    for n, (bag, row) in enumerate(bags.table.iterrows()):
        samples = sample_of_bag[n]
        flags = _flags(covered, int(row["n_cells"]), samples, store)
        patient = str(store.patients.index[int(row["patient"])])
        in_training = patient in known
        refused = in_training
        if trusted is not None:
            refused = bool(trusted.table["refused"].iloc[n])
            in_training = bool(trusted.table["in_training"].iloc[n])
        flags += ["covariates-missing"] if lacking[n] else []
        flags += ["in-training"] if in_training else []
        own = np.full(len(views), np.nan) if refused else logits_mn[:, n]
        rows.append(
            {
                "bag": bag,
                **({"patient": patient} if bags.unit == "sample" else {}),
                "n_cells": int(row["n_cells"]),
                "n_samples": len(samples),
                "probability": _sigmoid(own.mean()),
                "probability_min": _sigmoid(own.min()),
                "probability_max": _sigmoid(own.max()),
                "logit_mean": own.mean(),
                "logit_sd": own.std(),
                "members": len(views),
                **_outputs(views, n, refused),
                "gene_coverage": covered.genes,
                "protein_coverage": covered.proteins,
                "known_batch": bool(covered.known_batch[samples].all()),
                "batch_spread": float(np.mean([view.batch_spread[n] for view in views])),
                "flags": ";".join(flags),
            }
        )
    table = pd.DataFrame(rows).set_index("bag")
    return table if trusted is None else table.join(trusted.table)


def _outputs(views: Sequence[MemberView], n: int, refused: bool) -> dict[str, float]:
    """Mean over members of what the endpoint says of bag `n`, by name; none where refused.

    Over the members that say something: of a late month only those that saw so long a follow-up.
    """
    found = {}
    for name in views[0].outputs:
        told = np.array([own.outputs[name][n] for own in views], dtype=float)
        told = told[np.isfinite(told)]
        found[name] = float(told.mean()) if len(told) and not refused else float("nan")
    return found


def _flags(
    covered: Coverage,
    n_cells: int,
    samples: np.ndarray[Any, Any],
    store: CohortStore,
) -> list[str]:
    flags = []
    if n_cells < FEW_CELLS:
        flags.append("low-cell")
    if covered.genes < 1:
        flags.append("genes-missing")
    if covered.proteins < 1 or not store.protein_measured[samples].all():
        flags.append("no-protein" if covered.proteins == 0 else "proteins-missing")
    if store.receptor is None or not store.samples["has_receptor"].to_numpy()[samples].any():
        flags.append("no-receptor")
    if not covered.known_batch[samples].all():
        flags.append("unseen-batch")
    return flags


def _sigmoid(value: float) -> float:
    return float(1 / (1 + np.exp(-value)))
