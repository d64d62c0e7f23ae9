"""Embed and predict patients that no model has seen, with the members of a run."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pandas as pd

from recart.data.bag_features import bag_features
from recart.data.bags import Bags
from recart.data.features import BoundFeatures, bind
from recart.data.store import CohortStore
from recart.inference.batch_spread import batch_spread
from recart.inference.trust.trust import Trust, Trusted
from recart.training.bag_latents import bag_latents
from recart.training.encoding import encode
from recart.training.heads import BagLatents
from recart.training.member_file import LoadedMember

__all__ = ["Coverage", "MemberView", "NewPatients", "coverage", "embed_new_patients"]

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
    """

    name: str
    logits: np.ndarray[Any, Any]
    bag_features: np.ndarray[Any, Any]
    feature_names: list[str]
    batch_spread: np.ndarray[Any, Any]
    outputs: dict[str, np.ndarray[Any, Any]] = field(default_factory=dict)


@dataclass(frozen=True, kw_only=True)
class NewPatients:
    """What is exported.

    `latents` (c, l) are posterior means of every cell under the reference member, rows as the
    cells were read. `patients` has one row per bag: prediction, spread over members, coverage,
    flags, and where the endpoint is more than yes or no, `level:` and `survival:` columns (means
    over members). `embedding` (n, f) are the bag features of the reference member. Where the run
    has its `Trust`, `cell_flags` (c) are `recart_ood` and `recart_ood_score`, rows as the cells
    were read, `patients` has the columns of `Trust`, and `facts` what refusals were decided by.
    """

    latents: np.ndarray[Any, np.dtype[np.float32]]
    reference: str
    patients: pd.DataFrame
    embedding: pd.DataFrame
    cell_flags: pd.DataFrame | None = None
    facts: pd.DataFrame | None = None


def coverage(bound: BoundFeatures) -> Coverage:
    """What of the member's features the new data have."""
    proteins = bound.proteins[bound.features.protein_seen]
    return Coverage(
        genes=float(np.mean(bound.genes >= 0)),
        proteins=float(np.mean(proteins >= 0)) if len(proteins) else 1.0,
        known_batch=bound.batch_of_sample >= 0,
    )


def embed_new_patients(
    members: Sequence[LoadedMember],
    store: CohortStore,
    bags: Bags,
    known: frozenset[str],
    trust: Trust | None = None,
) -> NewPatients:
    """Embed and predict every bag of `store` with every member.

    `known` are the names of the patients of the run; who is among them is flagged and gets no
    prediction as if new. Whom `trust` refuses gets none either.
    """
    extras = bag_features(store, bags)
    views = list(_views(members, store, bags, extras))
    reference = members[0]
    bound = bind(reference.features, store)
    ranges = [store.sample_slice(s) for s in range(len(store.samples))]
    sorted_latents = encode(reference.stack, bound, store, ranges)
    source = store.cells["source"].to_numpy()
    latents = np.empty_like(sorted_latents)
    latents[source] = sorted_latents
    trusted = None
    if trust is not None:
        log_odds = {view.name: view.logits for view in views}
        trusted = trust.of(members, store, bags, log_odds, known)
    return NewPatients(
        latents=latents,
        reference=reference.name,
        patients=_patient_table(views, coverage(bound), store, bags, known, trusted),
        embedding=pd.DataFrame(
            views[0].bag_features, index=bags.table.index, columns=views[0].feature_names
        ),
        cell_flags=None if trusted is None else _cell_flags(trusted, source),
        facts=None if trusted is None else trusted.facts,
    )


def _cell_flags(trusted: Trusted, source: np.ndarray[Any, Any]) -> pd.DataFrame:
    score = np.empty(len(source), dtype=np.float32)
    score[source] = trusted.oddness
    return pd.DataFrame({"recart_ood": score > 1, "recart_ood_score": score})


def _views(
    members: Sequence[LoadedMember], store: CohortStore, bags: Bags, extras: pd.DataFrame
) -> Iterator[MemberView]:
    for member in members:
        bound = bind(member.features, store)
        seen: BagLatents = bag_latents(
            member.stack, bound, store, bags, np.arange(len(bags)), extras
        )
        features, names = member.head.embedding(seen)
        yield MemberView(
            name=member.name,
            logits=member.rule.log_odds(member.head.logits(seen)),
            bag_features=features,
            feature_names=names,
            batch_spread=batch_spread(member, bound, store, bags, extras),
            outputs=member.head.outputs(seen),
        )


def _patient_table(
    views: Sequence[MemberView],
    covered: Coverage,
    store: CohortStore,
    bags: Bags,
    known: frozenset[str],
    trusted: Trusted | None,
) -> pd.DataFrame:
    logits_mn = np.stack([view.logits for view in views])
    sample_of_bag = [
        np.unique(store.cells["sample"].to_numpy()[bags.cells([n])]) for n in range(len(bags))
    ]
    rows = []
    for n, (bag, row) in enumerate(bags.table.iterrows()):
        samples = sample_of_bag[n]
        flags = _flags(covered, int(row["n_cells"]), samples, store)
        in_training = str(store.patients.index[int(row["patient"])]) in known
        refused = in_training
        if trusted is not None:
            refused = bool(trusted.table["refused"].iloc[n])
            in_training = bool(trusted.table["in_training"].iloc[n])
        flags += ["in-training"] if in_training else []
        own = np.full(len(views), np.nan) if refused else logits_mn[:, n]
        rows.append(
            {
                "bag": bag,
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
    """Mean over members of what the endpoint says of bag `n`, by name; none where refused."""
    return {
        name: float("nan") if refused else float(np.mean([own.outputs[name][n] for own in views]))
        for name in views[0].outputs
    }


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
