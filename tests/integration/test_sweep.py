"""A sweep sees no held-out patient, ends in ordinary runs, and goes on as if it had not stopped."""

from __future__ import annotations

import json
import shutil
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from omegaconf import DictConfig

from recart.config.compose import compose
from recart.data.cohort import Cohort
from recart.data.split import Split, members
from recart.evaluation.audit.artefacts import artefacts, differing
from recart.evaluation.audit.retraining import Retraining
from recart.evaluation.launch import evaluate_run
from recart.problems import InputError
from recart.sweep.launch import run_sweep
from recart.sweep.outer_scores import check_not_seen
from recart.sweep.page import refresh_page, write_page
from recart.sweep.trial_job import TrialJob
from recart.training.checkpoints import load_checkpoint
from recart.training.cohort_setup import prepare_cohort
from recart.training.launch import load_members, train_run
from recart.training.readouts import build_head
from recart.training.run_directory import RunDirectory

from .conftest import Place, simulate, write_h5mu

TABLES = ("trials.csv", "choice.csv", "sweep.json")
SPACE = [
    "sweep=default",
    "executor=in_process",
    "~sweep.space.head.fine_prototypes",
    "head.fine_prototypes=0",
    "sweep.space.model.latent.options=[3,4]",
    "sweep.space.head.prototypes.low=5",
    "sweep.space.head.prototypes.high=12",
    "sweep.budget=4",
]


def sweeping(place: Place, name: str, *more: str, data: Path | None = None) -> DictConfig:
    return compose(place.settings(name, *SPACE, "data.folds.k=2", *more, data=data))


@pytest.fixture(scope="module")
def swept(place: Place) -> Path:
    run_sweep(sweeping(place, "swept"))
    return place.folder / "swept"


def same(first: object, second: object) -> bool:
    if isinstance(first, dict) and isinstance(second, dict):
        return first.keys() == second.keys() and all(same(first[k], second[k]) for k in first)
    if isinstance(first, list) and isinstance(second, list):
        pairs = zip(first, second, strict=False)
        return len(first) == len(second) and all(same(*pair) for pair in pairs)
    if hasattr(first, "numpy") and hasattr(second, "numpy"):
        return bool(np.array_equal(first.numpy(), second.numpy(), equal_nan=True))
    return first == second or (first != first and second != second)


def test_trial_0_is_what_training_without_a_sweep_gives(place: Place, swept: Path) -> None:
    train_run(
        compose(
            place.settings(
                "alone", "executor=in_process", "head.fine_prototypes=0", "data.folds.k=2"
            )
        )
    )
    for name in ("r0f0", "r0f1"):
        own = load_checkpoint(swept / "default/checkpoints" / f"{name}.ckpt")
        alone = load_checkpoint(place.folder / "alone/checkpoints" / f"{name}.ckpt")
        assert same(own, alone)


@pytest.mark.slow
def test_the_chosen_run_is_what_training_at_the_choice_gives(place: Place, swept: Path) -> None:
    choice = pd.read_csv(swept / "choice.csv").set_index("fold").loc["r0f0"]
    trials = pd.read_csv(swept / "trials.csv")
    least = trials[trials["fold"] == "r0f0"]["inner_loss"].min()
    assert choice["inner_loss"] == least
    keys = [key for key in choice.index if "." in key]
    values = [f"{key}={choice[key]}" for key in keys]
    train_run(
        compose(
            place.settings(
                *("again", "executor=in_process", "head.fine_prototypes=0", "data.folds.k=2"),
                *values,
            )
        )
    )
    own = load_checkpoint(swept / "chosen/checkpoints/r0f0.ckpt")
    assert same(own, load_checkpoint(place.folder / "again/checkpoints/r0f0.ckpt"))


@pytest.mark.slow
def test_the_audit_trains_each_fold_again_by_its_own_choice(place: Place, swept: Path) -> None:
    copy = place.folder / "unlike"
    shutil.copytree(swept / "chosen", copy)
    run = RunDirectory.open(copy)
    # as if one fold had chosen another encoder and head, and one those of the run: a sweep keeps a
    # file of each encoder
    values = json.loads((copy / "configurations.json").read_text())
    files = {}
    for fold, latent in (("r0f0", 3), ("r0f1", 4)):
        trials = pd.read_csv(swept / "trials.csv").set_index(["fold", "trial"]).loc[fold]
        kept = {int(path.stem): path for path in (swept / "members" / fold).glob("*.ckpt")}
        other = next(own for own in sorted(kept) if trials.loc[own, "model.latent"] == latent)
        values[fold] = {name: trials.loc[other, name].item() for name in trials if "." in name}
        files[fold] = kept[other]
    run.write_json("configurations.json", values)
    cohort = prepare_cohort(run.config.data, place.folder / "prepared", lambda _: None)
    retraining = Retraining.of(run, epochs=99)
    assert retraining.made_by("r0f0").head != build_head(run.config)
    folds = members(Split.read(run.split, list(cohort.store.patients.index)))
    assert [own.name for own in retraining.unlike(folds)] == ["r0f0", "r0f1"]
    for member in folds:
        again = artefacts(retraining(cohort, member).content)
        assert not differing(artefacts(load_checkpoint(files[member.name])), again)


