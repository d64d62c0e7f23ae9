"""Which bags the regressions of nested inner folds are fitted to, for many labellings at once."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import combinations
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from recart.training.heads import Array

__all__ = ["InnerProblems", "inner_problems"]


class InnerProblems(NamedTuple):
    """Problems `q` of labellings `p`: fitted to all bags, or without one fold, or without two.

    A view `v` is a choice made without fold `v`; the last view is the choice on all folds. It
    judges a bag by the problem that left out both the bag's fold and the view's.

    Attributes
    ----------
    weight_qn
        1 for the bags that a problem is fitted to, else 0.
    labelling_q
        The labelling of each problem.
    whole_pv
        The problem fitted to all bags that view `v` knows.
    judge_pvn
        The problem that judges bag `n` in view `v`.
    fold_pn
        Fold of each bag: its own view, which did not know it. 0 where a bag is in none.
    nested_p
        Whether there are three folds or more. Two folds leave no bags to fit to without both, so
        that a view could only be judged by what knows its fold's labels.
    """

    weight_qn: Tensor
    labelling_q: Tensor
    whole_pv: Tensor
    judge_pvn: Tensor
    fold_pn: Tensor
    nested_p: Tensor


def inner_problems(folds: Sequence[Sequence[Array]], bags: int) -> InnerProblems:
    """Those of the inner folds of each labelling; numbers of folds may differ."""
    most = max(len(own) for own in folds)
    weights: list[Tensor] = []
    labelling: list[int] = []
    whole_pv = torch.zeros(len(folds), most + 1, dtype=torch.long)
    judge_pvn = torch.zeros(len(folds), most + 1, bags, dtype=torch.long)
    fold_pn = torch.zeros(len(folds), bags, dtype=torch.long)
    for p, own in enumerate(folds):
        inside = torch.zeros(bags, dtype=torch.float64)
        inside[torch.from_numpy(np.concatenate(own))] = 1.0
        tests = [torch.from_numpy(test) for test in own]
        without: dict[tuple[int, ...], int] = {}
        for left in [(), *combinations(range(len(own)), 1), *combinations(range(len(own)), 2)]:
            weight = inside.clone()
            for fold in left:
                weight[tests[fold]] = 0.0
            if len(left) == 2 and len(own) == 2:  # two folds leave nothing to fit to
                continue
            without[left] = len(weights)
            weights.append(weight)
            labelling.append(p)
        whole_pv[p] = without[()]
        for fold, test in enumerate(tests):
            fold_pn[p, test] = fold
            whole_pv[p, fold] = without[(fold,)]
            judge_pvn[p, :, test] = without[(fold,)]
            for view in range(len(own)):
                pair = without.get((min(view, fold), max(view, fold)))
                if view != fold and pair is not None:
                    judge_pvn[p, view, test] = pair
    nested_p = torch.tensor([len(own) > 2 for own in folds])
    return InnerProblems(
        torch.stack(weights), torch.tensor(labelling), whole_pv, judge_pvn, fold_pn, nested_p
    )
