"""From a user's file to predictions of new patients, through the functions of the entry points."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from html import unescape
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch

from recart.config.build import build
from recart.config.compose import compose, config_folder
from recart.data.cohort import Cohort
from recart.evaluation.claims import ClaimLevel
from recart.evaluation.launch import evaluate_run
from recart.evaluation.refit import refit_folds
from recart.evaluation.refits import Refits
from recart.inference.launch import embed_run
from recart.problems import InputError
from recart.report.question import Question
from recart.report.run_report import write_run_report
from recart.report.wording import says_too_much
from recart.training.checkpoints import load_checkpoint
from recart.training.launch import train_run
from recart.training.run_directory import RunDirectory

# what authors may say, and what sixteen patients do not allow
STUDY = {"funding": "QQFUNDER", "title": "Cells that predict durable CR", "context": "A CR score."}


@contextmanager
def silent() -> Iterator[None]:
    """Without the notes of the tools that read what recart wrote."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield


@pytest.fixture(scope="module")
def evaluated(trained: Path) -> Path:
    """The run with its report."""
    run = RunDirectory.open(trained)
    write_run_report(evaluate_run(run), run, STUDY)
    return trained


def contents(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in sorted(folder.glob("*.ckpt"))}


def differences(one: Any, other: Any, place: str = "") -> Iterator[str]:
    """Where two checkpoints differ, to the bit."""
    if isinstance(one, torch.Tensor):
        same = one.dtype == other.dtype and one.numpy().tobytes() == other.numpy().tobytes()
    elif isinstance(one, dict):
        same = one.keys() == other.keys()
        for key in one.keys() & other.keys():
            yield from differences(one[key], other[key], f"{place}.{key}")
    elif isinstance(one, list):
        same = len(one) == len(other)
        for i, (a, b) in enumerate(zip(one, other, strict=False)):
            yield from differences(a, b, f"{place}[{i}]")
    else:
        same = one == other
    if not same:
        yield place


def test_every_fold_is_trained_and_every_patient_held_out_once(trained: Path) -> None:
    assert list(contents(trained / "checkpoints")) == ["r0f0.ckpt", "r0f1.ckpt", "r0f2.ckpt"]
    split = json.loads((trained / "split.json").read_text())
    held_out = [patient for fold in split["folds"] for patient in fold["held_out"]]
    assert len(held_out) == len(set(held_out)) == 16
    for path in (trained / "checkpoints").glob("*.ckpt"):
        own = load_checkpoint(path)
        for part, seen in own["fitted_on"].items():
            assert seen, part
            assert not set(seen) & set(own["member"]["held_out"]), part


def test_resuming_trains_only_what_is_missing(trained: Path, place: Any) -> None:
    before = contents(trained / "checkpoints")
    times = {p.name: p.stat().st_mtime_ns for p in (trained / "checkpoints").glob("*.ckpt")}
    old = load_checkpoint(trained / "checkpoints/r0f1.ckpt")
    (trained / "checkpoints/r0f1.ckpt").unlink()
    split = (trained / "split.json").read_bytes()
    train_run(compose(place.settings("trained")))
    after = contents(trained / "checkpoints")
    assert after.keys() == before.keys()
    for name in ("r0f0.ckpt", "r0f2.ckpt"):
        assert after[name] == before[name]
        assert (trained / "checkpoints" / name).stat().st_mtime_ns == times[name]
    assert (trained / "split.json").read_bytes() == split
    # trained alone this time, and the same model as in company, but for the order of sums
    new = load_checkpoint(trained / "checkpoints/r0f1.ckpt")
    assert new["member"] == old["member"]
    assert new["features"]["genes"] == old["features"]["genes"]
    for name, tensor in old["encoder"].items():
        torch.testing.assert_close(new["encoder"][name], tensor, rtol=1e-3, atol=1e-4, msg=name)


def test_no_word_of_the_page_is_above_the_claim(evaluated: Path) -> None:
    told = json.loads((evaluated / "report.json").read_text())
    level, question = ClaimLevel(told["claim"]["level"]), Question(**told["question"])
    assert level < ClaimLevel.BETTER
    page = (evaluated / "report.html").read_text()
    # each element by itself: a title says nothing together with the text below it
    parts = [unescape(part) for part in re.split(r"<[^>]*>", page)]
    parts += (evaluated / "model_card.md").read_text().splitlines()
    assert sum("QQFUNDER" in part for part in parts) == 1
    assert any("title of study.yaml is not shown" in part for part in parts)
    assert [part for part in parts if says_too_much(part, level, question)] == []


