"""What of the labels a linear score can explain: their residuals under a model without features."""

from __future__ import annotations

from torch import Tensor

__all__ = ["null_residuals"]


def null_residuals(labels: Tensor, weight_qn: Tensor) -> Tensor:
    """(q, n) residuals of each problem's rows of weight above 0, summing to 0; 0 in other rows.

    Labels (q, n) are classes or ordered levels as numbers, and leave their distance from the mean.
    Labels (q, n, 2) are times and events (1) or censorings (0): what is left is the event minus
    the cumulated hazard of all rows (Nelson, 1969; Aalen, 1978) up to the time, the martingale
    residual (Therneau et al., 1990), which is the score of Cox's model where all coefficients
    are 0.
    """
    inside = (weight_qn > 0).double()
    count = inside.sum(-1, keepdim=True)
    if labels.ndim == weight_qn.ndim:
        value = labels.double()
        return (value - (inside * value).sum(-1, keepdim=True) / count) * inside
    time, event = labels[..., 0].double(), labels[..., 1].double() * inside
    # rows at risk at each row's own time; ties of events share their risk set
    at_risk = (inside.unsqueeze(-2) * (time.unsqueeze(-2) >= time.unsqueeze(-1))).sum(-1)
    hazard = event / at_risk.clamp_min(1.0)
    before = (time.unsqueeze(-2) <= time.unsqueeze(-1)).double()
    residual = event - (before * hazard.unsqueeze(-2)).sum(-1)
    residual = residual * inside
    return (residual - residual.sum(-1, keepdim=True) / count) * inside
