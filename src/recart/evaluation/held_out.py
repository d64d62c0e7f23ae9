"""The only door to held-out patients: each member predicts the patients it has never seen."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import pandas as pd
from scipy.special import expit

from recart.data.bags import Bags
from recart.data.features import bind
from recart.data.store import CohortStore
from recart.evaluation.outcomes.face import target_columns
from recart.evaluation.predictions import PREDICTION_COLUMNS
from recart.problems import InputError, Problem
from recart.training.bag_latents import bag_latents
from recart.training.endpoints import endpoint_of
from recart.training.jobs import labelled_bags
from recart.training.member_file import LoadedMember

__all__ = ["check_provenance", "held_out_predictions"]


def check_provenance(member: LoadedMember) -> None:
    """Refuse a member of which any fitted part saw a patient it is to be tested on.

    Raises
    ------
    InputError
        Naming the part and how many held-out patients it saw.
    """
    problems = [
        Problem(
            code="E-LEAK-001",
            what=f"'{part}' of member {member.name} was fitted on patients that it holds out",
            mend="train this member again; its predictions of these patients are worth nothing",
            count=len(seen & member.held_out),
            examples=tuple(sorted(seen & member.held_out)),
        )
        for part, seen in member.fitted_on.items()
        if seen & member.held_out
    ]
    if problems:
        raise InputError(problems)


def held_out_predictions(
    members: Sequence[LoadedMember], store: CohortStore, bags: Bags, extras: pd.DataFrame
) -> Iterator[pd.DataFrame]:
    """One table per member: its held-out bags that have a label.

    Columns `PREDICTION_COLUMNS` and `threshold`. `logit` is the head's own, which ranks;
    `probability` is calibrated by the member's rule. Where the endpoint is more than yes or no, `y`
    is its binary face (-1 where not known), and further columns hold the targets (`target:`) and
    what the head says of them.
    """
    endpoint = endpoint_of(bags)
    code_of = {name: code for code, name in enumerate(store.patients.index)}
    for member in members:
        check_provenance(member)
        rows = labelled_bags(bags, [code_of[name] for name in member.held_out])
        bound = bind(member.features, store)
        unseen = bag_latents(member.stack, bound, store, bags, rows, extras)
        logits = member.head.logits(unseen)
        table = bags.table.iloc[rows]
        targets = endpoint.targets(table)
        further = {**target_columns(endpoint, targets), **member.outputs(unseen)}
        predictions = pd.DataFrame(
            {
                "bag": table.index,
                "patient": store.patients.index[table["patient"]],
                "repeat": member.repeat,
                "fold": member.fold,
                "member": member.name,
                "y": endpoint.binary(targets),
                "logit": logits,
                "probability": expit(member.rule.log_odds(logits)),
                "threshold": member.rule.threshold,
                **further,
            }
        )
        yield predictions[[*PREDICTION_COLUMNS, "threshold", *further]]
