"""Columns of exported cells: what is said of their own bag, and the user's as they were."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import anndata as ad
import numpy as np
import pandas as pd
import pytest
from scipy import sparse

from recart.data.cohort import Cohort
from recart.data.readers import H5adReader, H5muReader
from recart.inference.explain import Drivers
from recart.inference.export import Export
from recart.inference.new_patients import NewPatients


def cohort(samples: dict[str, str], **columns: Any) -> Cohort:
    """Two cells of each sample; `samples` says whose each is, `columns` are of the cells."""
    names = np.repeat(list(samples), 2)
    index = [f"{sample}-cell-{i}" for i, sample in enumerate(names)]
    return Cohort(
        rna=sparse.csr_matrix(np.ones((len(names), 3), dtype=np.uint16)),
        genes=pd.DataFrame(index=pd.Index(["CD3E", "CD4", "CD8A"])),
        cells=pd.DataFrame({"sample": names, **columns}, index=index),
        samples=pd.DataFrame({"patient": list(samples.values())}, index=list(samples)),
        patients=pd.DataFrame(index=pd.unique(np.array(list(samples.values()), dtype=object))),
    )


def found(unit: str, probability: dict[str, float], **columns: Any) -> NewPatients:
    """What was found, by bag."""
    table = pd.DataFrame(
        {"n_cells": 2, "probability": probability, "flags": "low-cell", **columns},
        index=list(probability),
    )
    return NewPatients(
        latents=np.zeros((2 * len(table), 4), dtype=np.float32),
        reference="m",
        patients=table,
        embedding=table,
        drivers=Drivers(groups=table, features=table, summary=table, scale="log-odds"),
        unit=unit,
    )


@pytest.fixture
def written(tmp_path: Path) -> Callable[..., pd.DataFrame]:
    """`written(*parts)`: `obs` of the file that parts of a cohort, and what was found, give."""

    def write(*parts: tuple[Cohort, NewPatients]) -> pd.DataFrame:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # anndata's notes on what it reads
            with Export(tmp_path / "cells.h5ad", {}) as out:
                for own, new in parts:
                    out.add(own, new)
                out.finish()
            obs: pd.DataFrame = ad.read_h5ad(tmp_path / "cells.h5ad").obs
        return obs

    return write


def test_a_sample_that_bears_a_patients_name_is_no_patient(
    written: Callable[..., pd.DataFrame],
) -> None:
    # P1's second sample is called P1b; so is another patient
    data = cohort({"P1": "P1", "P1b": "P1", "T1": "P1b"})
    of_sample = written((data, found("sample", {"P1": 0.1, "P1b": 0.9, "T1": 0.4})))
    np.testing.assert_array_equal(of_sample["recart_probability"], [0.1, 0.1, 0.9, 0.9, 0.4, 0.4])
    new = replace(found("patient", {"P1": 0.2, "P1b": 0.7}), latents=np.zeros((6, 4), np.float32))
    of_patient = written((data, new))
    np.testing.assert_array_equal(of_patient["recart_probability"], [0.2, 0.2, 0.2, 0.2, 0.7, 0.7])


def test_a_refused_cell_says_why(written: Callable[..., pd.DataFrame]) -> None:
    new = found("patient", {"A": 0.3, "B": np.nan}, reasons=["", "R-OOD-RNA;R-FEW-CELLS"])
    obs = written((cohort({"a": "A", "b": "B"}), new))
    assert list(obs["recart_reasons"]) == ["", "", *["R-OOD-RNA;R-FEW-CELLS"] * 2]
    assert list(obs["recart_flags"]) == ["low-cell"] * 4
    # a model that was never evaluated refuses nobody
    obs = written((cohort({"a": "A"}), found("patient", {"A": 0.3})))
    assert "recart_reasons" not in obs


def test_missing_values_stay_missing_and_categories_stay_as_they_are(
    written: Callable[..., pd.DataFrame],
) -> None:
    grade = pd.Categorical(
        ["mild", None, "severe", "mild"], categories=["mild", "severe", "fatal"], ordered=True
    )
    mine: dict[str, Any] = {
        "word": np.array(["T", None, np.nan, "B"], dtype=object),
        "nothing": np.array([None] * 4, dtype=object),
        "mixed": np.array([1, "x", None, True], dtype=object),
        "grade": grade,
        "read": np.array(grade.astype(object), dtype=object),  # as a reader hands it on
    }
    levels = {"read": ("mild", "severe", "fatal"), "word": ("T", "NK")}
    first = replace(cohort({"a": "A", "b": "B"}, **mine), levels=levels)
    whole = (first, found("patient", {"A": 0.3, "B": 0.4}))
    other = {**mine, "word": np.array([None, "NK"], dtype=object)}
    more = {name: values[:2] if name != "word" else values for name, values in other.items()}
    last = (replace(cohort({"c": "C"}, **more), levels=levels), found("patient", {"C": 0.5}))
    for parts, words in (((whole,), []), ((whole, last), [None, "NK"])):
        obs = written(*parts)
        assert [None if pd.isna(own) else own for own in obs["word"]] == [
            *("T", None, None, "B"),
            *words,
        ]
        assert list(obs["word"].cat.categories) == sorted({"T", "B", *filter(None, words)})
        assert obs["nothing"].isna().all()
        assert [None if pd.isna(own) else own for own in obs["mixed"][:4]] == [
            "1",
            "x",
            None,
            "True",
        ]
        for name in ("grade", "read"):
            pd.testing.assert_series_equal(
                obs[name][:4], pd.Series(grade, index=obs.index[:4], name=name)
            )


@pytest.mark.parametrize("kind", ["h5ad", "h5mu"])
def test_what_was_not_measured_is_read_back_as_not_measured(kind: str, tmp_path: Path) -> None:
    data = replace(
        cohort({"a": "A", "b": "B"}),
        proteins=["CD3", "CD4"],
        protein=np.array([[7, 7], [7, 7], [0, 7], [0, 7]], dtype=np.float32),
        protein_measured=np.array([[True, True], [False, True]]),
    )
    path = tmp_path / f"cells.{kind}"
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # anndata's and mudata's notes
        with Export(path, {}) as out:
            out.add(data, found("patient", {"A": 0.3, "B": 0.4}))
            out.finish()
    reader = H5adReader(str(path)) if kind == "h5ad" else H5muReader(str(path))
    again = reader.read()
    assert again.proteins == data.proteins
    np.testing.assert_array_equal(again.protein_measured, data.protein_measured)
    np.testing.assert_array_equal(again.protein, data.protein)