def test_its_runs_are_evaluated_as_any_other_and_the_page_says_so(swept: Path) -> None:
    page = (swept / "sweep.html").read_text()
    assert "Not evaluated yet" in page
    run = RunDirectory.open(swept / "chosen")
    loaded = load_members(run)
    values = json.loads((swept / "chosen/configurations.json").read_text())
    for member in loaded:
        latent = values[member.name].get("model.latent", 4)
        assert member.stack.recipe.latent == latent
    found = evaluate_run(run, permutations=3, permutation_repeats=1)
    assert len(found.predictions) == 16
    metrics = {"metrics": {"auroc": 0.625, "brier": 0.2, "balanced_accuracy": 0.5}}
    run.write_json("metrics.json", {"model": metrics, "baselines": [{"name": "rival", **metrics}]})
    try:
        said: list[str] = []
        refresh_page(run.path, said.append)
        assert said == [f"sweep: {swept.resolve() / 'sweep.html'}"]
        page = (swept / "sweep.html").read_text()
        assert "Not evaluated yet" not in page
        assert "rival" in page
        # whoever has seen the outer score does not search on
        with pytest.raises(InputError, match="keep sweep"):
            check_not_seen(swept, budget=5)
        check_not_seen(swept, budget=4)
    finally:
        run.metrics.unlink()
        refresh_page(run.path, said.append)
    refresh_page(swept, said.append)  # which is no run of a sweep
    assert len(said) == 2


def test_the_page_of_too_few_trials_leaves_out_what_they_do_not_show(
    swept: Path, tmp_path: Path
) -> None:
    for name in ("config.yaml", "sweep.json"):
        shutil.copy(swept / name, tmp_path / name)
    shutil.copytree(swept / "scores", tmp_path / "scores")
    summary = json.loads((tmp_path / "sweep.json").read_text())
    for fold in summary["folds"].values():
        fold |= {"values": fold["values"][:1], "chosen": 0}
    (tmp_path / "sweep.json").write_text(json.dumps(summary))
    page = write_page(tmp_path).read_text()
    assert "Search and luck" in page
    assert "Which keys matter" not in page


def test_no_id_stands_in_anything_that_is_written(place: Place, swept: Path) -> None:
    for path in swept.rglob("*"):
        if path.is_file() and path.name not in ("study.db",):
            content = path.read_bytes()
            assert not any(secret.encode() in content for secret in place.secrets), path.name


def poisoned(cohort: Cohort, patients: Sequence[str]) -> Cohort:
    """The labels of these patients flipped, and their cells' counts dealt among their genes."""
    table = cohort.patients
    own = table.index.isin(patients)
    table.loc[own, "response"] = table.loc[own, "response"].map({"CR": "nonCR", "nonCR": "CR"})
    samples = cohort.samples.index[cohort.samples["patient"].isin(patients)]
    rows = np.flatnonzero(cohort.cells["sample"].isin(samples).to_numpy())
    rng = np.random.default_rng(0)
    rna = cohort.rna.tolil()
    dense = cohort.rna[rows].toarray()
    rna[rows] = rng.permuted(dense, axis=1)
    protein = cohort.protein.copy()
    protein[rows] = rng.integers(0, 300, protein[rows].shape)
    return Cohort(
        rna=rna.tocsr(),
        genes=cohort.genes,
        cells=cohort.cells,
        samples=cohort.samples,
        patients=table,
        protein=protein,
        proteins=cohort.proteins,
        chains=cohort.chains,
    )


def test_held_out_patients_change_no_score_and_no_choice(place: Place, swept: Path) -> None:
    split = json.loads((swept / "split.json").read_text())
    held_out = set(split["folds"][0]["held_out"])
    # other tests may have prepared other cohorts in the same folder
    tables = [pd.read_csv(own, dtype=str) for own in (place.folder / "prepared").glob("*.ids.csv")]
    ids, pseudonyms = next(
        (own, own[name]) for own in tables for name in own if held_out <= set(own[name])
    )
    names = next(ids[own] for own in ids if ids[own].str.startswith("QQPERSON").any())
    patients = [name for name, own in zip(names, pseudonyms, strict=True) if own in held_out]
    assert len(patients) == len(held_out)
    file = write_h5mu(poisoned(simulate(16, seed=3), patients), place.folder / "poisoned.h5mu")
    folds = ["data/folds=fixed", f"data.folds.path={swept / 'split.json'}"]
    settings = [own for own in place.settings("poisoned", data=file) if "data.folds" not in own]
    run_sweep(compose([*settings, *SPACE, *folds]))
    for number in range(4):
        name = f"scores/r0f0/{number:05d}.json"
        assert (place.folder / "poisoned" / name).read_bytes() == (swept / name).read_bytes()
        # the patients that were changed train the other fold
        other = f"scores/r0f1/{number:05d}.json"
        assert (place.folder / "poisoned" / other).read_bytes() != (swept / other).read_bytes()
    first, second = (
        pd.read_csv(folder / "choice.csv", dtype=str).set_index("fold").loc["r0f0"]
        for folder in (swept, place.folder / "poisoned")
    )
    assert first.equals(second)


