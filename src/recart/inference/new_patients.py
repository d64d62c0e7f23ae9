"""Embed and predict patients that no model has seen, with the members of a run."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, fields
from typing import Any

import numpy as np
import pandas as pd

from recart.data.bag_features import bag_features
from recart.data.bags import Bags
from recart.data.features import BoundFeatures, bind
from recart.data.store import CohortStore
from recart.inference.attributed_cells import AttributedCells, attribute_bags
from recart.inference.cell_pictures import CellPictures, picture_cells
from recart.inference.explain import Drivers, Explanation, combine, explain_head
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

    `outputs` (n) each are what its endpoint says besides: probabilities of levels, survival.
    `explained` is what its features add to its score; `cells` what each cell does, where asked for,
    and `pictures` cells to be drawn.
    """

    name: str
    logits: np.ndarray[Any, Any]
    bag_features: np.ndarray[Any, Any]
    feature_names: list[str]
    explained: Explanation
    cells: AttributedCells | None = None
    pictures: CellPictures | None = None
    outputs: dict[str, np.ndarray[Any, Any]] = field(default_factory=dict)


@dataclass(frozen=True, kw_only=True)
class NewPatients:
    """What is exported.

    `latents` (c, l) are posterior means of every cell under the reference member, rows as the
    cells were read. `patients` has one row per bag: prediction, spread over members, coverage,
    flags, and where the endpoint is more than yes or no, `level:` and `survival:` columns (means
    over members). `embedding` (n, f) are the bag features of the reference member. `drivers` are
    what drives the scores; where asked for, `attribution` is what each cell adds to its patient's,
    and `pictures` are cells to be drawn, under the reference member.
    """

    latents: np.ndarray[Any, np.dtype[np.float32]]
    reference: str
    patients: pd.DataFrame
    embedding: pd.DataFrame
    drivers: Drivers | None = None
    attribution: AttributedCells | None = None
    pictures: CellPictures | None = None

    @classmethod
    def joined(cls, parts: Sequence[NewPatients]) -> NewPatients:
        """The patients of all parts, one after the other."""
        if len(parts) == 1:
            return parts[0]
        return cls(
            **{own.name: _joined([getattr(p, own.name) for p in parts]) for own in fields(cls)}
        )


def _joined(values: Sequence[Any]) -> Any:
    first = values[0]
    if first is None or isinstance(first, str):
        return first
    if isinstance(first, np.ndarray):
        return np.concatenate(values)
    if isinstance(first, pd.DataFrame):
        return pd.concat(values)
    return type(first).joined(values)


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
    *,
    attribute: bool = False,
    picture: bool = False,
    workers: int = 1,
    advance: Callable[[int], None] | None = None,
) -> NewPatients:
    """Embed and predict every bag of `store` with every member.

    `known` are the pseudonyms of the patients of the run; who is among them is flagged and gets no
    prediction as if new. `attribute` asks what each cell adds to its patient's score, `picture` for
    cells to be drawn. `advance` is told how many cells a member has encoded. `workers`
    threads encode; the numbers are the same for any of them while torch itself uses one.
    """
    extras = bag_features(store, bags)
    views = []
    drawn = members[0].name if picture else None
    for view in _views(members, store, bags, extras, attribute, drawn, workers):
        views.append(view)
        if advance is not None:
            advance(len(store.cells))
    reference = members[0]
    bound = bind(reference.features, store)
    ranges = [store.sample_slice(s) for s in range(len(store.samples))]
    sorted_latents = encode(reference.stack, bound, store, ranges, workers)
    latents = np.empty_like(sorted_latents)
    latents[store.cells["source"].to_numpy()] = sorted_latents
    return NewPatients(
        latents=latents,
        reference=reference.name,
        patients=_patient_table(views, coverage(bound), store, bags, known),
        embedding=pd.DataFrame(
            views[0].bag_features, index=bags.table.index, columns=views[0].feature_names
        ),
        drivers=combine([view.explained for view in views], bags.table.index),
        attribution=AttributedCells.mean([view.cells for view in views if view.cells is not None]),
        pictures=views[0].pictures,
    )


def _views(
    members: Sequence[LoadedMember],
    store: CohortStore,
    bags: Bags,
    extras: pd.DataFrame,
    attribute: bool,
    drawn: str | None,
    workers: int,
) -> Iterator[MemberView]:
    for member in members:
        bound = bind(member.features, store)
        seen: BagLatents = bag_latents(
            member.stack, bound, store, bags, np.arange(len(bags)), extras, workers
        )
        features, names = member.head.embedding(seen)
        yield MemberView(
            name=member.name,
            logits=member.rule.log_odds(member.head.logits(seen)),
            bag_features=features,
            feature_names=names,
            explained=explain_head(member.head, member.rule, seen),
            cells=attribute_bags(member, seen, bags, store) if attribute else None,
            pictures=picture_cells(member.head, seen, bags, store)
            if member.name == drawn
            else None,
            outputs=member.head.outputs(seen),
        )


def _patient_table(
    views: Sequence[MemberView],
    covered: Coverage,
    store: CohortStore,
    bags: Bags,
    known: frozenset[str],
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
        flags += ["in-training"] if in_training else []
        own = np.full(len(views), np.nan) if in_training else logits_mn[:, n]
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
                **_outputs(views, n, in_training),
                "gene_coverage": covered.genes,
                "protein_coverage": covered.proteins,
                "known_batch": bool(covered.known_batch[samples].all()),
                "flags": ";".join(flags),
            }
        )
    return pd.DataFrame(rows).set_index("bag")


def _outputs(views: Sequence[MemberView], n: int, in_training: bool) -> dict[str, float]:
    """Mean over members of what the endpoint says of bag `n`, by name; none for a known patient."""
    return {
        name: float("nan")
        if in_training
        else float(np.mean([own.outputs[name][n] for own in views]))
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
