"""Adam for a stack: moments, step counts, clipping and learning rate of each member are its own."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any, final

import torch
from torch import Tensor
from torch.nn import Parameter

__all__ = ["StackedAdam"]


@final
class StackedAdam(torch.optim.Optimizer):
    """Adam (Kingma & Ba, 2015) over parameters whose first axis is the member.

    Gradients are clipped by each member's own norm over all its parameters. A member that is not
    active in a step keeps its weights, moments and step count to the bit.
    """

    def __init__(
        self,
        params: Iterable[Parameter],
        lr: float,
        weight_decay: float,
        clip_norm: float | None,
        betas: tuple[float, float] = (0.9, 0.999),
        eps: float = 1e-8,
    ) -> None:
        defaults = {"lr": lr, "weight_decay": weight_decay, "betas": betas, "eps": eps}
        super().__init__(params, defaults)
        self.clip_norm = clip_norm
        self.active_m: Tensor | None = None
        self.step_m: Tensor | None = None

    def state_dict(self) -> dict[str, Any]:
        """Moments as in torch, and the members' step counts."""
        return {**super().state_dict(), "step_m": self.step_m}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Restore what `state_dict` gave."""
        self.step_m = state_dict["step_m"]
        super().load_state_dict({k: v for k, v in state_dict.items() if k != "step_m"})

    @torch.no_grad()
    def step(self, closure: Callable[[], Any] | None = None) -> Any:
        """One step of every active member (`active_m`; None: all)."""
        loss = None
        if closure is not None:
            with torch.enable_grad():
                loss = closure()
        own = [p for group in self.param_groups for p in group["params"] if p.grad is not None]
        if not own:  # no member takes this step
            return loss
        members = own[0].shape[0]
        active_m = self.active_m
        if active_m is None:
            active_m = torch.ones(members, dtype=torch.bool, device=own[0].device)
        if self.step_m is None:
            self.step_m = torch.zeros(members, dtype=own[0].dtype, device=own[0].device)
        self.step_m = self.step_m + active_m.to(self.step_m.dtype)
        scale_m = self._clip_scale(own)
        for group in self.param_groups:
            beta_1, beta_2 = group["betas"]
            for parameter in group["params"]:
                if parameter.grad is None:
                    continue
                state = self.state[parameter]
                if not state:
                    state["mean"] = torch.zeros_like(parameter)
                    state["square"] = torch.zeros_like(parameter)
                shape = (members,) + (1,) * (parameter.ndim - 1)
                active = active_m.view(shape)
                runs = active.to(parameter.dtype)
                gradient = parameter.grad * scale_m.view(shape)
                if group["weight_decay"]:
                    gradient = gradient + group["weight_decay"] * parameter
                # 0 times a gradient that is not finite would not be 0
                gradient = torch.where(active, gradient, 0.0)
                # weight 0 leaves an inactive member's moments as they are, bit by bit
                state["mean"].lerp_(gradient, runs * (1 - beta_1))
                state["square"].lerp_(gradient.square(), runs * (1 - beta_2))
                step = self.step_m.clamp_min(1.0).view(shape)
                mean = state["mean"] / (1 - beta_1**step)
                square = state["square"] / (1 - beta_2**step)
                update = group["lr"] * mean / (square.sqrt() + group["eps"])
                parameter.sub_(torch.where(active, update, 0.0))
        return loss

    def _clip_scale(self, parameters: list[Parameter]) -> Tensor:
        """(m) the factor that brings each member's gradient norm down to `clip_norm`."""
        members = parameters[0].shape[0]
        ones = torch.ones(members, dtype=parameters[0].dtype, device=parameters[0].device)
        if self.clip_norm is None:
            return ones
        square = torch.stack(
            [p.grad.reshape(members, -1).square().sum(-1) for p in parameters if p.grad is not None]
        ).sum(0)
        return torch.minimum(ones, self.clip_norm / (square.sqrt() + 1e-6))
