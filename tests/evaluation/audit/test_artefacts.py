"""Digests of what a member has fitted: every byte counts, and nothing in the file is left out."""

from __future__ import annotations

from typing import Any

import pytest
import torch

from recart.evaluation.audit.artefacts import artefacts, differing


def content() -> dict[str, Any]:
    return {
        "schema": 1,
        "member": {"name": "r0f0", "train": ["P-1"], "held_out": ["P-2"]},
        "features": {"genes": ["A", "B"], "background_mean": torch.zeros(2)},
        "encoder": {"w": torch.ones(2, 3), "b": torch.zeros(3)},
        "head": {"coefficients": torch.zeros(4), "chosen": {"strength": 0.1}},
        "best_epoch": 3,
        "history": [{"epoch": 0, "loss": 1.5}],
    }


def test_the_same_content_gives_the_same_digests_in_any_order() -> None:
    other = dict(reversed(content().items()))
    other["encoder"] = dict(reversed(other["encoder"].items()))
    assert artefacts(content()) == artefacts(other)


def test_how_a_number_lies_in_memory_does_not_matter() -> None:
    found = []
    for stride in (0, 1):  # of a single number both are contiguous
        own = content()
        own["head"]["coefficients"] = torch.ones(3, dtype=torch.float64).as_strided((1,), (stride,))
        found.append(artefacts(own))
    assert found[0] == found[1]


@pytest.mark.parametrize(
    ("change", "names"),
    [
        (lambda c: c["encoder"]["w"][1, 2].nextafter_(torch.tensor(2.0)), ["encoder weights"]),
        (lambda c: c["features"]["background_mean"].copy_(torch.tensor([0.0, -0.0])), ["priors"]),
        (lambda c: c["features"]["genes"].reverse(), ["gene list"]),
        (lambda c: c.update(best_epoch=4), ["chosen epoch"]),
        (lambda c: c.update(best_epoch=3.0), ["chosen epoch"]),
        (lambda c: c["head"]["chosen"].update(strength=0.2), ["chosen hyper-parameters"]),
        (lambda c: c["head"].update(coefficients=torch.zeros(2, 2)), ["head weights"]),
        (lambda c: c["history"][0].update(loss=1.25), ["training log"]),
        (lambda c: c["member"].update(held_out=[]), []),
    ],
)
def test_a_changed_byte_changes_the_artefact_that_it_belongs_to(
    change: Any, names: list[str]
) -> None:
    other = content()
    change(other)
    assert differing(artefacts(content()), artefacts(other)) == names


def test_what_no_list_names_is_compared_under_its_own_path() -> None:
    one, other = content(), content()
    one |= {"cut": 0.4, "head": {**one["head"], "slope": torch.tensor(1.0)}}
    other |= {"cut": 0.5, "head": {**other["head"], "slope": torch.tensor(1.5)}}
    assert differing(artefacts(one), artefacts(other)) == ["cut", "head.slope"]
    assert differing(artefacts(one), artefacts(content())) == ["cut", "head.slope"]


def test_how_a_tensor_lies_in_memory_is_no_difference() -> None:
    one, other = content(), content()
    one["encoder"] = {"w": torch.ones(3, 2).T, "b": torch.tensor(1.0).expand(1)}
    other["encoder"] = {"w": torch.ones(2, 3), "b": torch.ones(1)}
    assert artefacts(one) == artefacts(other)