def test_evaluating_twice_gives_the_same(evaluated: Path) -> None:
    run = RunDirectory.open(evaluated)
    before = json.loads(run.metrics.read_text()), run.predictions.with_suffix(".csv").read_bytes()
    write_run_report(evaluate_run(run), run, STUDY)
    after = json.loads(run.metrics.read_text()), run.predictions.with_suffix(".csv").read_bytes()
    first, second = before[0].pop("ledger"), after[0].pop("ledger")
    assert after == before
    # a look more, with nothing new
    assert second == {"looks": first["looks"] + 1, "configurations": first["configurations"]}
    table = pd.read_parquet(run.predictions)
    simple = {"composition", "cluster means", "pseudobulk", "quality only", "batch only"}
    assert {"recart", *simple} == set(table["model"])
    assert (table.groupby("model")["bag"].nunique() == 16).all()
    assert np.isfinite(table["logit"]).all()


def test_heads_are_refitted_to_permuted_labels(evaluated: Path) -> None:
    found = evaluate_run(RunDirectory.open(evaluated), permutations=9)
    permutation = found.assessment.permutation
    assert permutation is not None
    assert (permutation.refusal, permutation.k) == ("", 9)
    assert permutation.observed == pytest.approx(found.assessment.model.metrics.auroc)
    # to the given labels, a head is refitted to what it is
    bags, cohort = found.cohort.bags, found.cohort
    head = build(found.config.head)
    number_of = np.arange(len(bags))
    y = bags.table["label"].to_numpy()
    for fold in refit_folds(found.members[:1], head, cohort, number_of, Refits(1, "")):
        own = found.predictions[found.predictions["member"] == found.members[0].name]
        logits = fold.refit([y[fold.development]])[0]
        given = own.set_index("bag")["logit"].reindex(bags.table.index[fold.held_out])
        np.testing.assert_allclose(logits, given, rtol=1e-6, atol=1e-9)


def test_the_report_tells_the_measured_time(evaluated: Path) -> None:
    times = json.loads((evaluated / "training_time.json").read_text())
    assert times[0]["seconds"] > 0
    # a test before this one may have had a member trained again, which is a time of its own
    members = len(list((evaluated / "checkpoints").glob("*.ckpt")))
    assert times[0]["members"] == members
    assert all(own["members"] == 1 for own in times[1:])
    assert " on the clock" in (evaluated / "report.html").read_text()


def test_a_member_that_saw_its_held_out_patients_is_refused(evaluated: Path, place: Any) -> None:
    copy = place.folder / "leaking"
    shutil.copytree(evaluated, copy, dirs_exist_ok=True)
    path = copy / "checkpoints/r0f0.ckpt"
    content = load_checkpoint(path)
    content["fitted_on"]["features"].append(content["member"]["held_out"][0])
    torch.save(content, path)
    with pytest.raises(ValueError, match="E-LEAK-001"):
        evaluate_run(RunDirectory.open(copy))


def test_no_id_and_no_path_leaves_with_a_run(evaluated: Path, place: Any) -> None:
    told = [evaluated / name for name in ("split.json", "cohort.json", "metrics.json", "train.log")]
    told += place.folder.glob("prepared/*.looks.jsonl")
    told += [*evaluated.glob("predictions.*"), *evaluated.glob("report.*")]
    told += [evaluated / "model_card.md", evaluated / "study.template.yaml"]
    told += [evaluated / "training_time.json"]
    for part in ("checkpoints", "logs", "figures"):
        told += (evaluated / part).rglob("*")
    told = [path for path in told if path.is_file()]
    assert len(told) > 12
    secrets = [secret.encode() for secret in (*place.secrets, str(place.folder), "cohort.h5mu")]
    for path in told:
        content = path.read_bytes()
        for secret in secrets:
            assert secret not in content, f"{secret!r} in {path.name}"
    # tables are compressed: what they hold is looked at, too
    table = pd.read_parquet(evaluated / "predictions.parquet").to_csv().encode()
    assert not [secret for secret in secrets if secret in table]


