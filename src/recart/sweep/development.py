"""What is known of a fold's development bags without a model: who shares them, and their labels."""

from __future__ import annotations

from typing import Any

import numpy as np

from recart.contracts import Member
from recart.data.bags import Bags
from recart.training.endpoints import endpoint_of
from recart.training.jobs import labelled_bags

__all__ = ["development_of"]


def development_of(member: Member, bags: Bags) -> dict[str, Any]:
    """`groups` and `saying_nothing` of `recart.sweep.tables.FoldTrials`."""
    rows = labelled_bags(bags, (*member.train, *member.validation))
    _, groups = np.unique(bags.groups[rows], return_inverse=True)
    endpoint, nothing = endpoint_of(bags), None
    if endpoint.kind == "binary":
        share = float(endpoint.targets_of(bags, rows).mean())
        nothing = -(share * np.log(share) + (1 - share) * np.log1p(-share))
    return {
        "groups": [int(own) for own in groups],
        "saying_nothing": None if nothing is None else float(nothing),
    }
