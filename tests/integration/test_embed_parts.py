"""New patients some at a time give what all of them at once give; bad ones stop everything."""

from __future__ import annotations

import warnings
from dataclasses import replace
from pathlib import Path
from typing import Any

import anndata as ad
import mudata
import numpy as np
import pandas as pd
import pytest

from recart.config.compose import compose
from recart.data.cohort import Cohort
from recart.inference import in_parts
from recart.inference.launch import embed_run
from recart.problems import InputError

OUTPUTS = "outputs=[latents,denoised_rna,denoised_protein,imputed_protein,attribution]"


@pytest.fixture
def settings(place: Any, trained: Path, new_patients: Cohort) -> list[str]:
    path = place.write(new_patients, "parts_input.h5mu")
    return [f"run={trained}", f"data.path={path}", "data.limits.min_cells=5"]


def _embed(settings: list[str], output: Path, cells: int, monkeypatch: pytest.MonkeyPatch) -> Any:
    monkeypatch.setattr(in_parts, "CELLS", cells)
    return embed_run(compose([*settings, OUTPUTS, f"output={output}"], entry="embed"))


def _read(path: Path) -> Any:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # mudata's notes on what it will do in future
        return ad.read_h5ad(path) if path.suffix == ".h5ad" else mudata.read_h5mu(path)