def test_new_patients_in_company_and_alone(
    embed: Callable[[Cohort, Path], None], new_patients: Cohort, place: Any, tmp_path: Path
) -> None:
    embed(new_patients, tmp_path / "all.h5mu")
    company = pd.read_parquet(tmp_path / "all.predictions.parquet").set_index("bag")
    features = pd.read_parquet(tmp_path / "all.patients.parquet").set_index("bag")
    assert sorted(company.index) == sorted(new_patients.patients.index)
    assert company["probability"].between(0, 1).all()
    assert (company["probability_min"] <= company["probability_max"]).all()
    assert company["flags"].str.contains("unseen-batch").all()
    cells = _cells(tmp_path / "all.h5mu")
    for patient in list(new_patients.patients.index)[:2]:
        embed(place.take(new_patients, [patient]), tmp_path / "one.h5mu")
        alone = pd.read_parquet(tmp_path / "one.predictions.parquet").set_index("bag")
        pd.testing.assert_frame_equal(alone, company.loc[[patient]], check_exact=True)
        own = pd.read_parquet(tmp_path / "one.patients.parquet").set_index("bag")
        pd.testing.assert_frame_equal(own, features.loc[[patient]], check_exact=True)
        latents = _cells(tmp_path / "one.h5mu")
        pd.testing.assert_frame_equal(latents, cells.loc[latents.index], check_exact=True)


def _cells(path: Path) -> pd.DataFrame:
    """Embedding of the cells of an exported file, read as its users read it."""
    import mudata

    with silent():
        bundle = mudata.read_h5mu(path)
    rna = bundle["rna"]
    assert (rna.obsm["X_recart"] == bundle.obsm["X_recart"]).all()
    return pd.DataFrame(rna.obsm["X_recart"], index=rna.obs_names)


def test_what_is_exported_opens_in_scverse_tools(
    embed: Callable[[Cohort, Path], None], new_patients: Cohort, tmp_path: Path
) -> None:
    import mudata
    import scanpy

    embed(new_patients, tmp_path / "new.h5mu")
    with silent():
        bundle = mudata.read_h5mu(tmp_path / "new.h5mu")
        rna = bundle["rna"]
        assert list(rna.obs_names) == list(new_patients.cells.index)
        assert (new_patients.rna != rna.X).nnz == 0
        np.testing.assert_array_equal(bundle["prot"].X, new_patients.protein)
        assert rna.obs["recart_probability"].notna().all()
        _expansion_is_that_of_clones(rna.obs, new_patients)
        scanpy.pp.neighbors(rna, use_rep="X_recart", n_neighbors=5)
    assert rna.obsp["connectivities"].shape == (rna.n_obs, rna.n_obs)
    embed(new_patients, tmp_path / "new.h5ad")
    with silent():
        adata = scanpy.read_h5ad(tmp_path / "new.h5ad")
    np.testing.assert_array_equal(adata.obsm["X_recart"], rna.obsm["X_recart"])
    assert list(adata.obsm["protein"].columns) == new_patients.proteins


def _expansion_is_that_of_clones(obs: pd.DataFrame, cohort: Cohort) -> None:
    chains = cohort.chains
    assert chains is not None
    beta = chains[chains["locus"] == "TRB"].sort_values("umis").groupby("cell")["junction_aa"]
    beta = beta.last().reindex(obs.index)
    alike = beta.groupby([obs["patient"].astype(str), beta]).transform("size")
    expansion, size = obs["recart_expansion"].astype(str), obs["recart_clone_size"]
    assert (size.isna() == (expansion == "outside")).all()
    assert ((size > 1) == expansion.isin(["2-5", "6-20", "21-100", ">100"])).all()
    assert ((size == 0) == (expansion == "none")).all()
    assert set(expansion) >= {"none", "1", "2-5", "outside"}
    # after the decision
    assert ((expansion == "outside") == obs["sample"].astype(str).str.contains("_post")).all()
    before = expansion != "outside"
    assert (expansion[before & ~obs.index.isin(chains["cell"])] == "none").all()
    # a clone is no larger than the cells of the patient that share a beta chain
    assert (alike[expansion == "2-5"] > 1).all()
    assert (expansion[before & (alike == 1)] == "1").all()


def test_outputs_that_are_asked_for_stand_in_the_file(
    trained: Path, new_patients: Cohort, place: Any, tmp_path: Path
) -> None:
    import scanpy

    path = place.write(new_patients, "outputs_input.h5mu")
    settings = [f"run={trained}", f"data.path={path}", "data.limits.min_cells=5"]
    outputs = "outputs=[latents,denoised_rna,denoised_protein,protein_foreground_prob]"
    embed_run(compose([*settings, outputs, f"output={tmp_path / 'new.h5ad'}"], "embed"))
    with silent():
        adata = scanpy.read_h5ad(tmp_path / "new.h5ad")
    assert adata.layers["denoised_rna"].shape == adata.shape
    total = np.asarray(adata.layers["denoised_rna"].sum(axis=1)).ravel()
    np.testing.assert_allclose(total, 1e4, rtol=1e-3)  # counts per 10,000
    assert adata.obsm["protein_foreground_prob"].to_numpy().max() <= 1
    assert list(adata.obsm["denoised_protein"].index) == list(new_patients.cells.index)
    with pytest.raises(InputError, match="E-OUT-009"):
        embed_run(compose([*settings, "outputs=[denoised]", "output=x.h5ad"], "embed"))


