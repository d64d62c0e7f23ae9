"""StackedAdam: torch's Adam for one member; members that rest stay as they are."""

from __future__ import annotations

import copy
from typing import Any

import pytest
import torch
from torch.nn import Parameter

from recart.training.optimizer import StackedAdam

SHAPES = [(4, 3), (3,), (2, 2, 5)]


def _parameters(seeds: list[int]) -> list[Parameter]:
    generators = [torch.Generator().manual_seed(seed) for seed in seeds]
    return [
        Parameter(
            torch.stack([torch.randn(s, generator=g, dtype=torch.float64) for g in generators])
        )
        for s in SHAPES
    ]


def _gradients(step: int, seeds: list[int]) -> list[torch.Tensor]:
    generators = [torch.Generator().manual_seed(1000 * step + seed) for seed in seeds]
    # norms of very different sizes, so that some steps are clipped and some are not
    return [
        torch.stack(
            [
                torch.randn(s, generator=g, dtype=torch.float64) * (0.1, 1, 30)[(step + seed) % 3]
                for g, seed in zip(generators, seeds, strict=True)
            ]
        )
        for s in SHAPES
    ]


def _step(optimizer: StackedAdam, parameters: list[Parameter], step: int, seeds: list[int]) -> None:
    for parameter, gradient in zip(parameters, _gradients(step, seeds), strict=True):
        parameter.grad = gradient
    optimizer.step()


def _adam(parameters: list[Parameter], clip: float | None, decay: float) -> StackedAdam:
    return StackedAdam(
        parameters, lr_m=[0.02] * len(parameters[0]), weight_decay=decay, clip_norm=clip
    )


@pytest.mark.parametrize("clip", [None, 2.0])
@pytest.mark.parametrize("decay", [0.0, 0.1])
def test_equals_torch_adam_of_each_member_alone(clip: float | None, decay: float) -> None:
    seeds = [1, 2, 3]
    ours = _parameters(seeds)
    optimizer = _adam(ours, clip, decay)
    theirs = [_parameters([seed]) for seed in seeds]
    references = [torch.optim.Adam(p, lr=0.02, weight_decay=decay) for p in theirs]
    for step in range(20):
        _step(optimizer, ours, step, seeds)
        for seed, own, reference in zip(seeds, theirs, references, strict=True):
            for parameter, gradient in zip(own, _gradients(step, [seed]), strict=True):
                parameter.grad = gradient
            if clip is not None:
                torch.nn.utils.clip_grad_norm_(own, clip)
            reference.step()
    for member, own in enumerate(theirs):
        for one, other in zip(ours, own, strict=True):
            torch.testing.assert_close(one[member], other[0], rtol=1e-12, atol=1e-13)


def _snapshot(optimizer: StackedAdam, parameters: list[Parameter], member: int) -> list[bytes]:
    tensors = [p.detach()[member] for p in parameters]
    for parameter in parameters:
        tensors += [optimizer.state[parameter][name][member] for name in ("mean", "square")]
    count = optimizer.step_m[member].to_bytes(8, "little")
    return [*(t.numpy().tobytes() for t in tensors), count]


@pytest.mark.parametrize("poison", [0.0, float("nan"), float("inf")])
def test_a_resting_member_is_unchanged_to_the_bit(poison: float) -> None:
    seeds = [1, 2]
    ours, alone = _parameters(seeds), _parameters([1])
    optimizer, reference = _adam(ours, 1.0, 0.1), _adam(alone, 1.0, 0.1)
    for step in range(3):
        _step(optimizer, ours, step, seeds)
        _step(reference, alone, step, [1])
    before = _snapshot(optimizer, ours, 1)
    optimizer.active = [True, False]
    for step in range(3, 6):
        for parameter, gradient in zip(ours, _gradients(step, seeds), strict=True):
            gradient[1] += poison
            parameter.grad = gradient
        optimizer.step()
        _step(reference, alone, step, [1])
    assert _snapshot(optimizer, ours, 1) == before
    for one, other in zip(ours, alone, strict=True):
        torch.testing.assert_close(one[0], other[0], rtol=1e-13, atol=1e-14)
    # it goes on where it stopped
    optimizer.active = [False, True]
    resumed = _snapshot(optimizer, ours, 0)
    _step(optimizer, ours, 6, seeds)
    assert _snapshot(optimizer, ours, 0) == resumed
    assert optimizer.step_m == [6, 4]


