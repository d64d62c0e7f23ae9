"""Ridge logistic regression solved exactly, many problems at once (batched Newton)."""

from __future__ import annotations

import torch
from jaxtyping import Float
from torch import Tensor

__all__ = ["fit_ridge_logistic"]

_MAX_STEPS = 100
_TOLERANCE = 1e-9


def fit_ridge_logistic(
    x_qnf: Float[Tensor, "q n f"],
    y_qn: Float[Tensor, "q n"],
    weight_qn: Float[Tensor, "q n"],
    strength_q: Float[Tensor, " q"],
) -> tuple[Float[Tensor, "q f"], Float[Tensor, " q"]]:
    """Minimise `sum_n w_n nll(y_n, x_n b + a) + strength / 2 |b|^2` for every problem `q`.

    The intercept `a` is not penalised. Rows of weight 0 take no part. With fewer rows than
    features the problem is solved in the span of its rows, which is where the solution lies.

    Returns
    -------
    Coefficients (q, f) and intercepts (q), in float64.

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
    present = (w > 0).unsqueeze(-1)
    u_qnr, s_qr, v_qrf = torch.linalg.svd(torch.where(present, x, 0.0), full_matrices=False)
    z_qnr = u_qnr * s_qr.unsqueeze(-2)
    one = torch.ones_like(z_qnr[..., :1])
    design = torch.cat((z_qnr, one), dim=-1)
    r = z_qnr.shape[-1]
    penalty = torch.cat((strength_q.double()[:, None].expand(-1, r), one[:, 0] * 0), dim=-1)
    beta = torch.zeros_like(design[:, 0])

    def objective(b: Tensor) -> Tensor:
        logits = (design @ b.unsqueeze(-1)).squeeze(-1)
        nll = torch.nn.functional.binary_cross_entropy_with_logits(logits, y, reduction="none")
        return (w * nll).sum(-1) + 0.5 * (penalty * b.square()).sum(-1)

    value = objective(beta)
    for _ in range(_MAX_STEPS):
        p = torch.sigmoid((design @ beta.unsqueeze(-1)).squeeze(-1))
        gradient = (design.mT @ (w * (p - y)).unsqueeze(-1)).squeeze(-1) + penalty * beta
        curvature = (w * p * (1 - p)).clamp_min(1e-12).unsqueeze(-1)
        hessian = design.mT @ (curvature * design) + torch.diag_embed(penalty + 1e-12)
        step = torch.linalg.solve(hessian, gradient)
        if (gradient * step).sum(-1).max() < _TOLERANCE:
            coefficients = torch.einsum("qr,qrf->qf", beta[:, :-1], v_qrf)
            return coefficients, beta[:, -1]
        scale = torch.ones_like(value)
        for _ in range(30):  # halve only the steps that would climb
            trial = objective(beta - scale.unsqueeze(-1) * step)
            worse = trial > value + 1e-12
            if not bool(worse.any()):
                break
            scale = torch.where(worse, scale / 2, scale)
        beta = beta - scale.unsqueeze(-1) * step
        value = objective(beta)
    raise FloatingPointError(f"ridge logistic regression: no convergence in {_MAX_STEPS} steps")
