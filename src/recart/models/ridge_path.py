"""Convex losses with a ridge, solved exactly: many problems and strengths, batched Newton."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import Final

import torch
from torch import Tensor

__all__ = ["ConvexLosses", "in_span_of_rows", "ridge_path"]

_MAX_STEPS: Final = 200
_MAX_HALVINGS: Final = 40
# on the Newton decrement before the last step; convergence is quadratic, so that step squares it
_TOLERANCE: Final = 1e-8


class ConvexLosses(ABC):
    """A stack of problems `q`: convex losses of their coefficients (q, t), without the ridge."""

    @abstractmethod
    def value(self, beta_qt: Tensor) -> Tensor:
        """(q) losses; NaN or infinite where the coefficients are not admitted."""

    @abstractmethod
    def derivatives(self, beta_qt: Tensor) -> tuple[Tensor, Tensor]:
        """Gradients (q, t) and Hessians (q, t, t)."""

    @abstractmethod
    def kept(self, keep_q: Tensor) -> ConvexLosses:
        """Some of the problems."""


def in_span_of_rows(x_qnf: Tensor) -> tuple[Tensor, Tensor | None]:
    """The rows in a basis (q, f, r) of their span, where the solution lies; None: as they are.

    Done where there are fewer rows than features.
    """
    if x_qnf.shape[-1] <= x_qnf.shape[-2]:
        return x_qnf, None
    # any orthonormal basis keeps the norm of the coefficients; QR is the cheapest to get
    basis_qfr, triangle = torch.linalg.qr(x_qnf.mT)
    return triangle.mT, basis_qfr


def ridge_path(
    losses: ConvexLosses, start_qt: Tensor, strength_qs: Tensor, penalised: int, name: str
) -> Tensor:
    """Minimise `loss + strength / 2 |b|^2` for every problem and strength, from `start` on.

    `b` are the first `penalised` coefficients; the others have no ridge. What stands beside a
    problem does not change its solution beyond rounding. `name` is for the error.

    Returns
    -------
    Coefficients (q, s, t).

    Raises
    ------
    FloatingPointError
        If Newton's method has not converged.
    """
    # from the strongest ridge down, each from the solution before it
    order = strength_qs.argsort(dim=-1, descending=True)
    each = torch.arange(len(start_qt), device=start_qt.device)
    beta = start_qt.new_zeros(*strength_qs.shape, start_qt.shape[-1])
    for rank in range(strength_qs.shape[-1]):
        own = order[:, rank]
        penalty = strength_qs[each, own].unsqueeze(-1).repeat(1, start_qt.shape[-1])
        penalty[:, penalised:] = 0.0
        start_qt = _newton(losses, penalty, start_qt, name)
        beta[each, own] = start_qt
    return beta


def _newton(losses: ConvexLosses, penalty: Tensor, start: Tensor, name: str) -> Tensor:
    """Solve every problem; what has converged leaves the stack, and no step is for its company."""
    solved = torch.zeros_like(start)
    running = torch.arange(len(start), device=start.device)
    beta, value = start, _objective(losses, start, penalty)
    for _ in range(_MAX_STEPS):
        gradient, hessian = losses.derivatives(beta)
        gradient = gradient + penalty * beta
        hessian.diagonal(dim1=-2, dim2=-1).add_(penalty + 1e-12)
        factor = torch.linalg.cholesky(hessian)
        step = torch.cholesky_solve(gradient.unsqueeze(-1), factor).squeeze(-1)
        done = (gradient * step).sum(-1) < _TOLERANCE
        if bool(done.any()):
            solved[running[done]] = beta[done] - step[done]
            keep = ~done
            if not bool(keep.any()):
                return solved
            running, losses, penalty = running[keep], losses.kept(keep), penalty[keep]
            beta, value, step = beta[keep], value[keep], step[keep]
        scale = torch.ones_like(value)
        for _ in range(_MAX_HALVINGS):  # halve only the steps that would climb or leave
            trial = beta - scale.unsqueeze(-1) * step
            now = _objective(losses, trial, penalty)
            worse = ~(now <= value + 1e-12)
            if not bool(worse.any()):
                break
            scale = torch.where(worse, scale / 2, scale)
        beta, value = trial, now
    raise FloatingPointError(f"{name}: no convergence in {_MAX_STEPS} steps")


def _objective(losses: ConvexLosses, beta: Tensor, penalty: Tensor) -> Tensor:
    return losses.value(beta) + 0.5 * (penalty * beta.square()).sum(-1)
