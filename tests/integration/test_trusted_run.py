"""An evaluated run refuses with reasons: what `embed.py` writes and says of new patients."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from recart.config.compose import compose
from recart.data.cohort import Cohort
from recart.evaluation.launch import evaluate_run
from recart.inference.launch import embed_run
from recart.inference.trust.fit import fit_trust, read_trust, trust_path, write_trust
from recart.inference.trust.trust import COLUMNS
from recart.training.run_directory import RunDirectory


@pytest.fixture
def predict(trusted: Path, place: Any, tmp_path: Path) -> Callable[..., pd.DataFrame]:
    """`predict(cohort, *overrides)`: the table that embed.py writes of a cohort."""

    def run(cohort: Cohort, *overrides: str) -> pd.DataFrame:
        path = place.write(cohort, f"{tmp_path.name}.h5mu")
        settings = [f"run={trusted}", f"data.path={path}", "data.limits.min_cells=5"]
        embed_run(compose([*settings, f"output={tmp_path / 'new.h5ad'}", *overrides], "embed"))
        return pd.read_parquet(tmp_path / "new.predictions.parquet").set_index("bag")

    return run


def test_whom_it_refuses_gets_reasons_an_embedding_and_no_prediction(
    predict: Callable[..., pd.DataFrame],
    new_patients: Cohort,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    import anndata

    table = predict(new_patients)
    assert set(COLUMNS) <= set(table.columns)
    assert table["refused"].all()
    # 16 patients were trained on
    assert table["reasons"].str.contains("R-SMALL").all()
    assert table.filter(regex="^(probability|logit)").isna().all(axis=None)
    assert (table[["set_80", "set_90"]] == "").all(axis=None)
    assert "4 of 4 patients get no prediction" in capsys.readouterr().err
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        adata = anndata.read_h5ad(tmp_path / "new.h5ad")
    assert np.isfinite(adata.obsm["X_recart"]).all()
    flagged = adata.obs["recart_ood"].to_numpy(dtype=bool)
    np.testing.assert_array_equal(flagged, adata.obs["recart_ood_score"].to_numpy() > 1)
    embedding = pd.read_parquet(tmp_path / "new.patients.parquet").set_index("bag")
    assert np.isfinite(embedding.filter(like="fractions").to_numpy()).all()


def test_a_rule_is_moved_on_the_command_line(
    predict: Callable[..., pd.DataFrame], new_patients: Cohort, lenient: list[str]
) -> None:
    table = predict(new_patients, *lenient)
    kept = table[~table["refused"]]
    assert len(kept)
    assert kept["probability"].between(0, 1).all()
    # eight patients of a class are too few for 90 %
    assert kept["set_90"].eq("{R, NR}: cannot say").all()
    assert kept["set_80"].str.startswith("{").all()
    refused = table[table["refused"]]
    assert refused["probability"].isna().all()


def test_a_training_patient_under_another_name_is_recognised(
    predict: Callable[..., pd.DataFrame], place: Any, lenient: list[str]
) -> None:
    cohort = place.simulate(16, seed=3)
    names = {name: f"CLINIC{i}" for i, name in enumerate(cohort.patients.index)}
    renamed = replace(
        cohort,
        patients=cohort.patients.rename(index=names),
        samples=cohort.samples.assign(patient=cohort.samples["patient"].map(names)),
    )
    table = predict(place.take(renamed, ["CLINIC2", "CLINIC5"]), *lenient)
    assert table["in_training"].all()
    assert table["reasons"].str.contains("R-TRAINING").all()
    assert table["probability"].isna().all()
    assert table["flags"].str.contains("in-training").all()


@pytest.mark.slow
def test_the_file_names_nobody_and_is_fitted_the_same_twice(trusted: Path, place: Any) -> None:
    run = RunDirectory.open(trusted)
    before = trust_path(run).read_bytes()
    assert not [secret for secret in place.secrets if secret.encode() in before]
    pseudonyms = set(pd.read_json(trusted / "split.json", typ="series")["folds"][0]["held_out"])
    assert not [name for name in pseudonyms if name.encode() in before]
    trust = read_trust(run)
    assert trust is not None
    write_trust(fit_trust(evaluate_run(run), trust.policy), run)
    assert trust_path(run).read_bytes() == before


def test_a_run_that_was_not_evaluated_says_what_is_missing(
    embed: Callable[[Cohort, Path], None],
    trained: Path,
    new_patients: Cohort,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    if trust_path(RunDirectory.open(trained)).exists():
        pytest.fail("another test has written into the shared run")
    embed(new_patients, tmp_path / "new.h5ad")
    assert "trust.ckpt is missing" in capsys.readouterr().err
