"""From input files to the store, once: read, check, separate the CAR, call clones, embed, sort."""

from __future__ import annotations

import hashlib
import json
import logging
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Final

import numpy as np
import pandas as pd

from recart.data.build_store import Names, build_store, separate_car
from recart.data.checks import Limits, check_cohort, filter_cohort
from recart.data.cohort import HAS_BCR, HAS_TCR, Cohort
from recart.data.names.gene_map import known_symbol
from recart.data.outcome import Outcome
from recart.data.prepared_note import Inputs, Note, find_note, take_inputs, write_note
from recart.data.pseudonyms import Pseudonyms
from recart.data.readers.reader import Reader
from recart.data.receptors.clonotypes import BCR, call_clonotypes
from recart.data.receptors.embedding import ReceptorEmbedding, embed_cached
from recart.data.store import SCHEMA, CohortStore, open_store, write_store

__all__ = ["Endpoint", "Preparation", "content_key", "prepare", "read_checked", "to_store"]

# of what a store holds of `has_tcr`, of CAR+ cells in normalised values and of mitochondrial genes
# by id: where one matters a store of before is made again, all others keep their key
_RULES: Final = "2026-11-29, genes by id"

logger = logging.getLogger(__name__)


@dataclass(frozen=True, kw_only=True)
class Endpoint:
    """What is to be predicted, as the user wrote it; the checks resolve it.

    `column` is None for new patients, whose labels are not looked at. `outcome` stands for all but
    `unit` where the endpoint is not one of two classes.
    """

    column: str | None
    positive: Sequence[Any] | None
    negative: Sequence[Any] | None
    exclude: Sequence[Any]
    unit: str
    outcome: Outcome | None = None


@dataclass(frozen=True, kw_only=True)
class Preparation:
    """How a cohort becomes a store.

    `reader` is a file reader or the simulator. `folder` keeps the stores, the project's pseudonym
    key, the map from ids to pseudonyms and the cache of receptor embeddings: it is as private as
    the data. `in_memory` says how the store is opened, see `open_store`. `reread` reads the input
    although it is unchanged.
    """

    reader: Reader
    endpoint: Endpoint
    car_genes: Sequence[str]
    normalised: bool
    limits: Limits
    receptors: ReceptorEmbedding
    folder: Path
    in_memory: bool | None
    reread: bool


def prepare(preparation: Preparation, progress: Callable[[str], None]) -> tuple[CohortStore, str]:
    """The store of a cohort and its key; made once, opened when its content is there already.

    Where neither files nor settings have changed since, nothing is read again: the store is opened,
    and what the checks warned of is said again.

    Raises
    ------
    InputError
        With every problem of form or content, before anything is written.
    """
    inputs = _inputs(preparation)
    if inputs is not None and not preparation.reread:
        note = _noted(preparation, inputs)
        if note is not None:
            for warning in note.warnings:
                progress(f"warning: {warning}")
            progress(
                f"opening the prepared cohort {note.key}, made of these very files and settings; "
                "data.reread=true reads them again"
            )
            return _open(preparation, note.key), note.key
    cohort, warnings = _read_checked(preparation, progress)
    unchanged = inputs is not None and _inputs(preparation) == inputs  # while they were read
    key = content_key(cohort, preparation)
    path = preparation.folder / f"{key}.zarr"
    if not path.exists():
        progress("sorting cells, calling clones, embedding receptors")
        pseudonyms = Pseudonyms(preparation.folder / "pseudonym.key")
        store = to_store(cohort, preparation, pseudonyms)
        write_store(store, path)
        pseudonyms.write_id_map(preparation.folder / f"{key}.ids.csv")
        del store
    del cohort  # its place in memory is the store's
    if inputs is not None and unchanged:
        note = Note(key=key, warnings=tuple(warnings))
        write_note(preparation.folder / "notes", _key_bytes(preparation.folder), inputs, note)
    progress(f"opening the prepared cohort {key}")
    return _open(preparation, key), key


def _open(preparation: Preparation, key: str) -> CohortStore:
    return open_store(preparation.folder / f"{key}.zarr", in_memory=preparation.in_memory)


def _inputs(preparation: Preparation) -> Inputs | None:
    """The files as they are now, and everything else that shapes the store or what is said."""
    settings = [
        SCHEMA,
        _RULES,
        preparation.endpoint,
        preparation.limits,
        list(preparation.car_genes),
        preparation.normalised,
        preparation.receptors.fingerprint,
    ]
    return take_inputs(preparation.reader, settings)


def _noted(preparation: Preparation, inputs: Inputs) -> Note | None:
    """What is noted on these inputs, if that store is still there."""
    if not (preparation.folder / "pseudonym.key").exists():
        return None  # nothing was prepared here
    note = find_note(preparation.folder / "notes", _key_bytes(preparation.folder), inputs)
    there = note is not None and (preparation.folder / f"{note.key}.zarr").exists()
    return note if there else None


