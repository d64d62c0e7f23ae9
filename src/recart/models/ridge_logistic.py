"""Ridge logistic regression solved exactly: many problems and strengths, batched Newton."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

from recart.models.ridge_path import ConvexLosses, in_span_of_rows, ridge_path

__all__ = ["fit_ridge_logistic"]


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
    x, basis_qfr = in_span_of_rows(x)
    design = torch.cat((x, torch.ones_like(x[..., :1])), dim=-1)
    start = x.new_zeros(len(x), design.shape[-1])
    beta = ridge_path(
        _Logistic(design, y, w),
        start,
        strength_qs.double(),
        x.shape[-1],
        "ridge logistic regression",
    )
    coefficients, intercepts = beta[..., :-1], beta[..., -1]
    if basis_qfr is not None:
        coefficients = coefficients @ basis_qfr.mT
    return coefficients, intercepts


@dataclass(frozen=True)
class _Logistic(ConvexLosses):
    """Weighted negative log likelihoods; the last column of the design is the intercept's."""

    design: Tensor
    y: Tensor
    w: Tensor

    def value(self, beta_qt: Tensor) -> Tensor:
        logits = self._logits(beta_qt)
        nll = torch.nn.functional.binary_cross_entropy_with_logits(logits, self.y, reduction="none")
        return (self.w * nll).sum(-1)

    def derivatives(self, beta_qt: Tensor) -> tuple[Tensor, Tensor]:
        p = torch.sigmoid(self._logits(beta_qt))
        gradient = (self.design.mT @ (self.w * (p - self.y)).unsqueeze(-1)).squeeze(-1)
        curvature = (self.w * p * (1 - p)).clamp_min(1e-12).unsqueeze(-1)
        return gradient, self.design.mT @ (curvature * self.design)

    def kept(self, keep_q: Tensor) -> _Logistic:
        return _Logistic(self.design[keep_q], self.y[keep_q], self.w[keep_q])

    def _logits(self, beta_qt: Tensor) -> Tensor:
        return (self.design @ beta_qt.unsqueeze(-1)).squeeze(-1)
