"""Values that no head can be fitted with are refused as it is built, before anything is trained."""

from __future__ import annotations

from dataclasses import dataclass

import pytest

from recart.config.build import build
from recart.config.compose import compose
from recart.problems import InputError
from recart.ranges import Range, outside

# head, override, and what is said of it
WRONG = [
    ("prototypes", "prototypes=0", "prototypes=0 (at least 1)"),
    ("prototypes", "fine_prototypes=-1", "fine_prototypes=-1 (at least 0)"),
    ("prototypes", "shrinkage=-5", "shrinkage=-5 (at least 0)"),
    ("prototypes", "cells=-5", "cells=-5 (at least 1)"),
    ("prototypes", "inner_folds=1", "inner_folds=1 (at least 2)"),
    ("prototypes", "strengths=[]", "strengths=[] (numbers above 0)"),
    ("prototypes", "strengths=[1.0,-1.0]", "strengths=[1.0, -1.0] (numbers above 0)"),
    ("prototypes", "endpoint=null", "endpoint is null"),
    ("attention", "base.endpoint=null", "endpoint is null"),
    ("attention", "hidden=0", "hidden=0 (at least 1)"),
    ("attention", "lr=-0.01", "lr=-0.01 (above 0)"),
    ("attention", "lr=nan", "lr=nan (above 0)"),
    ("attention", "dropout=1.5", "dropout=1.5 (at least 0 and below 1)"),
    ("attention", "dropout=1.0", "dropout=1.0 (at least 0 and below 1)"),
    ("attention", "epochs=4", "epochs=4 (0, or at least 5)"),
    ("mixed", "cells=0", "cells=0 (at least 1)"),
    ("mixed", "weightings=[0.0]", "weightings=[0.0] (numbers above 0)"),
    ("cells", "epochs=0", "epochs=0 (at least 1)"),
    ("cells", "training=null", "training is null"),
    ("cells", "training.hidden=0", "hidden=0 (at least 1)"),
    ("cells", "training.views=0", "views=0 (at least 1)"),
    ("cells", "training.bags=0", "bags=0 (at least 1)"),
    ("cells", "training.weight_decay=-1", "weight_decay=-1 (at least 0)"),
    ("ensemble", "heads.cells=null", "heads.cells is null"),
]


@pytest.mark.parametrize(("name", "override", "said"), WRONG)
def test_it_is_refused_by_name_with_what_is_admitted(name: str, override: str, said: str) -> None:
    with pytest.raises(InputError) as told:
        build(compose([f"head={name}", f"head.{override}"]).head)
    (problem,) = told.value.problems
    assert problem.code == "E-CONFIG-004"
    assert said in problem.what


def test_all_of_them_are_named_at_once() -> None:
    overrides = ["head.prototypes=0", "head.shrinkage=-1", "head.inner_folds=1"]
    with pytest.raises(InputError) as told:
        build(compose(["head=prototypes", *overrides]).head)
    (problem,) = told.value.problems
    assert all(own in problem.what for own in ("prototypes=0", "shrinkage=-1", "inner_folds=1"))


@pytest.mark.parametrize(
    ("name", "override"),
    [
        ("prototypes", "shrinkage=0"),
        ("prototypes", "fine_prototypes=0"),
        ("mixed", "weightings=[inf]"),
        ("attention", "dropout=0"),
        ("attention", "epochs=5"),
        ("attention", "epochs=0"),
        ("cells", "training.weight_decay=100"),
        ("ensemble", "heads.cells.training.weight_decay=0"),
    ],
)
def test_the_ends_are_admitted(name: str, override: str) -> None:
    build(compose([f"head={name}", f"head.{override}"]).head)


@dataclass(frozen=True, kw_only=True)
class _Own:
    inner_folds: int
    prior: float | None = None


def test_a_field_that_is_null_by_default_may_be_null() -> None:
    ranges = {"prior": Range("above 0", lambda x: x > 0)}
    assert outside(_Own(inner_folds=3), ranges) == []
    assert outside(_Own(inner_folds=3, prior=1.0), ranges) == []
    assert outside(_Own(inner_folds=3, prior=-1.0), ranges) == ["prior=-1.0 (above 0)"]
    assert outside(_Own(inner_folds=None), ranges) == ["inner_folds is null"]  # type: ignore[arg-type]