@pytest.mark.slow
def test_parts_give_what_the_whole_gives(
    settings: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for suffix in (".h5ad", ".h5mu"):
        whole = _embed(settings, tmp_path / f"whole{suffix}", 10_000, monkeypatch)
        parts = _embed(settings, tmp_path / f"parts{suffix}", 150, monkeypatch)
        pd.testing.assert_frame_equal(whole.patients, parts.patients, check_exact=True)
        pd.testing.assert_frame_equal(whole.embedding, parts.embedding, check_exact=True)
        one, other = (_read(tmp_path / f"{name}{suffix}") for name in ("whole", "parts"))
        if suffix == ".h5mu":
            assert list(one.obs_names) == list(other.obs_names)
            np.testing.assert_array_equal(one.obsm["X_recart"], other.obsm["X_recart"])
            np.testing.assert_array_equal(one["prot"].X, other["prot"].X)
            layer = "denoised_protein"
            np.testing.assert_array_equal(one["prot"].layers[layer], other["prot"].layers[layer])
            one, other = one["rna"], other["rna"]
        pd.testing.assert_frame_equal(one.obs, other.obs, check_exact=True)
        pd.testing.assert_frame_equal(one.var, other.var)
        assert (one.X != other.X).nnz == 0
        assert (one.layers["denoised_rna"] != other.layers["denoised_rna"]).nnz == 0
        assert set(one.obsm) == set(other.obsm)
        for name in one.obsm:
            np.testing.assert_array_equal(np.asarray(one.obsm[name]), np.asarray(other.obsm[name]))
    # what cells add, and what the patient is without them, sum to the patient's log-odds
    total = one.obs.groupby("patient", observed=True)["recart_attribution"].sum()
    base = whole.attribution.of_bags["base"]
    np.testing.assert_allclose(
        total.reindex(base.index) + base, whole.drivers.summary["score"], atol=1e-4
    )


def _without_early(place: Any, cohort: Cohort, patients: list[str]) -> Cohort:
    """The cohort without the samples of these patients that stand before the decision."""
    samples = cohort.samples
    out = samples.index[samples["patient"].isin(patients) & (samples["day"] <= 1)]
    own = place.take(cohort, list(cohort.patients.index))
    keep = ~own.cells["sample"].isin(out).to_numpy()
    return replace(
        own, rna=own.rna[keep], protein=own.protein[keep], cells=own.cells[keep], chains=None
    )


@pytest.mark.slow
@pytest.mark.parametrize("which", [slice(0, 2), slice(1, 2)])
def test_a_part_of_late_samples_only_is_read_as_in_the_whole(
    settings: list[str],
    place: Any,
    new_patients: Cohort,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    which: slice,
) -> None:
    late = list(new_patients.patients.index)[which]
    path = place.write(_without_early(place, new_patients, late), "late.h5mu")
    settings = [*settings, f"data.path={path}"]
    whole = _embed(settings, tmp_path / "whole.h5ad", 10_000, monkeypatch)
    parts = _embed(settings, tmp_path / "parts.h5ad", 150, monkeypatch)
    assert not parts.patients.index.isin(late).any()
    pd.testing.assert_frame_equal(whole.patients, parts.patients, check_exact=True)
    one, other = (_read(tmp_path / f"{name}.h5ad") for name in ("whole", "parts"))
    pd.testing.assert_frame_equal(one.obs, other.obs, check_exact=True)
    for name in one.obsm:
        np.testing.assert_array_equal(np.asarray(one.obsm[name]), np.asarray(other.obsm[name]))


@pytest.mark.slow
def test_late_samples_in_every_part_are_one_problem(
    settings: list[str],
    place: Any,
    new_patients: Cohort,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    cohort = _without_early(place, new_patients, list(new_patients.patients.index))
    path = place.write(cohort, "all_late.h5mu")
    samples = cohort.cells["sample"].nunique()
    with pytest.raises(InputError, match=f"1 problem.*\n.*E-TIME-002 count={samples} "):
        _embed([*settings, f"data.path={path}"], tmp_path / "late.h5mu", 150, monkeypatch)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.slow
def test_a_part_that_cannot_be_read_does_not_count_as_late(
    settings: list[str],
    place: Any,
    new_patients: Cohort,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    first, *others = new_patients.patients.index
    bad = _without_early(place, new_patients, others)
    bad.rna = bad.rna.astype(np.float32)
    owner = bad.samples["patient"].reindex(bad.cells["sample"]).to_numpy()
    bad.rna.data[bad.rna.indptr[int(np.flatnonzero(owner == first)[0])]] = -3
    path = place.write(bad, "bad_and_late.h5mu")
    with pytest.raises(InputError) as error:
        _embed([*settings, f"data.path={path}"], tmp_path / "bad.h5mu", 150, monkeypatch)
    assert "E-TIME-002" not in {problem.code for problem in error.value.problems}
    assert len(error.value.problems) == 1


@pytest.mark.slow
def test_the_input_is_never_replaced_by_the_output(settings: list[str]) -> None:
    path = Path(settings[1].removeprefix("data.path="))
    before, beside = path.read_bytes(), set(path.parent.iterdir())
    with pytest.raises(InputError, match=r"E-OUT-012 file=parts_input\.h5mu"):
        embed_run(compose([*settings, f"output={path}"], entry="embed"))
    assert path.read_bytes() == before
    assert set(path.parent.iterdir()) == beside


@pytest.mark.slow
def test_a_bad_patient_stops_everything_and_all_are_named(
    settings: list[str],
    place: Any,
    new_patients: Cohort,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    patients = list(new_patients.patients.index)
    bad = place.take(new_patients, patients)
    bad.rna = bad.rna.astype(np.float32)
    owner = bad.samples["patient"].reindex(bad.cells["sample"]).to_numpy()
    for patient in patients[1:3]:
        row = int(np.flatnonzero(owner == patient)[0])
        bad.rna.data[bad.rna.indptr[row]] = -3
    path = place.write(bad, "bad_parts.h5mu")
    with pytest.raises(InputError) as error:
        _embed([*settings, f"data.path={path}"], tmp_path / "bad.h5mu", 150, monkeypatch)
    named = {problem.sample for problem in error.value.problems}
    samples = bad.samples.index[bad.samples["patient"].isin(patients[1:3])]
    assert len(named) == 2
    assert named <= set(samples)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.slow
def test_one_donor_under_two_names_is_found_across_parts(
    settings: list[str],
    place: Any,
    new_patients: Cohort,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    patients = list(new_patients.patients.index)
    twice = place.take(new_patients, patients)
    owner = twice.samples["patient"].reindex(twice.cells["sample"]).to_numpy()
    first, last = (np.flatnonzero(owner == patients[i])[:30] for i in (0, -1))
    dense = twice.rna.tolil()
    dense[last] = dense[first]
    twice.rna = dense.tocsr()
    barcodes = np.array(
        ["".join("ACGT"[(i >> 2 * k) & 3] for k in range(16)) for i in range(len(owner))]
    ).astype(object)
    barcodes[last] = barcodes[first]
    twice.cells = twice.cells.assign(barcode=barcodes)
    path = place.write(twice, "twice.h5mu")
    with pytest.raises(InputError, match=r"E-ID-004.*share cells"):
        _embed([*settings, f"data.path={path}"], tmp_path / "twice.h5mu", 150, monkeypatch)
    assert list(tmp_path.iterdir()) == []
