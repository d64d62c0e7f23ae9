"""Adam for a stack: moments, step counts, clipping and learning rate of each member are its own."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from itertools import groupby
from typing import Any, final

import torch
from torch import Tensor
from torch.nn import Parameter
from torch.optim.adam import adam

from recart.models.restack import cut

__all__ = ["StackedAdam"]


@final
class StackedAdam(torch.optim.Optimizer):
    """Adam (Kingma & Ba, 2015) over parameters whose first axis is the member.

    Torch's fused kernel runs over the slices of members that agree in learning rate (`lr_m`) and
    step count; gradients are clipped by each member's own norm. A member that is not active in a
    step keeps its weights, moments and step count to the bit and costs nothing.
    """

    def __init__(
        self,
        params: Iterable[Parameter],
        lr_m: Sequence[float],
        weight_decay: float,
        clip_norm: float | None,
        betas: tuple[float, float] = (0.9, 0.999),
        eps: float = 1e-8,
    ) -> None:
        super().__init__(params, {"weight_decay": weight_decay, "betas": betas, "eps": eps})
        self.lr_m = list(lr_m)
        self.clip_norm = clip_norm
        self.active: Sequence[bool] | None = None
        self.clipped = False  # whether `clip` is called by another before each step
        self.step_m = [0] * len(self.lr_m)

    def state_dict(self) -> dict[str, Any]:
        """Moments as in torch, and the members' step counts."""
        return {**super().state_dict(), "step_m": list(self.step_m)}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Restore what `state_dict` gave."""
        self.step_m = list(state_dict["step_m"])
        super().load_state_dict({k: v for k, v in state_dict.items() if k != "step_m"})

    @torch.no_grad()
    def keep(self, members: Sequence[int]) -> None:
        """Go on with these members alone, once the parameters hold no others."""
        for parameter, state in self.state.items():
            for name in ("mean", "square"):
                state[name] = cut(state[name], members, parameter.shape)
        self.lr_m = [self.lr_m[m] for m in members]
        self.step_m = [self.step_m[m] for m in members]
        self.active = None

    @torch.no_grad()
    def step(self, closure: Callable[[], Any] | None = None) -> Any:
        """One step of every active member (`active`; None: all)."""
        loss = None
        if closure is not None:
            with torch.enable_grad():
                loss = closure()
        active = [True] * len(self.lr_m) if self.active is None else self.active
        groups = [
            (group, own)
            for group in self.param_groups
            if (own := [p for p in group["params"] if p.grad is not None and p.numel()])
        ]
        if not groups:  # no member takes this step
            return loss
        if not self.clipped:
            self.clip()
        for members in self._alike(active):
            for group, own in groups:
                self._step(group, own, members)
        self.step_m = [count + int(on) for count, on in zip(self.step_m, active, strict=True)]
        return loss

    def _alike(self, active: Sequence[bool]) -> Iterator[slice]:
        """Runs of neighbouring active members with one learning rate and step count."""
        keys = list(zip(active, self.lr_m, self.step_m, strict=True))
        start = 0
        for key, run in groupby(keys):
            stop = start + len(list(run))
            if key[0]:
                yield slice(start, stop)
            start = stop

    def _step(self, group: dict[str, Any], own: list[Parameter], members: slice) -> None:
        for parameter in own:
            if not self.state[parameter]:
                self.state[parameter]["mean"] = torch.zeros_like(parameter)
                self.state[parameter]["square"] = torch.zeros_like(parameter)
        # the kernel counts a step for each tensor
        counts = torch.full(
            (len(own),), float(self.step_m[members.start]), device=own[0].device
        ).unbind()
        every = members == slice(0, len(self.lr_m))

        def slices(whole: list[Tensor]) -> list[Tensor]:
            return whole if every else [one[members] for one in whole]

        adam(
            slices([p.detach() for p in own]),
            slices([p.grad for p in own if p.grad is not None]),
            slices([self.state[p]["mean"] for p in own]),
            slices([self.state[p]["square"] for p in own]),
            [],
            list(counts),
            fused=True,
            amsgrad=False,
            beta1=group["betas"][0],
            beta2=group["betas"][1],
            lr=self.lr_m[members.start],
            weight_decay=group["weight_decay"],
            eps=group["eps"],
            maximize=False,
        )

    @torch.no_grad()
    def clip(self) -> None:
        """Bring each member's gradient norm over all its parameters down to `clip_norm`."""
        if self.clip_norm is None:
            return
        everything = [p for group in self.param_groups for p in group["params"]]
        gradients = [p.grad for p in everything if p.grad is not None and p.numel()]
        norms = [torch.linalg.vector_norm(g.flatten(1), dim=1) for g in gradients]
        norm_m = torch.linalg.vector_norm(torch.stack(norms), dim=0)
        factor_m = torch.clamp(self.clip_norm / (norm_m + 1e-6), max=1.0)
        for gradient in gradients:
            gradient.mul_(factor_m.view(-1, *(1,) * (gradient.ndim - 1)))
