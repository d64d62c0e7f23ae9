"""Runs the baselines in the folds of the model."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import NamedTuple

import numpy as np
import pandas as pd
from scipy.special import expit

from recart.data.bags import Bags
from recart.data.store import CohortStore
from recart.evaluation.baselines.baseline import (
    Baseline,
    FoldLogits,
    IndexArray,
    bag_endpoint,
    bag_groups,
)
from recart.evaluation.outcomes.face import target_columns
from recart.training.decision_rule import DecisionRule, fit_decision_rule

__all__ = ["Fold", "cross_validate_baselines"]


class Fold(NamedTuple):
    """One fold of one repeat, as row numbers of the bag table."""

    repeat: int
    fold: int
    development: IndexArray
    held_out: IndexArray


def cross_validate_baselines(
    baselines: Iterable[Baseline], store: CohortStore, bags: Bags, folds: Sequence[Fold], seed: int
) -> pd.DataFrame:
    """Held-out predictions of every baseline in every fold.

    Parameters
    ----------
    baselines
        The baselines.
    store, bags
        The cohort and its bags.
    folds
        Folds of the model's cross-validation.
    seed
        Every fold has a seed of its own from it, the same for all baselines.

    Returns
    -------
    Columns `recart.evaluation.predictions.PREDICTION_COLUMNS`, `threshold` and `model`, the
    baseline's name; `y`, `probability` and further columns as
    `recart.evaluation.held_out.held_out_predictions`: baselines are calibrated as members are.

    Raises
    ------
    ValueError
        Where a patient is on both sides of a fold, a bag has no label, or two baselines have the
        same name.
    """
    baselines = list(baselines)
    names = [baseline.name for baseline in baselines]
    if len(set(names)) < len(names):
        raise ValueError(f"two baselines have the same name: {names}")
    used = np.concatenate([np.r_[fold.development, fold.held_out] for fold in folds])
    if not (bags.table["label"].iloc[used] >= 0).all():
        raise ValueError("bags without a label are in the folds")
    owner = bags.table["patient"].to_numpy(dtype=np.int64)
    pseudonym = store.patients.index.astype(str).to_numpy()[owner]
    endpoint, frames = bag_endpoint(bags), []
    for repeat, fold, development, held_out in folds:
        shared = set(owner[development]) & set(owner[held_out])
        if shared:
            raise ValueError(
                f"{len(shared)} patient(s) are on both sides of fold {fold} of repeat {repeat}"
            )
        own_seed = int(np.random.SeedSequence([seed, repeat, fold]).generate_state(1)[0])
        for baseline in baselines:
            found = baseline.fit_predict(store, bags, development, held_out, own_seed)
            rule = _rule(found, bags, development)
            targets = endpoint.targets_of(bags, held_out)
            frames.append(
                pd.DataFrame(
                    {
                        "model": baseline.name,
                        "bag": bags.table.index.astype(str).to_numpy()[held_out],
                        "patient": pseudonym[held_out],
                        "repeat": repeat,
                        "fold": fold,
                        "member": f"r{repeat}f{fold}",
                        "y": endpoint.binary(targets),
                        "logit": found.held_out,
                        "probability": expit(rule.log_odds(found.held_out)),
                        "threshold": rule.threshold,
                        **target_columns(endpoint, targets),
                    }
                )
            )
    return pd.concat(frames, ignore_index=True)


def _rule(found: FoldLogits, bags: Bags, development: IndexArray) -> DecisionRule:
    """The decision rule, by the development bags alone, as a member's is fitted."""
    endpoint = bag_endpoint(bags)
    face = endpoint.binary(endpoint.targets_of(bags, development))
    known = (face >= 0) & np.isfinite(found.inner)
    if not known.any():
        labelled = face[face >= 0]
        return DecisionRule(threshold=float(labelled.mean())) if len(labelled) else DecisionRule()
    groups = bag_groups(bags, development)
    return fit_decision_rule(found.inner[known], face[known], groups[known])
