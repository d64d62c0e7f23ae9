"""A finished model on labelled patients of elsewhere: it predicts as ever, and stays as it is."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from scipy import sparse
from sklearn.metrics import average_precision_score, brier_score_loss, roc_auc_score

from recart.config.compose import compose
from recart.data.cohort import Cohort
from recart.inference.bundle.manifest import check_manifest
from recart.inference.launch import embed_run
from recart.problems import InputError
from recart.report.outside_page import report_outside
from recart.training.run_directory import RunDirectory

pytestmark = [pytest.mark.slow]


def joined(one: Cohort, other: Cohort) -> Cohort:
    """Both, of the same panel; ids of the second are told apart."""
    assert one.protein is not None
    assert other.protein is not None
    assert list(one.genes.index) == list(other.genes.index)
    again = "{}-again".format
    cells, samples = other.cells.rename(index=again), other.samples.rename(index=again)
    chains = None
    if one.chains is not None and other.chains is not None:
        further = other.chains.assign(cell=other.chains["cell"].map(again))
        chains = pd.concat([one.chains, further], ignore_index=True)
    return replace(
        one,
        rna=sparse.vstack([one.rna, other.rna]).tocsr(),
        cells=pd.concat([one.cells, cells.assign(sample=cells["sample"] + "-again")]),
        samples=pd.concat([one.samples, samples.assign(patient=samples["patient"] + "-again")]),
        patients=pd.concat([one.patients, other.patients.rename(index=again)]),
        protein=np.concatenate([one.protein, other.protein]),
        chains=chains,
    )


@pytest.fixture(scope="module")
def elsewhere(place: Any) -> Cohort:
    """18 new patients, one of them not evaluable, and the first of the training cohort."""
    new = place.simulate(18, 11)
    known = place.simulate(16, 3)
    cohort = joined(new, place.take(known, [known.patients.index[0]]))
    response = cohort.patients["response"].astype(object)
    response.iloc[4] = "NE"
    for row in (6, 7, 8, 9):  # else the scores would separate them
        response.iloc[row] = {"CR": "nonCR", "nonCR": "CR"}[response.iloc[row]]
    return replace(cohort, patients=cohort.patients.assign(response=response))


@pytest.fixture(scope="module")
def file(place: Any, elsewhere: Cohort) -> Path:
    path: Path = place.write(elsewhere, "elsewhere.h5mu")
    return path


def asked(run: Path, file: Path, output: Path, *more: str) -> list[str]:
    named = ["data.endpoint=response", "data.exclude=[NE]", "data.limits.min_cells=5"]
    return [f"run={run}", f"data.path={file}", f"output={output}", *named, *more]


def evaluate(*settings: Any) -> tuple[Path, dict[str, Any], pd.DataFrame]:
    page = report_outside(compose(asked(*settings), entry="evaluate"))
    table = pd.read_csv(page.with_name("predictions.csv")).set_index("bag")
    return page, json.loads(page.with_name("evaluation.json").read_text()), table


def test_measures_are_those_of_what_embed_predicts(
    bundle: Path,
    file: Path,
    elsewhere: Cohort,
    place: Any,
    tmp_path: Path,
    look_at_page: Callable[[Path, int, int], list[str]],
    capsys: pytest.CaptureFixture[str],
) -> None:
    before = {path: path.read_bytes() for path in bundle.rglob("*") if path.is_file()}
    page, told, table = evaluate(bundle, file, tmp_path / "out")
    said = " ".join(capsys.readouterr().err.split())
    settings = [f"bundle={bundle}", f"data.path={file}", f"output={tmp_path / 'e.h5mu'}"]
    embedded = embed_run(compose([*settings, "data.limits.min_cells=5"], entry="embed")).patients
    own = table.drop(columns=["label", "standing"])
    pd.testing.assert_frame_equal(
        own, pd.read_csv(tmp_path / "e.predictions.csv").set_index("bag"), check_exact=True
    )

    # who counts: the patient of training is known under another name, the other by its outcome
    response = elsewhere.patients["response"].reindex(table.index)
    known, unknown = table.index.str.endswith("-again"), (response == "NE").to_numpy()
    assert table["standing"][known].tolist() == ["in training"]
    assert table["standing"][unknown].tolist() == ["no outcome"]
    assert set(table["standing"][~known & ~unknown]) == {"evaluated"}
    assert told["counts"]["in_training"] == told["counts"]["no_outcome"] == 1
    rows = embedded.loc[table.index[~known & ~unknown]]
    y = (response.loc[rows.index] == "CR").to_numpy()
    assert 2 < y.sum() < 15
    assert 0.1 < told["model"]["metrics"]["auroc"] < 0.95
    assert "19 patients: 17 evaluated, 0 refused, 1 had been in training, 1 without" in said

    model = told["model"]["metrics"]
    assert model["auroc"] == pytest.approx(roc_auc_score(y, rows["logit_mean"]), abs=1e-6)
    assert model["auprc"] == pytest.approx(average_precision_score(y, rows["logit_mean"]), abs=1e-6)
    assert model["brier"] == pytest.approx(brier_score_loss(y, rows["probability"]), abs=1e-6)
    called = (rows["probability"] > told["threshold"]).to_numpy()
    assert model["sensitivity"] == pytest.approx(called[y].mean())
    assert model["specificity"] == pytest.approx((~called)[~y].mean())
    assert told["model"]["auroc_interval"]["method"] == "logit DeLong, SE x 1"
    assert told["claim"]["level"] <= 2  # no baseline came along
    truth = np.where(y, "R", "NR")
    for sets in told["sets"]:
        inside = rows[f"set_{100 * sets['level']:.0f}"].str.extract(r"\{(.*)\}")[0].str.split(", ")
        held = [own in words for own, words in zip(truth, inside, strict=True)]
        assert sets["covered"] == pytest.approx(np.mean(held))
        assert sets["bags"] == 17
    assert [sets["level"] for sets in told["sets"]] == [0.8, 0.9]

    # places and products are told, batches are names of the laboratory's own
    assert {own["column"] for own in told["subgroups"]} == {"site", "product"}
    of_site = [own for own in told["subgroups"] if own["column"] == "site"]
    assert sum(own["positive"] + own["negative"] for own in of_site) == 17

    # nobody is named, and the model is as it was
    for name in ("evaluation.html", "evaluation.json"):
        text = (tmp_path / "out" / name).read_text()
        assert not [secret for secret in place.secrets if secret in text]
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == [
        *("evaluation.html", "evaluation.json", "predictions.csv"),
    ]
    check_manifest(bundle)
    assert before == {path: path.read_bytes() for path in bundle.rglob("*") if path.is_file()}
    assert look_at_page(page, 1280, 4) == []
    assert look_at_page(page, 400, 4) == []


def test_where_all_are_refused_it_cannot_tell(
    trusted: Path, file: Path, elsewhere: Cohort, tmp_path: Path
) -> None:
    """A run of sixteen patients predicts for nobody."""
    page, told, table = evaluate(trusted, file, tmp_path / "out")
    assert set(table["standing"]) == {"refused", "no outcome", "in training"}
    assert told["model"] is None
    assert told["claim"]["headline"].startswith("This cohort cannot tell")
    counted = elsewhere.patients["response"].iloc[:-1].value_counts()
    both = {"positive": counted["CR"], "negative": counted["nonCR"]}
    assert told["counts"]["refused"] == both
    small = next(row for row in told["refusals"] if row["code"] == "R-SMALL")
    assert {name: small[name] for name in both} == both
    assert f"{both['positive']} of {both['positive']}</td>" in page.read_text()


def test_what_is_lacking_is_told_at_once_and_nothing_is_written(
    bundle: Path, file: Path, tmp_path: Path
) -> None:
    def told(*more: str, drop: Sequence[str] = (), output: Path = tmp_path / "out") -> str:
        settings = [
            own
            for own in asked(bundle, file, output, *more)
            if own.split("=")[0] not in {*drop, *(new.split("=")[0] for new in more)}
        ]
        with pytest.raises(InputError) as caught:
            report_outside(compose([*settings, *more], entry="evaluate"))
        return str(caught.value)

    lacking = told("data.endpoint=respons")
    assert re.search(
        r"E-LAB-001 file=\S*elsewhere.h5mu column=respons .*nearest: response", lacking
    )
    unnamed = told("data.exclude=[]")
    assert re.search(r"E-LAB-005 .*column=response count=\d+ .*'NE' \(\d\).*data.exclude", unnamed)
    assert "E-LAB-003" in told("data.positive=[CR,nonCR]", "data.negative=[none]")
    assert "E-CONFIG-006 column=output" in told(drop=["output"])
    assert "data.path has no value" in told(drop=["data.path"])
    assert "write run=released" in told("bundle=released")
    assert "E-OUT-013" in told(output=tmp_path)
    assert "mkdir -p" in told(output=tmp_path / "none" / "out")
    assert list(tmp_path.iterdir()) == []
    with pytest.raises(InputError, match=r"it is a bundle: .*data\.path="):
        RunDirectory.open(bundle)