class _Stopped(BaseException):
    """As a kill: no `except Exception` sees it."""


@pytest.mark.parametrize(
    "after", [pytest.param(1, marks=pytest.mark.slow), 2, pytest.param(3, marks=pytest.mark.slow)]
)
def test_a_sweep_that_was_broken_off_ends_as_the_unbroken_one(
    place: Place, swept: Path, monkeypatch: pytest.MonkeyPatch, after: int
) -> None:
    done: list[int] = []
    work = TrialJob.__call__

    def count(self: TrialJob, report: object) -> None:
        if len(done) == after:
            raise _Stopped
        work(self, report)  # type: ignore[arg-type]
        done.extend([1])

    config = sweeping(place, f"broken{after}")
    with monkeypatch.context() as patch:
        patch.setattr(TrialJob, "__call__", count)
        with pytest.raises(_Stopped):
            run_sweep(config)
    there = sorted((place.folder / f"broken{after}/scores").rglob("*.json"))
    before = {path: path.stat().st_mtime_ns for path in there}
    assert 0 < len(there) < 8
    run_sweep(config)
    assert all(path.stat().st_mtime_ns == time for path, time in before.items())  # none done twice
    for name in TABLES:
        assert (place.folder / f"broken{after}" / name).read_bytes() == (swept / name).read_bytes()


@pytest.mark.slow
def test_a_choice_whose_file_is_gone_is_fitted_again(place: Place, swept: Path) -> None:
    copy = place.folder / "gone"
    shutil.copytree(swept, copy)
    shutil.rmtree(copy / "members")
    shutil.rmtree(copy / "chosen")
    (copy / "study.db").unlink()
    run_sweep(sweeping(place, "gone"))
    for name in ("r0f0", "r0f1"):
        path = f"chosen/checkpoints/{name}.ckpt"
        assert same(load_checkpoint(copy / path), load_checkpoint(swept / path))


@pytest.mark.slow
def test_stacked_trials_are_what_they_are_alone(place: Place) -> None:
    rates = "+sweep.space.training={lr:{_target_:recart.sweep.space.Float,low:0.002,high:0.02}}"
    drop = "+sweep.space.model.dropout={_target_:recart.sweep.space.Float,low:0.0,high:0.3}"
    kl = "+sweep.space.model.weights.kl={_target_:recart.sweep.space.Float,low:0.5,high:2.0}"
    tables = []
    for name, size in (("each", "1"), ("stack", "null")):
        run_sweep(
            sweeping(
                place,
                name,
                *(rates, drop, kl, "sweep.space.model.latent=null", "sweep.budget=3"),
                f"members_per_job={size}",
            )
        )
        tables.append(pd.read_csv(place.folder / name / "trials.csv"))
    alone, stacked = tables
    assert alone["training.lr"].nunique() == alone["model.weights.kl"].nunique() == 3
    for column in ("inner_loss", "encoder_loss"):
        assert np.allclose(alone[column], stacked[column], rtol=1e-3)


def test_another_space_does_not_go_on_in_the_same_folder(place: Place, swept: Path) -> None:
    with pytest.raises(InputError, match="another configuration"):
        run_sweep(sweeping(place, swept.name, "sweep.space.head.prototypes.high=14"))


@pytest.mark.slow
def test_trials_that_are_worse_on_their_way_are_given_up(place: Place) -> None:
    config = sweeping(
        place,
        "pruned",
        *("sweep/sampler=tpe", "sweep.sampler.batch=2", "sweep.sampler.startup=2"),
        *("sweep/pruner=median", "sweep.pruner.rungs=[1]", "sweep.pruner.at_least=2"),
        # none is good enough
        "sweep.pruner.percentile=0.0",
        "sweep.space.model.latent=null",
        "+sweep.space.training={lr:{_target_:recart.sweep.space.Float,low:0.002,high:0.02}}",
        "sweep.budget=6",
    )
    run_sweep(config)
    trials = pd.read_csv(place.folder / "pruned/trials.csv")
    assert (trials["state"] == "pruned").any()
    assert set(trials[trials["chosen"]]["state"]) == {"complete"}
    assert len(trials) == 12
    one = trials[trials["state"] == "pruned"].iloc[0]
    score = place.folder / "pruned/scores" / one["fold"] / f"{one['trial']:05d}.json"
    assert set(json.loads(score.read_text())["curve"]) == {"1"}
