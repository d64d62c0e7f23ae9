"""From a trained encoder to a member's file: its development bags, its head, its decision rule."""

from __future__ import annotations

from pathlib import Path
from typing import NamedTuple

import pandas as pd

from recart.data.bags import Bags
from recart.data.features import bind
from recart.data.store import CohortStore
from recart.models.totalvi import TotalVI
from recart.training.bag_latents import bag_latents
from recart.training.decision_rule import fit_decision_rule
from recart.training.endpoints import endpoint_of
from recart.training.heads import Array, BagLatents, FittedHead
from recart.training.jobs import TrainedEncoder, labelled_bags, restore_stack
from recart.training.member_file import save_member

__all__ = ["DevelopmentBags", "development_bags", "save_fitted"]


class DevelopmentBags(NamedTuple):
    """Bags of a member's training and inner-validation patients as its encoder sees them."""

    seen: BagLatents
    labels: Array


def development_bags(
    encoder: TrainedEncoder, model: TotalVI, store: CohortStore, bags: Bags, extras: pd.DataFrame
) -> DevelopmentBags:
    """Encode the development bags that have a label; `extras` (n, f) is of all `bags`.

    Without those whose labels the encoder saw: a head is fitted to bags as new ones will look.
    """
    member = encoder.member
    stack = restore_stack(model, encoder.features, encoder.state)
    lent = set(encoder.lent)
    rows = labelled_bags(bags, [p for p in (*member.train, *member.validation) if p not in lent])
    labels = endpoint_of(bags).targets_of(bags, rows)
    bound = bind(encoder.features, store)
    return DevelopmentBags(bag_latents(stack, bound, store, bags, rows, extras), labels)


def save_fitted(
    path: Path,
    encoder: TrainedEncoder,
    head: FittedHead,
    development: DevelopmentBags,
    bags: Bags,
    store: CohortStore,
) -> None:
    """Fit the decision rule on inner logits and write the member's file."""
    face = endpoint_of(bags).binary(development.labels)
    known = face >= 0
    patients = development.seen.patients[known]
    rule = fit_decision_rule(head.inner_logits[known], face[known], patients)
    save_member(path, encoder, head, rule, list(store.patients.index))
