"""Leaks that lie in a cohort before any model reads it: each makes one of a sound cohort."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pandas as pd
from scipy import sparse

from recart.data.cohort import Cohort


def take_cells(cohort: Cohort, keep: np.ndarray) -> Cohort:
    """Some of the cells; samples without one go."""
    cells = cohort.cells[keep]
    chains = cohort.chains[cohort.chains["cell"].isin(cells.index)].reset_index(drop=True)
    present = cohort.samples.index.isin(cells["sample"])
    return replace(
        cohort,
        rna=cohort.rna[np.flatnonzero(keep)],
        cells=cells,
        samples=cohort.samples[present],
        protein=cohort.protein[keep],
        protein_measured=cohort.protein_measured[present],
        chains=chains,
    )


def owner_of_cells(cohort: Cohort) -> np.ndarray:
    """Patient of each cell."""
    return cohort.samples["patient"].reindex(cohort.cells["sample"]).to_numpy()


def responds(cohort: Cohort) -> pd.Series[bool]:
    """By patient."""
    return cohort.patients["response"] == "CR"


def donor_under_two_ids(cohort: Cohort, patient: str, *, depth: float | None, seed: int) -> Cohort:
    """L05: half of a patient's cells stand under a second id, with the other label.

    With `depth`, all cells do once more, sequenced again: counts thinned, a fifth of the receptor
    chains not seen.
    """
    rng = np.random.default_rng(seed)
    own = cohort.samples.index[cohort.samples["patient"] == patient]
    at = np.flatnonzero(cohort.cells["sample"].isin(own).to_numpy())
    second = f"{patient}again"
    samples = cohort.samples.loc[own].assign(patient=second)
    samples.index = samples.index + "again"
    person = cohort.patients.loc[[patient]].copy()
    person.index = pd.Index([second])
    person["response"] = "nonCR" if person["response"].iloc[0] == "CR" else "CR"
    base = replace(
        cohort,
        samples=pd.concat([cohort.samples, samples]),
        patients=pd.concat([cohort.patients, person]),
        protein_measured=np.ones(
            (len(cohort.samples) + len(samples), len(cohort.proteins)), dtype=bool
        ),
    )
    if depth is None:
        moved = at[rng.random(len(at)) < 0.5]
        cells = cohort.cells.copy()
        place = cells.columns.get_loc("sample")
        cells.iloc[moved, place] = cells["sample"].iloc[moved].to_numpy() + "again"
        return replace(base, cells=cells)
    counts = cohort.rna[at].copy()
    counts.data = rng.binomial(counts.data.astype(int), depth).astype(cohort.rna.dtype)
    counts.eliminate_zeros()
    cells = cohort.cells.iloc[at].copy()
    chains = cohort.chains[cohort.chains["cell"].isin(cells.index)]
    chains = chains[rng.random(len(chains)) < 0.8]
    cells.index = cells.index + "again"
    cells["sample"] = cells["sample"] + "again"
    return replace(
        base,
        rna=sparse.vstack([cohort.rna, counts]).tocsr(),
        cells=pd.concat([cohort.cells, cells]),
        protein=np.concatenate([cohort.protein, cohort.protein[at]]),
        chains=pd.concat(
            [cohort.chains, chains.assign(cell=chains["cell"] + "again")], ignore_index=True
        ),
    )


def copied_cells(cohort: Cohort, cells: int, changed: int, seed: int) -> Cohort:
    """Deep cells of the first patient overwrite cells of another, some counts changed in each."""
    rng = np.random.default_rng(seed)
    owner = owner_of_cells(cohort)
    deepest = np.argsort(-np.diff(cohort.rna.indptr), kind="stable")
    deepest_owner = owner[deepest]
    pair = [deepest[deepest_owner == cohort.patients.index[i]][:cells] for i in (0, -2)]
    rna = cohort.rna.tolil()
    for one, other in zip(*pair, strict=True):
        rna[other] = cohort.rna[one]
        for gene in rng.choice(cohort.rna.shape[1], changed, replace=False):
            rna[other, gene] = rna[other, gene] + 1
    return replace(cohort, rna=rna.tocsr())


def filtered_by_outcome(cohort: Cohort, seed: int) -> Cohort:  # noqa: ARG001
    """L10: shallow cells of patients without response were thrown away."""
    depth = np.asarray(cohort.rna.sum(axis=1)).ravel()
    shallow = depth < np.quantile(depth, 0.5)
    return take_cells(cohort, ~shallow | responds(cohort)[owner_of_cells(cohort)].to_numpy())


def fewer_cells_without_response(cohort: Cohort, seed: int) -> Cohort:
    """L16: samples of responders gave twice as many cells."""
    rng = np.random.default_rng(seed)
    kept = rng.random(len(cohort.cells)) < 0.5
    return take_cells(cohort, kept | responds(cohort)[owner_of_cells(cohort)].to_numpy())


def relapse_day(cohort: Cohort, seed: int) -> Cohort:
    """L13: a column is filled only where the outcome was bad."""
    rng = np.random.default_rng(seed)
    days = np.where(responds(cohort), np.nan, rng.integers(30, 400, len(cohort.patients)))
    return replace(cohort, patients=cohort.patients.assign(relapse_day=days))


def vital_status(cohort: Cohort, seed: int) -> Cohort:
    """L13: the endpoint in other words, with one exception."""
    words = np.where(responds(cohort), "alive", "dead")
    words[np.random.default_rng(seed).integers(len(words))] = "alive"
    return replace(cohort, patients=cohort.patients.assign(vital_status=words))


def enrolled_by_outcome(cohort: Cohort, seed: int) -> Cohort:
    """L13: whoever responds came a year earlier; no two dates are the same."""
    days = np.random.default_rng(seed).permutation(len(cohort.patients)) + 400 * ~responds(cohort)
    dates = pd.Timestamp("2020-01-01") + pd.to_timedelta(days, unit="D")
    text = dates.dt.strftime("%Y-%m-%d")
    return replace(cohort, patients=cohort.patients.assign(enrolled=text))


def score_among_many(cohort: Cohort, seed: int) -> Cohort:
    """L13: a number follows the outcome, and a hundred beside it follow nothing."""
    rng, index = np.random.default_rng(seed), cohort.patients.index
    noise = pd.DataFrame(rng.normal(size=(len(index), 100)), index).add_prefix("lab")
    score = responds(cohort) + 0.1 * rng.random(len(index))
    return replace(cohort, patients=cohort.patients.join(noise).assign(score=score))


def named_like_the_audits_own(cohort: Cohort, seed: int) -> Cohort:
    """L13: the endpoint again, in columns by names that the audit or the store uses itself."""
    yes = responds(cohort)
    words = yes.map({True: "good", False: "bad"})
    stop = 100 * yes + np.random.default_rng(seed).random(len(yes))
    return replace(cohort, patients=cohort.patients.assign(label=words, stop=stop))


def renamed(cohort: Cohort, names: dict[str, str]) -> Cohort:
    """Patients by other ids."""
    patients = cohort.patients.copy()
    patients.index = patients.index.map(names)
    samples = cohort.samples.assign(patient=cohort.samples["patient"].map(names))
    return replace(cohort, patients=patients, samples=samples)


def ids_by_outcome(cohort: Cohort, seed: int) -> Cohort:
    """L13: ids speak of arms, in an order that tells nothing."""
    number = np.random.default_rng(seed).permutation(len(cohort.patients))
    yes = responds(cohort)
    names = {
        patient: f"{n:03d}{'A' if yes[patient] else 'B'}"
        for n, patient in zip(number, cohort.patients.index, strict=True)
    }
    return renamed(cohort, names)


def order_by_outcome(cohort: Cohort, seed: int) -> Cohort:  # noqa: ARG001
    """L13: responders came first when ids were given."""
    ordered = cohort.patients.sort_values("response", kind="stable").index
    return renamed(cohort, {patient: f"pt{n:03d}" for n, patient in enumerate(ordered)})


def files_by_outcome(cohort: Cohort, seed: int) -> Cohort:  # noqa: ARG001
    """L13: one file holds the responders' cells, the next the others'."""
    order = np.argsort(~responds(cohort)[owner_of_cells(cohort)].to_numpy(), kind="stable")
    return replace(
        cohort,
        rna=cohort.rna[order],
        cells=cohort.cells.iloc[order],
        protein=cohort.protein[order],
    )


def with_column(cohort: Cohort, table: str, column: str, values: Any) -> Cohort:
    """One more column of `samples` or `patients`."""
    return replace(cohort, **{table: getattr(cohort, table).assign(**{column: values})})