def test_patients_of_the_run_get_no_prediction_as_if_new(
    trained: Path, place: Any, tmp_path: Path
) -> None:
    settings = [f"run={trained}", f"data.path={place.cohort}", "data.limits.min_cells=5"]
    embed_run(compose([*settings, f"output={tmp_path / 'same.h5ad'}"], "embed"))
    table = pd.read_csv(tmp_path / "same.predictions.csv")
    assert len(table) == 16
    assert table["probability"].isna().all()
    assert table["flags"].str.contains("in-training").all()


def test_a_split_from_a_file_is_kept_and_held_out_patients_do_not_interfere(place: Any) -> None:
    cohort = place.simulate(16, seed=3)
    train_run(compose(place.settings("first", "data.folds.k=2")))
    split = place.folder / "first/split.json"
    # the pseudonyms' file of the project says who is held out in fold 0
    content = json.loads(split.read_text())
    names = pd.concat(
        [pd.read_csv(path) for path in (place.folder / "prepared").glob("*.ids.csv")]
    ).drop_duplicates()
    real = names.set_index("pseudonym")["id"]
    held_out = [real[name] for name in content["folds"][0]["held_out"]]
    rng = np.random.default_rng(0)
    cells = cohort.samples.loc[cohort.cells["sample"], "patient"].isin(held_out).to_numpy()
    rna = cohort.rna.copy().tocsr()
    for row in np.flatnonzero(cells):
        own = slice(rna.indptr[row], rna.indptr[row + 1])
        rna.data[own] = rng.integers(1, 50, own.stop - own.start)
    cohort.rna = rna
    cohort.protein[cells] = rng.integers(0, 500, cohort.protein[cells].shape)
    flip = {"CR": "nonCR", "nonCR": "CR"}
    cohort.patients.loc[held_out, "response"] = cohort.patients.loc[held_out, "response"].map(flip)
    poisoned = place.write(cohort, "poisoned.h5mu")
    settings = place.settings(
        "second", "data/folds=fixed", f"data.folds.path={split}", data=poisoned
    )
    its_own = ("data.folds.k", "data.folds.repeats")  # stand in the file
    train_run(compose([s for s in settings if not s.startswith(its_own)]))
    first, second = (place.folder / run / "checkpoints" for run in ("first", "second"))
    clean, other = (load_checkpoint(path / "r0f0.ckpt") for path in (first, second))
    assert list(differences(clean, other)) == []
    # the other fold was trained on the poisoned patients, and shows it
    clean, other = (load_checkpoint(path / "r0f1.ckpt") for path in (first, second))
    assert len(list(differences(clean["encoder"], other["encoder"]))) > 10


def run_python(arguments: list[str], folder: Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, *arguments],
        cwd=folder,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
        timeout=900,
        check=False,
    )


@pytest.mark.slow
def test_a_multirun_from_another_folder(place: Any, new_patients: Cohort, tmp_path: Path) -> None:
    scripts = config_folder().parent
    settings = [s for s in place.settings("unused") if not s.startswith(("paths.", "model.latent"))]
    done = run_python(
        [str(scripts / "train.py"), "-m", "model.latent=2,3", *settings, "paths.sweep=grid"],
        tmp_path,
    )
    assert done.returncode == 0, done.stderr[-2000:]
    assert (tmp_path / ".recart/pseudonym.key").is_file()
    for number, latent in ((0, 2), (1, 3)):
        run = RunDirectory.open(tmp_path / "grid" / str(number))
        assert run.config.model.latent == latent
        assert len(list(run.checkpoints.glob("*.ckpt"))) == 3
    done = run_python([str(scripts / "evaluate.py"), "run=grid/1"], tmp_path)
    assert done.returncode == 0, done.stderr[-2000:]
    assert (tmp_path / "grid/1/report.html").stat().st_size > 100_000
    new = place.write(new_patients, "refused.h5mu")
    settings = [f"data.path={new}", "data.limits.min_cells=5", "output=out.h5ad"]
    done = run_python([str(scripts / "embed.py"), "run=grid/1", *settings], tmp_path)
    # a refusal is an answer and no failure: a model of 16 patients refuses everybody
    assert done.returncode == 0, done.stderr[-2000:]
    table = pd.read_csv(tmp_path / "out.predictions.csv")
    assert table["refused"].all()
    assert not table["in_training"].any()
    assert table["reasons"].str.contains("R-SMALL").all()
    assert table["probability"].isna().all()
    assert "4 of 4 patients get no prediction" in done.stderr
