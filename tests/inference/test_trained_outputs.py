"""What a trained model says: planted differences, what it draws, proteins it never saw."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from recart.data.features import bind
from recart.inference.outputs.differential_expression import differential_expression
from recart.inference.outputs.ensemble import EnsembleOutputs
from recart.inference.outputs.member_outputs import MemberOutputs
from recart.inference.outputs.predictive_check import posterior_predictive_check
from recart.problems import InputError

Make = Callable[..., Any]


@pytest.mark.slow  # trains
def test_planted_differences_are_found_with_few_others(trained: Any) -> None:
    outputs = EnsembleOutputs(trained.members)
    monocytes = trained.kind == "CD14 Mono"
    table = differential_expression(
        outputs,
        idx1=trained.first & monocytes,
        idx2=~trained.first & monocytes,
        n_samples_overall=2000,
    )
    planted = trained.planted & set(outputs.genes)
    called = set(table.index[table["is_de_fdr_0.05"]])
    assert len(planted) >= 20
    assert len(called & planted) >= 0.9 * len(planted)
    # the posterior knows nothing of the uncertainty of weights, so more than the target is false
    assert len(called - planted) <= (0.05 + 0.15) * len(called)
    found = table.loc[sorted(called & planted)]
    raw = np.log2(found["raw_normalized_mean1"] / found["raw_normalized_mean2"])
    assert (np.sign(found["lfc_median"]) == np.sign(raw)).all()
    assert np.corrcoef(found["lfc_median"], raw)[0, 1] > 0.95


@pytest.mark.slow  # trains
@pytest.mark.parametrize("kind", ["CD14 Mono", "all"])
def test_random_halves_do_not_differ(trained: Any, kind: str) -> None:
    of_kind = np.ones(len(trained.kind), bool) if kind == "all" else trained.kind == kind
    half = np.random.default_rng(3).random(len(of_kind)) < 0.5
    for outputs in (trained.members[0], EnsembleOutputs(trained.members)):
        table = differential_expression(
            outputs, idx1=half & of_kind, idx2=~half & of_kind, n_samples_overall=2000
        )
        assert not table["is_de_fdr_0.05"].any()
        assert table["proba_de"].max() < 0.6


@pytest.mark.slow  # trains
def test_drawn_counts_vary_as_those_of_the_data(trained: Any) -> None:
    table = posterior_predictive_check(trained.members[0], n_samples=4)
    genes = table.loc[list(trained.members[0].genes)]
    seen = genes[genes["mean_raw"] > 0.05]
    assert len(seen) > 150
    for metric, tolerance in (("zero_fraction", 0.05), ("coefficient_of_variation", 0.15)):
        raw, sampled = seen[f"{metric}_raw"], seen[f"{metric}_sampled"]
        assert np.corrcoef(np.log(raw), np.log(sampled))[0, 1] > 0.9, metric
        assert (sampled / raw - 1).abs().median() < tolerance, metric
    proteins = table.drop(index=genes.index)
    assert np.corrcoef(proteins["mean_raw"], proteins["mean_sampled"])[0, 1] > 0.95


@pytest.mark.slow  # trains
def test_a_protein_of_held_out_patients_is_imputed_where_its_cells_are(trained: Any) -> None:
    member = trained.members[0]
    store, cells = member.store, trained.held_out
    for name in ("CD14", "CD3e", "CD33", "TCRAB"):
        column = store.proteins.index(name)
        measured = store.protein_measured.copy()
        measured[:, column] = False
        blind = replace(store, protein_measured=measured)
        outputs = MemberOutputs(member.stack, bind(member.bound.features, blind), blind)
        imputed = outputs.get_normalized_expression(
            cells, gene_list=[], protein_list=[name], include_protein_background=True
        )[1]
        known = np.log1p(np.asarray(store.protein[:])[cells, column].astype(float))
        assert np.corrcoef(np.log1p(imputed[name]), known)[0, 1] > 0.8, name


def test_groups_of_any_table(make_outputs: Make) -> None:
    outputs = make_outputs()
    settings = {"n_samples_overall": 50}
    table = differential_expression(outputs, groupby="batch", **settings)
    assert set(table["comparison"]) == {"B0 vs Rest", "B1 vs Rest", "B2 vs Rest"}
    assert len(table) == 3 * (len(outputs.genes) + len(outputs.proteins))
    one = differential_expression(
        outputs, groupby="response", group1="R", group2="NR", mode="vanilla", **settings
    )
    assert set(one["comparison"]) == {"R vs NR"}
    np.testing.assert_allclose(one["proba_m1"] + one["proba_m2"], 1.0)
    again = differential_expression(
        outputs, groupby="response", group1=["R"], group2="NR", mode="vanilla", **settings
    )
    assert one.equals(again)
    store = outputs.store
    responders = store.patients["response"].to_numpy()[store.cells["patient"]] == "R"
    gene = store.genes.index(outputs.genes[0])
    mean = np.asarray(store.rna[:, [gene]].todense())[responders].mean()
    assert one.loc[outputs.genes[0], "raw_mean1"] == pytest.approx(mean)


def test_groups_that_there_are_not(make_outputs: Make) -> None:
    outputs = make_outputs()
    with pytest.raises(InputError, match=r"E-OUT-005.*column=respnse"):
        differential_expression(outputs, groupby="respnse")
    with pytest.raises(InputError, match=r"(?s)E-OUT-007.*group CR has no cells.*group PD has no"):
        differential_expression(outputs, groupby="response", group1="CR", group2="PD")
    with pytest.raises(InputError, match="E-OUT-006"):
        differential_expression(outputs)
    normalised = replace(outputs.store, normalised=True)
    member = MemberOutputs(outputs.stack, outputs.bound, normalised)
    with pytest.raises(InputError, match="E-OUT-008"):
        differential_expression(member, groupby="batch")


def test_a_check_leaves_out_what_was_not_measured(make_outputs: Make) -> None:
    outputs = make_outputs()
    store = outputs.store
    measured = store.protein_measured.copy()
    measured[0, 2], measured[:, 5] = False, False
    blind = replace(store, protein_measured=measured)
    member = MemberOutputs(outputs.stack, bind(outputs.bound.features, blind), blind)
    table = posterior_predictive_check(member, n_samples=2)
    protein = np.asarray(store.protein)[store.cells["sample"].to_numpy() > 0, 2]
    assert table.loc["PROT2_protein", "mean_raw"] == pytest.approx(protein.mean())
    assert table.loc["PROT5_protein"].isna().all()
    assert table.drop(index="PROT5_protein").notna().to_numpy().all()