def test_clipping_is_by_each_members_own_norm() -> None:
    parameters = [Parameter(torch.zeros(2, 3, dtype=torch.float64))]
    optimizer = StackedAdam(parameters, lr_m=[1.0, 1.0], weight_decay=0.0, clip_norm=1.0)
    parameters[0].grad = torch.tensor([[3.0, 0.0, 4.0], [0.3, 0.0, 0.4]], dtype=torch.float64)
    optimizer.step()
    first_moment = optimizer.state[parameters[0]]["mean"]
    expected = 0.1 * torch.tensor([[0.6, 0, 0.8], [0.3, 0, 0.4]], dtype=torch.float64)
    torch.testing.assert_close(first_moment, expected, rtol=1e-5, atol=1e-9)


def test_state_round_trip_continues_identically() -> None:
    seeds = [1, 2]
    first = _parameters(seeds)
    optimizer = _adam(first, 1.0, 0.1)
    optimizer.active = [True, False]
    _step(optimizer, first, 0, seeds)
    optimizer.active = [True, True]
    _step(optimizer, first, 1, seeds)
    state: dict[str, Any] = copy.deepcopy(optimizer.state_dict())
    second = [Parameter(p.detach().clone()) for p in first]
    resumed = _adam(second, 1.0, 0.1)
    resumed.load_state_dict(state)
    for step in range(2, 6):
        _step(optimizer, first, step, seeds)
        _step(resumed, second, step, seeds)
    for one, other in zip(first, second, strict=True):
        assert torch.equal(one, other)
    assert resumed.step_m == [6, 5]


def test_parameters_of_no_elements_and_without_gradient() -> None:
    """Absent modalities leave weights of no elements; some weights take no part in the loss."""
    empty = Parameter(torch.zeros(2, 0, 3))
    idle, used = Parameter(torch.ones(2, 3)), Parameter(torch.ones(2, 3))
    optimizer = StackedAdam([empty, idle, used], lr_m=[0.1, 0.1], weight_decay=0.5, clip_norm=1.0)
    empty.grad, used.grad = torch.zeros(2, 0, 3), torch.ones(2, 3)
    optimizer.step()
    assert torch.equal(idle, torch.ones(2, 3))
    assert (used < 1).all()


def test_no_gradient_at_all_is_no_step() -> None:
    parameter = Parameter(torch.ones(2, 3))
    optimizer = StackedAdam([parameter], lr_m=[0.1, 0.1], weight_decay=0.5, clip_norm=1.0)
    optimizer.step()
    assert torch.equal(parameter, torch.ones(2, 3))
    assert optimizer.step_m == [0, 0]


def test_members_that_are_kept_go_on_as_before() -> None:
    seeds = [1, 2, 3]
    ours, alone = _parameters(seeds), _parameters([3])
    lr_m = [0.02, 0.02, 0.05]
    optimizer = StackedAdam(ours, lr_m=lr_m, weight_decay=0.1, clip_norm=1.0)
    reference = StackedAdam(alone, lr_m=[0.05], weight_decay=0.1, clip_norm=1.0)
    for step in range(6):
        if step == 3:
            for parameter in ours:
                parameter.grad = None
                parameter.data = parameter.data[[2, 0]]
            optimizer.keep([2, 0])
            seeds = [3, 1]
        _step(optimizer, ours, step, seeds)
        _step(reference, alone, step, [3])
    assert optimizer.lr_m == [0.05, 0.02]
    for one, other in zip(ours, alone, strict=True):
        torch.testing.assert_close(one[0], other[0], rtol=1e-13, atol=1e-14)
