"""Embed and predict patients that no model has seen, with the members of a run."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, fields, replace
from typing import Any

import numpy as np
import pandas as pd

from recart.data.bag_features import bag_features
from recart.data.bags import Bags
from recart.data.clone_features import EXPANSION_CLASSES, clone_size_of_cells, expansion_of
from recart.data.features import bind
from recart.data.store import CohortStore
from recart.inference.attributed_cells import AttributedCells, attribute_bags
from recart.inference.batch_spread import batch_spread
from recart.inference.cell_pictures import CellPictures, picture_cells
from recart.inference.cell_states import CellStates
from recart.inference.explain import Drivers, combine, explain_head
from recart.inference.patient_table import MemberView, coverage, patient_table
from recart.inference.state_drivers import state_drivers
from recart.inference.trust.trust import Trust, Trusted
from recart.training.bag_latents import bag_latents_by_batch
from recart.training.encoding import encode
from recart.training.member_file import LoadedMember

__all__ = ["NewPatients", "embed_new_patients"]


@dataclass(frozen=True, kw_only=True)
class NewPatients:
    """What is exported.

    `latents` (c, l) are posterior means of every cell under the reference member, rows as the cells
    were read. `patients` has one row per bag: prediction, spread over members, coverage, flags, and
    where the endpoint is more than yes or no, `level:` and `survival:` columns, and of a head with
    a posterior its bounds, `posterior:low` and `posterior:high` (means over members). `expansion`
    (c) is the expansion class of each cell's clone in its bag, `none` without a clone, `outside`
    where no bag has the cell, rows as the cells were read, and `clone_size` (c) how many cells of
    its bag share the clone: 0 without one, NaN where no bag has the cell. `embedding` (n, f) are
    the bag features of the reference member. `drivers` are what drives the scores; where asked for,
    `attribution` is what each cell adds to its patient's, and `pictures` are cells to be drawn,
    under the reference member. Where the model has its `Trust`, `cell_flags` (c) are `recart_ood`
    and `recart_ood_score`, rows as the cells were read, `patients` has the columns of `Trust`, and
    `facts` what refusals were decided by. `unit` is what a bag is, `patient` or `sample`: only with
    it is a name one of the two.
    """

    latents: np.ndarray[Any, np.dtype[np.float32]]
    reference: str
    patients: pd.DataFrame
    embedding: pd.DataFrame
    drivers: Drivers
    expansion: np.ndarray[Any, np.dtype[np.object_]] | None = None
    clone_size: np.ndarray[Any, np.dtype[np.float32]] | None = None
    attribution: AttributedCells | None = None
    pictures: CellPictures | None = None
    cell_flags: pd.DataFrame | None = None
    facts: pd.DataFrame | None = None
    unit: str = "patient"

    def without_bags(self) -> NewPatients:
        """The cells as those that are in no bag."""
        attributed, pictures = self.attribution, self.pictures
        if attributed is not None:
            attributed = replace(
                attributed,
                cells=np.full_like(attributed.cells, np.nan),
                of_bags=attributed.of_bags.iloc[:0],
            )
        return replace(
            self,
            patients=self.patients.iloc[:0],
            embedding=self.embedding.iloc[:0],
            drivers=self.drivers.of_none(),
            expansion=np.full(len(self.latents), "outside", dtype=object),
            clone_size=np.full(len(self.latents), np.nan, dtype=np.float32),
            attribution=attributed,
            pictures=None if pictures is None else replace(pictures, points=(), rows=()),
            facts=None if self.facts is None else self.facts.iloc[:0],
        )

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


def embed_new_patients(
    members: Sequence[LoadedMember],
    store: CohortStore,
    bags: Bags,
    known: frozenset[str],
    trust: Trust | None = None,
    *,
    attribute: bool = False,
    picture: bool = False,
    workers: int = 1,
    advance: Callable[[int], None] | None = None,
) -> NewPatients:
    """Embed and predict every bag of `store` with every member.

    `known` are the names of the patients of the run; who is among them is flagged and gets no
    prediction as if new. Whom `trust` refuses gets none either. `attribute` asks what each cell
    adds to its patient's score, `picture` for cells to be drawn. `advance` is told how many cells a
    member has encoded. `workers` threads encode; the numbers are the same for any of them while
    torch itself uses one.
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
    source = store.cells["source"].to_numpy()
    latents = np.empty_like(sorted_latents)
    latents[source] = sorted_latents
    in_bags = bags.cells(np.arange(len(bags)))
    sizes = clone_size_of_cells(store, bags)
    classes = np.array(EXPANSION_CLASSES, dtype=object)[expansion_of(sizes)]
    expansion = np.full(len(source), "outside", dtype=object)
    expansion[source[in_bags]] = classes[in_bags]
    clone_size = np.full(len(source), np.nan, dtype=np.float32)
    clone_size[source[in_bags]] = sizes[in_bags]
    trusted = None
    if trust is not None:
        log_odds = {view.name: view.logits for view in views}
        trusted = trust.of(members, store, bags, log_odds, known)
    return NewPatients(
        latents=latents,
        reference=reference.name,
        patients=patient_table(views, coverage(bound), store, bags, extras, known, trusted),
        embedding=pd.DataFrame(
            views[0].bag_features, index=bags.table.index, columns=views[0].feature_names
        ),
        drivers=combine(
            [view.explained for view in views],
            bags.table.index,
            CellStates.over([view.states for view in views if view.states is not None]),
        ),
        expansion=expansion,
        clone_size=clone_size,
        attribution=AttributedCells.mean([view.cells for view in views if view.cells is not None]),
        pictures=views[0].pictures,
        cell_flags=None if trusted is None else _cell_flags(trusted, source),
        facts=None if trusted is None else trusted.facts,
        unit=bags.unit,
    )


def _cell_flags(trusted: Trusted, source: np.ndarray[Any, Any]) -> pd.DataFrame:
    score = np.empty(len(source), dtype=np.float32)
    score[source] = trusted.oddness
    return pd.DataFrame({"recart_ood": score > 1, "recart_ood_score": score})


def _views(
    members: Sequence[LoadedMember],
    store: CohortStore,
    bags: Bags,
    extras: pd.DataFrame,
    attribute: bool,
    drawn: str | None,
    workers: int,
) -> Iterator[MemberView]:
    names = bags.table.index
    for member in members:
        bound = bind(member.features, store)
        seen, given = bag_latents_by_batch(
            member.stack, bound, store, bags, np.arange(len(bags)), extras, workers
        )
        features, feature_names = member.head.embedding(seen)
        yield MemberView(
            name=member.name,
            logits=member.rule.log_odds(member.head.logits(seen)),
            bag_features=features,
            feature_names=feature_names,
            batch_spread=batch_spread(member, len(bags), given),
            explained=explain_head(member.head, member.rule, seen),
            cells=attribute_bags(member, seen, bags, store) if attribute else None,
            pictures=picture_cells(member.head, seen, bags, store)
            if member.name == drawn
            else None,
            states=state_drivers(member.head, member.rule, seen, names, members[0].head),
            outputs=member.outputs(seen),
        )
