"""Bayesian differential expression between groups of cells, as scvi-tools' users know it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import pandas as pd

from recart.inference.outputs.change import Mode, change_statistics, posterior_expected_fdr
from recart.inference.outputs.chosen import Rows
from recart.inference.outputs.expression import Expression
from recart.inference.outputs.groups import Contrast, contrasts
from recart.inference.outputs.outputs import Floats, Outputs
from recart.inference.outputs.raw_counts import raw_count_properties
from recart.problems import InputError, Problem

__all__ = ["differential_expression"]


def differential_expression(
    outputs: Outputs,
    *,
    groupby: str | None = None,
    group1: str | Sequence[str] | None = None,
    group2: str | None = None,
    idx1: Rows | None = None,
    idx2: Rows | None = None,
    mode: Mode = "change",
    delta: float = 0.25,
    batch_correction: bool = False,
    fdr_target: float = 0.05,
    n_samples_overall: int = 5000,
    pseudocounts: float | None = None,
    protein_prior_count: float = 0.1,
    scale_protein: bool = False,
    sample_protein_mixing: bool = False,
    include_protein_background: bool = False,
    seed: int = 0,
) -> pd.DataFrame:
    """Genes and proteins that differ between groups of cells.

    Pairs of cells are drawn from both groups and their expression from its posterior; a feature is
    differentially expressed in a pair if its log2 fold change lies beyond `delta`. The statement
    is one on these cells, not on patients: cells of a patient are not independent, and a difference
    between groups of patients needs patients to be the unit. Nor does the posterior know how
    uncertain the weights are: with few thousand cells more than `fdr_target` of the calls may be
    false, and an ensemble is the safer source.

    Parameters
    ----------
    outputs
        A member, or an ensemble, whose members share the draws.
    groupby
        Column of cells, samples or patients. Cells without a value are in no group.
    group1, group2
        Groups of it. Every first group (None: each) is compared with the second (None: the rest).
    idx1, idx2
        Cells in place of groups, by numbers or masks; without the second, the rest.
    mode
        "change" (Boyeau et al. 2019), or "vanilla" (Lopez et al. 2018), which knows no `delta`.
    delta
        Least absolute log2 fold change that counts.
    batch_correction
        Decode the cells of both groups under every batch in turn, and pair within batches.
    fdr_target
        Posterior expected false discovery rate of the features that are called.
    n_samples_overall
        Draws of each group.
    pseudocounts
        Added to expression before the logarithm, so that genes next to absent do not differ; None:
        a tenth of the mean frequency of a gene. The default of scvi-tools' TOTALVI is 1e-5, which
        is about that for ten thousand genes and calls more absent ones where there are fewer.
    protein_prior_count
        Added to protein expression before.
    scale_protein, sample_protein_mixing, include_protein_background
        As in `Outputs.get_normalized_expression`.
    seed
        Of cells and draws.

    Returns
    -------
    pandas.DataFrame
        A feature in a row, proteins as `<name>_protein`, by falling probability. In change mode
        `proba_de`, `proba_not_de`, `bayes_factor`, `scale1`, `scale2`, `lfc_mean`, `lfc_median`,
        `lfc_std`, `lfc_min`, `lfc_max` and `is_de_fdr_<fdr_target>`; in both modes properties of
        the raw counts of either group, and the names of the groups.

    Raises
    ------
    InputError
        If a group is unknown or empty, or the model is not one of counts.
    """
    if outputs.store.normalised:
        problem = Problem(
            code="E-OUT-008",
            what="log fold changes need a model of counts, this one is of normalised values",
            mend="train on raw counts",
        )
        raise InputError([problem])
    asked = Expression(
        include_protein_background=include_protein_background,
        scale_protein=scale_protein,
        sample_protein_mixing=sample_protein_mixing,
    )
    batches: list[tuple[str, ...] | None] = [None]
    if batch_correction:
        batches = [(batch,) for batch in outputs.batches]
    if pseudocounts is None:
        pseudocounts = 0.1 / max(1, len(outputs.genes))
    names = [*outputs.genes, *(f"{name}_protein" for name in outputs.proteins)]
    chosen = contrasts(outputs.store, groupby, (group1, group2), (idx1, idx2))
    tables = []
    for number, contrast in enumerate(chosen):
        one, two = (
            _draw(outputs, rows, asked, batches, n_samples_overall, (seed, number, group))
            for group, rows in enumerate((contrast.rows1, contrast.rows2))
        )
        one[:, len(outputs.genes) :] += protein_prior_count
        two[:, len(outputs.genes) :] += protein_prior_count
        table = change_statistics(one, two, mode=mode, delta=delta, pseudocounts=pseudocounts)
        table = pd.concat([table, _raw(outputs, contrast)], axis=1)
        table.index = pd.Index(names)
        key = "proba_de" if mode == "change" else "bayes_factor"
        table = table.sort_values(key, ascending=False, kind="stable")
        if mode == "change":
            called = posterior_expected_fdr(table["proba_de"].to_numpy(), fdr_target)
            table[f"is_de_fdr_{fdr_target}"] = called
        if idx1 is None:
            table["comparison"] = f"{contrast.group1} vs {contrast.group2}"
            table["group1"], table["group2"] = contrast.group1, contrast.group2
        tables.append(table)
    return pd.concat(tables)


def _draw(
    outputs: Outputs,
    rows: Rows,
    asked: Expression,
    batches: Sequence[tuple[str, ...] | None],
    n_samples: int,
    seed: tuple[int, ...],
) -> Floats:
    """Samples (n, features) of the expression of random cells of a group, batch after batch."""
    stream = np.random.default_rng(seed)
    drawn = []
    for batch in batches:
        cells = stream.choice(rows, max(1, n_samples // len(batches)))
        under = replace(asked, transform_batch=batch)
        noise = int(stream.integers(2**62))
        drawn.append(np.hstack(outputs.draw_expression(under, cells, noise)))
    return np.concatenate(drawn)


def _raw(outputs: Outputs, contrast: Contrast) -> pd.DataFrame:
    """Properties of the raw counts of both groups, in the order of scvi-tools."""
    store = outputs.store
    genes = pd.Index(store.genes).get_indexer(pd.Index(outputs.genes))
    proteins = pd.Index(store.proteins).get_indexer(pd.Index(outputs.proteins))
    one, two = (
        raw_count_properties(store, rows, genes, proteins)
        for rows in (contrast.rows1, contrast.rows2)
    )
    columns = {}
    for name in one:
        columns[f"{name}1"], columns[f"{name}2"] = one[name], two[name]
    return pd.DataFrame(columns)
