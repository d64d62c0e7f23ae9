"""Ridge regressions on one group of bag features each, dense or screened, for many problems."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final, NamedTuple

import torch
from torch import Tensor

__all__ = ["PLAIN", "SCREENS", "Expert", "Screen", "correlations", "fit_expert"]


class Screen(NamedTuple):
    """Features that an expert keeps, and how far it trusts their own correlation.

    A feature is scaled by `|r| ** power`, where r is its correlation with the labels of the rows
    that are fitted to; the `kept` largest remain. Power 0 keeps all, as they are.
    """

    power: int
    kept: int


PLAIN: Final = Screen(0, 0)
# A plain ridge spreads a signal of one feature over thousands; a screened one finds it.
SCREENS: Final = (Screen(2, 256), Screen(4, 16))


@dataclass(frozen=True, kw_only=True)
class Expert:
    """One group's regressions: `scores_qsn` of all rows at every strength, and what gives them."""

    scores_qsn: Tensor
    dual_qsn: Tensor
    x_nf: Tensor
    kept_qf: Tensor | None
    scale_qf: Tensor | None

    def coefficients(self, problem: int, strength: int) -> Tensor:
        """(f) of the group's features; those that are not kept have none."""
        dual = self.dual_qsn[problem, strength]
        if self.kept_qf is None or self.scale_qf is None:
            return dual @ self.x_nf
        kept, scale = self.kept_qf[problem], self.scale_qf[problem]
        beta = torch.zeros(self.x_nf.shape[1], dtype=dual.dtype)
        beta[kept] = (dual @ self.x_nf[:, kept]) * scale.square()
        return beta


def correlations(x_nf: Tensor, residual_qn: Tensor, weight_qn: Tensor) -> Tensor:
    """(q, f) absolute correlation of every feature with the residuals of each problem's rows.

    The SD of a feature is that over all rows, which no label enters; residuals sum to 0.
    """
    sd_f = x_nf.std(dim=0, unbiased=False).clamp_min(1e-12)
    norm_q = residual_qn.square().sum(-1).sqrt() * weight_qn.sum(-1).sqrt()
    scaled_qn = residual_qn / norm_q.clamp_min(1e-12).unsqueeze(-1)
    correlation_qf: Tensor = (scaled_qn @ (x_nf / sd_f)).abs_()
    return correlation_qf


def fit_expert(
    x_nf: Tensor,
    correlation_qf: Tensor,
    residual_qn: Tensor,
    weight_qn: Tensor,
    screen: Screen,
    strengths: Tensor,
) -> Expert:
    """Least squares of the residuals on one group; strengths are in units of the mean row.

    Solved among rows, of which there are few: `(K + strength) a = residual`, where K holds the
    products of rows about the mean of those fitted to, divided by their mean square. Weights are 1
    for those rows and 0 for others, whose residuals are 0.
    """
    kept_qf = scale_qf = None
    if screen.power == 0:
        product_qnn = (x_nf @ x_nf.T).expand(len(residual_qn), -1, -1)
    else:
        top, kept_qf = correlation_qf.topk(min(screen.kept, x_nf.shape[1]), dim=-1)
        scale_qf = top**screen.power
        x_qfn = x_nf.T[kept_qf] * scale_qf.unsqueeze(-1)
        product_qnn = x_qfn.mT @ x_qfn
    inside = weight_qn / weight_qn.sum(-1, keepdim=True)
    to_mean = (product_qnn @ inside.unsqueeze(-1)).squeeze(-1)
    mean = (inside * to_mean).sum(-1)[:, None, None]
    centred = product_qnn - to_mean.unsqueeze(-1) - to_mean.unsqueeze(-2) + mean
    square_q = (inside * centred.diagonal(dim1=-2, dim2=-1)).sum(-1).clamp_min(1e-30)
    centred = centred / square_q[:, None, None]
    fitted = centred * weight_qn.unsqueeze(-1) * weight_qn.unsqueeze(-2)
    duals = []
    for strength in strengths.tolist():
        system = fitted.clone()
        system.diagonal(dim1=-2, dim2=-1).add_(strength)
        factor = torch.linalg.cholesky(system)
        duals.append(torch.cholesky_solve(residual_qn.unsqueeze(-1), factor).squeeze(-1))
    dual_qsn = torch.stack(duals, dim=1)
    about_mean = dual_qsn - inside.unsqueeze(1) * dual_qsn.sum(-1, keepdim=True)
    return Expert(
        scores_qsn=dual_qsn @ centred.mT,
        dual_qsn=about_mean / square_q[:, None, None],
        x_nf=x_nf,
        kept_qf=kept_qf,
        scale_qf=scale_qf,
    )