def read_checked(preparation: Preparation, progress: Callable[[str], None]) -> Cohort:
    """Read and check, and leave out what the rules say.

    Raises
    ------
    InputError
        With every problem found.
    """
    return _read_checked(preparation, progress)[0]


def _read_checked(
    preparation: Preparation, progress: Callable[[str], None]
) -> tuple[Cohort, list[str]]:
    """The cohort, and what the checks warned of."""
    progress("reading the cohort")
    cohort = preparation.reader.read()
    progress(f"checking {len(cohort.cells):,} cells of {len(cohort.samples):,} samples")
    endpoint = preparation.endpoint
    problems = check_cohort(
        cohort,
        endpoint=endpoint.column,
        positive=endpoint.positive,
        negative=endpoint.negative,
        exclude=endpoint.exclude,
        unit=endpoint.unit,
        normalised=preparation.normalised,
        limits=preparation.limits,
        outcome=endpoint.outcome,
    )
    warnings = [str(warning) for warning in problems.warnings]
    for warning in warnings:
        progress(f"warning: {warning}")
    kept = filter_cohort(cohort, normalised=preparation.normalised, limits=preparation.limits)
    return kept, warnings


def to_store(cohort: Cohort, preparation: Preparation, pseudonyms: Names) -> CohortStore:
    """The store of a checked cohort, in memory."""
    car_umi = None
    if preparation.car_genes:
        cohort, car_umi = separate_car(cohort, preparation.car_genes)
    clonotypes = bcr = receptor = None
    if cohort.chains is not None:
        of_b_cell = cohort.chains["locus"].isin(BCR.all_loci)
        of_t_cells = cohort.chains[~of_b_cell].reset_index(drop=True)
        of_b_cells = cohort.chains[of_b_cell].reset_index(drop=True)
        patient = cohort.samples["patient"].reindex(cohort.cells["sample"]).astype(str)
        patient.index = cohort.cells.index
        called = call_clonotypes(
            of_t_cells, cohort.cells.index, patient, samples=cohort.cells["sample"]
        )
        dropped = {f"receptor chains: {k}": v for k, v in called.dropped.items()}
        if len(called.table):
            clonotypes = called
            vectors = embed_cached(
                preparation.receptors, clonotypes.table, preparation.folder / "receptors"
            )
            receptor = (vectors.values, vectors.known)
            dropped |= {f"receptor chains masked: {k}": v for k, v in vectors.masked.items()}
        if len(of_b_cells):
            bcr = call_clonotypes(of_b_cells, cohort.cells.index, patient, BCR)
            dropped |= {f"B cell receptor chains: {k}": v for k, v in bcr.dropped.items()}
        cohort = replace(cohort, dropped={**cohort.dropped, **dropped})
    return build_store(
        cohort,
        car_umi=car_umi,
        clonotypes=clonotypes,
        bcr=bcr,
        receptor=receptor,
        pseudonyms=pseudonyms,
        normalised=preparation.normalised,
    )


def content_key(cohort: Cohort, preparation: Preparation) -> str:
    """Sixteen hexadecimal digits over the cohort's content and everything that shapes the store."""
    digest = hashlib.sha256()

    def add(array: np.ndarray[Any, Any]) -> None:
        digest.update(np.ascontiguousarray(array).view(np.uint8).data)

    def add_table(table: pd.DataFrame) -> None:
        digest.update(json.dumps([str(c) for c in table.columns]).encode())
        if len(table):
            add(pd.util.hash_pandas_object(table.astype(str), index=True).to_numpy())

    for part in (cohort.rna.data, cohort.rna.indices, cohort.rna.indptr, cohort.protein):
        if part is not None:
            add(np.asarray(part))
    if cohort.protein_measured is not None:
        add(cohort.protein_measured)
    for table in (cohort.genes, cohort.cells, cohort.samples, cohort.patients, cohort.chains):
        if table is not None:
            add_table(table)
    settings = [
        SCHEMA,
        list(preparation.car_genes),
        preparation.normalised,
        preparation.receptors.fingerprint,
        list(cohort.proteins),
        # pseudonyms are keyed: another key is another store
        hashlib.sha256(_key_bytes(preparation.folder)).hexdigest(),
    ]
    said = {HAS_TCR, HAS_BCR} & set(cohort.samples.columns)
    by_id = any(known_symbol(name) != name for name in map(str, cohort.genes.index))
    if said or by_id or (preparation.normalised and preparation.car_genes):
        settings.append(_RULES)
    digest.update(json.dumps(settings).encode())
    return digest.hexdigest()[:16]


def _key_bytes(folder: Path) -> bytes:
    folder.mkdir(parents=True, exist_ok=True)
    Pseudonyms(folder / "pseudonym.key")  # makes the key on first use
    return (folder / "pseudonym.key").read_bytes()
