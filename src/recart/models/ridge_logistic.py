"""Ridge logistic regression solved exactly: many problems and strengths, batched Newton."""

from __future__ import annotations

import torch
from jaxtyping import Float
from torch import Tensor

__all__ = ["fit_ridge_logistic"]

_MAX_STEPS = 100
_MAX_HALVINGS = 30
# on the Newton decrement before the last step; convergence is quadratic, so that step squares it
_TOLERANCE = 1e-8


def fit_ridge_logistic(
    x_qnf: Float[Tensor, "q n f"],
    y_qn: Float[Tensor, "q n"],
    weight_qn: Float[Tensor, "q n"],
    strength_qs: Float[Tensor, "q s"],
) -> tuple[Float[Tensor, "q s f"], Float[Tensor, "q s"]]:
    """Minimise `sum_n w_n nll(y_n, x_n b + a) + strength / 2 |b|^2` for every problem and strength.

    The intercept `a` is not penalised. Rows of weight 0 take no part. With fewer rows than
    features the problem is solved in the span of its rows, which is where the solution lies; one
    basis of it serves every strength. What stands beside a problem does not change its solution
    beyond rounding.

    Returns
    -------
    Coefficients (q, s, f) and intercepts (q, s), in float64.

    Raises
    ------
    ValueError
        If the weighted rows of a problem have one class only.
    FloatingPointError
        If Newton's method has not converged.
    """
    x, y, w = x_qnf.double(), y_qn.double(), weight_qn.double()
    share = (w * y).sum(-1) / w.sum(-1)
    if bool(((share <= 0) | (share >= 1)).any()):
        raise ValueError("logistic regression needs both classes; there is one class only")
    x = torch.where((w > 0).unsqueeze(-1), x, 0.0)
    basis_qfr = None
    if x.shape[-1] > x.shape[-2]:
        # any orthonormal basis keeps the norm of the coefficients; QR is the cheapest to get
        basis_qfr, triangle = torch.linalg.qr(x.mT)
        x = triangle.mT
    design = torch.cat((x, torch.ones_like(x[..., :1])), dim=-1)
    strength = strength_qs.double()
    # from the strongest ridge down, each from the solution before it
    order = strength.argsort(dim=-1, descending=True)
    each = torch.arange(len(x), device=x.device)
    beta = x.new_zeros(*strength.shape, design.shape[-1])
    start = x.new_zeros(len(x), design.shape[-1])
    for rank in range(strength.shape[-1]):
        own = order[:, rank]
        start = _newton(design, y, w, strength[each, own], start)
        beta[each, own] = start
    coefficients, intercepts = beta[..., :-1], beta[..., -1]
    if basis_qfr is not None:
        coefficients = coefficients @ basis_qfr.mT
    return coefficients, intercepts


def _newton(design: Tensor, y: Tensor, w: Tensor, strength: Tensor, start: Tensor) -> Tensor:
    """Solve every problem at its strength from `start` on; the last column has no penalty.

    What has converged leaves the stack, so that no step is taken for the company's sake.
    """
    penalty = strength.unsqueeze(-1).repeat(1, design.shape[-1])
    penalty[:, -1] = 0.0
    solved = torch.zeros_like(penalty)
    running = torch.arange(len(strength), device=strength.device)
    beta, logits = start, (design @ start.unsqueeze(-1)).squeeze(-1)
    value = _objective(logits, beta, y, w, penalty)
    for _ in range(_MAX_STEPS):
        p = torch.sigmoid(logits)
        gradient = (design.mT @ (w * (p - y)).unsqueeze(-1)).squeeze(-1) + penalty * beta
        curvature = (w * p * (1 - p)).clamp_min(1e-12).unsqueeze(-1)
        hessian = design.mT @ (curvature * design)
        hessian.diagonal(dim1=-2, dim2=-1).add_(penalty + 1e-12)
        factor = torch.linalg.cholesky(hessian)
        step = torch.cholesky_solve(gradient.unsqueeze(-1), factor).squeeze(-1)
        done = (gradient * step).sum(-1) < _TOLERANCE
        if bool(done.any()):
            solved[running[done]] = beta[done] - step[done]
            keep = ~done
            if not bool(keep.any()):
                return solved
            running, design, y, w = running[keep], design[keep], y[keep], w[keep]
            penalty, beta, value, step = penalty[keep], beta[keep], value[keep], step[keep]
        scale = torch.ones_like(value)
        for _ in range(_MAX_HALVINGS):  # halve only the steps that would climb
            trial = beta - scale.unsqueeze(-1) * step
            logits = (design @ trial.unsqueeze(-1)).squeeze(-1)
            now = _objective(logits, trial, y, w, penalty)
            worse = now > value + 1e-12
            if not bool(worse.any()):
                break
            scale = torch.where(worse, scale / 2, scale)
        beta, value = trial, now
    raise FloatingPointError(f"ridge logistic regression: no convergence in {_MAX_STEPS} steps")


def _objective(logits: Tensor, beta: Tensor, y: Tensor, w: Tensor, penalty: Tensor) -> Tensor:
    nll = torch.nn.functional.binary_cross_entropy_with_logits(logits, y, reduction="none")
    return (w * nll).sum(-1) + 0.5 * (penalty * beta.square()).sum(-1)
