"""New patients of another laboratory: other names, other order, another batch, another depth."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import mudata
import numpy as np
import pandas as pd
import pytest

from recart.data.cohort import Cohort
from recart.data.names.gene_map import gene_id

pytestmark = [pytest.mark.slow, pytest.mark.filterwarnings("ignore")]

Embed = Callable[[Cohort, Path], None]


def _table(output: Path, name: str = "predictions") -> pd.DataFrame:
    return pd.read_parquet(output.with_name(f"{output.stem}.{name}.parquet"))


def _same(one: Path, other: Path) -> None:
    own, expected = mudata.read_h5mu(other), mudata.read_h5mu(one)
    np.testing.assert_array_equal(own.obsm["X_recart"], expected.obsm["X_recart"])
    for name in ("predictions", "patients"):
        pd.testing.assert_frame_equal(_table(one, name), _table(other, name))


@pytest.fixture(scope="module")
def plain(
    new_patients: Cohort, tmp_path_factory: pytest.TempPathFactory
) -> Callable[[Embed], Path]:
    """The new patients under their own names; written once."""
    output = tmp_path_factory.mktemp("plain") / "new.h5mu"

    def write(embed: Embed) -> Path:
        if not output.exists():
            embed(new_patients, output)
        return output

    return write


def test_names_of_another_annotation_change_no_bit(
    embed: Embed, plain: Callable[[Embed], Path], new_patients: Cohort, tmp_path: Path
) -> None:
    names = [str(name) for name in new_patients.genes.index]
    ids = [f"{found}.7" if (found := gene_id(name)) else f"GRCh38_{name}" for name in names]
    assert sum(name.startswith("ENSG") for name in ids) > 100
    assert "GRCh38_CAR-BCMA" in ids  # the transgene as a reference of several genomes has it
    renamed = replace(
        new_patients,
        genes=new_patients.genes.set_axis(pd.Index(ids, dtype=object), axis=0),
        proteins=[f"{name}_TotalSeqC" for name in new_patients.proteins],
    )
    output = tmp_path / "renamed.h5mu"
    embed(renamed, output)
    _same(plain(embed), output)
    matched = pd.read_csv(tmp_path / "renamed.features.csv", keep_default_na=False)
    found = matched[matched["given"] != ""]
    assert set(found["how"]) == {"Ensembl id", "gene map", "name without tag"}
    assert len(found) == len(matched)  # nothing that the members know is missing
    var = mudata.read_h5mu(output)["rna"].var
    assert var.loc["CD3E", "given_name"].startswith("ENSG")


def test_order_of_features_changes_no_bit(
    embed: Embed, plain: Callable[[Embed], Path], new_patients: Cohort, tmp_path: Path
) -> None:
    rng = np.random.default_rng(0)
    assert new_patients.protein is not None
    order = rng.permutation(new_patients.rna.shape[1])
    panel = rng.permutation(len(new_patients.proteins))
    shuffled = replace(
        new_patients,
        rna=new_patients.rna[:, order],
        genes=new_patients.genes.iloc[order],
        protein=new_patients.protein[:, panel],
        proteins=[new_patients.proteins[a] for a in panel],
    )
    output = tmp_path / "shuffled.h5mu"
    embed(shuffled, output)
    _same(plain(embed), output)


def test_an_unseen_batch_says_how_far_the_known_ones_go(
    embed: Embed, plain: Callable[[Embed], Path]
) -> None:
    table = _table(plain(embed))
    assert not table["known_batch"].any()
    assert (table["batch_spread"] > 0).all()
    assert (table["batch_spread"] < 1).all()
    assert table["flags"].str.contains("unseen-batch").all()
