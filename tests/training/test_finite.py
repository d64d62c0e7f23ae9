"""The watch over finite steps: which member, which step, which terms."""

from __future__ import annotations

import pytest
import torch

from recart.training.finite import FiniteWatch

FINE = {"rna": torch.ones(3), "kl_z": torch.zeros(3)}


def spoilt(term: str, member: int, value: float) -> dict[str, torch.Tensor]:
    sums = {name: own.clone() for name, own in FINE.items()}
    sums[term][member] = value
    return sums


def test_finite_steps_are_not_told_of() -> None:
    watch = FiniteWatch()
    watch.ask(["a", "b", "c"], 0)  # before any step
    watch.see(FINE, 0)
    watch.ask(["a", "b", "c"], 0)


@pytest.mark.parametrize("value", [torch.nan, torch.inf, -torch.inf])
def test_the_first_step_of_each_member_is_kept(value: float) -> None:
    watch = FiniteWatch()
    for step, sums in enumerate(
        [FINE, spoilt("kl_z", 2, value), spoilt("rna", 0, value), spoilt("rna", 2, value), FINE]
    ):
        watch.see(sums, step)
    with pytest.raises(FloatingPointError) as raised:
        watch.ask(["a", "b", "c"], 7)
    assert str(raised.value).startswith(
        "member a: rna not finite at step 2 of epoch 7; "
        "member c: kl_z not finite at step 1 of epoch 7; lower training.lr"
    )


def test_a_new_epoch_begins_afresh() -> None:
    watch = FiniteWatch()
    watch.see(spoilt("rna", 1, torch.nan), 0)
    watch.forget()
    watch.see({name: own[:2] for name, own in FINE.items()}, 0)  # a member has left the stack
    watch.ask(["a", "b"], 1)
