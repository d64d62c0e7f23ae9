"""Linear layer, softmax and negative binomial as one function that never keeps cells x genes.

The gene head costs most of a training step. Here the likelihood and its gradient are taken chunk of
cells by chunk of cells while it is in cache, terms in the count only at non-zeros. `plain_log_prob`
is the same in one formula: the reference that tests compare with.

With `q = mu / (theta + eps)` and `v = q / (1 + q)`, up to terms in `x`,
`log NB = -theta log(1 + q)`, its derivative by `log mu` is `-theta v` and by `theta`
`v theta / (theta + eps) - log(1 + q)`: differences of large logarithms do not occur.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from recart.contracts import SparseRows
from recart.losses.negative_binomial import EPS, digamma, log_nb_sum
from recart.products import product

__all__ = ["GeneHead", "fused_log_prob", "masked_softmax", "plain_log_prob"]

_CHUNK_VALUES = 512 * 1024  # of cells x genes on a CPU: the buffers stay in cache
_CHUNK_VALUES_DEVICE = 512 * 1024 * 1024  # elsewhere few large kernels


@dataclass(frozen=True, kw_only=True)
class GeneHead:
    """The weights of the head, and what it is given.

    `design_mbk` picks each cell's row of `log_theta_mkg`: ones for a dispersion per gene, the
    batch covariate for one per gene and batch. `mask_mg` is False for genes that are not there.
    """

    h_mbi: Float[Tensor, "m b i"]
    weight_mig: Float[Tensor, "m i g"]
    condition_meg: Float[Tensor, "m e g"]
    bias_mg: Float[Tensor, "m g"]
    log_theta_mkg: Float[Tensor, "m k g"]
    batch_mbe: Float[Tensor, "m b e"]
    design_mbk: Float[Tensor, "m b k"]
    mask_mg: Bool[Tensor, "m g"]


def masked_softmax(
    logits_mbg: Float[Tensor, "m b g"], mask_mg: Bool[Tensor, "m g"]
) -> Float[Tensor, "m b g"]:
    """Softmax over the genes that are there; the others are 0."""
    # the least finite value: with every gene masked the softmax of -inf would be NaN
    least = torch.finfo(logits_mbg.dtype).min
    mask = mask_mg.unsqueeze(1)
    return torch.softmax(logits_mbg.masked_fill(~mask, least), dim=-1) * mask


def plain_log_prob(head: GeneHead, x: SparseRows) -> Float[Tensor, "m b"]:
    """Log NB of the counts of each cell given its profile times its library size."""
    logits = torch.baddbmm(head.bias_mg.unsqueeze(1), head.h_mbi, head.weight_mig)
    logits = logits + torch.bmm(head.batch_mbe, head.condition_meg)
    mu = x.row_sums(x.value_n).unsqueeze(-1) * masked_softmax(logits, head.mask_mg)
    theta = torch.exp(torch.bmm(head.design_mbk, head.log_theta_mkg))
    return log_nb_sum(x.dense(), mu, theta, head.mask_mg)


def fused_log_prob(
    head: GeneHead, x: SparseRows, weight_mb: Float[Tensor, "m b"], bfloat16: bool
) -> Float[Tensor, "m b"]:
    """`plain_log_prob`, with its gradient taken in the same pass.

    The gradient is that of the mean of each member's cells weighted by `weight_mb` and holds for
    any multiple of it per member; `bfloat16` rounds the inputs of the products.

    Raises
    ------
    RuntimeError
        In `backward`, where the loss does not weigh a member's cells in the ratio of `weight_mb`.
    """
    log_prob: Tensor = _FusedGeneHead.apply(  # type: ignore[no-untyped-call]
        head.h_mbi,
        head.weight_mig,
        head.condition_meg,
        head.bias_mg,
        head.log_theta_mkg,
        head,
        x,
        weight_mb,
        torch.bfloat16 if bfloat16 else head.h_mbi.dtype,
        torch.is_grad_enabled(),  # `forward` below runs with gradients off
    )
    return log_prob


class _FusedGeneHead(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any,
        h: Tensor,
        weight: Tensor,
        condition: Tensor,
        bias: Tensor,
        log_theta: Tensor,
        head: GeneHead,
        x: SparseRows,
        weight_mb: Tensor,
        precision: torch.dtype,
        wanted: bool,
    ) -> Tensor:
        log_prob = torch.empty_like(weight_mb)
        low_h, low_weight = h.to(precision), weight.to(precision)
        gradients = None
        if wanted:
            gradients = _Gradients(
                h=torch.empty_like(h),
                weight=torch.zeros_like(weight),
                condition=torch.zeros_like(condition),
                bias=torch.zeros_like(bias),
                log_theta=torch.zeros_like(log_theta),
            )
        for members, rows in _chunks(x.shape, h.device):
            chunk = _Chunk(head, x, weight_mb, members, rows)
            own_h, own_weight = low_h[members, rows], low_weight[members]
            logits = product(own_h, own_weight).to(h.dtype)
            by_logits = chunk.run(logits, log_prob, gradients)
            if gradients is not None:
                # while they are in cache; kept for all cells, they would be the largest array
                low = by_logits.to(precision)
                gradients.h[members, rows] = product(low, own_weight.transpose(1, 2)).to(h.dtype)
                gradients.weight[members] += product(own_h.transpose(1, 2), low)
                gradients.condition[members] += torch.bmm(chunk.batch.transpose(1, 2), by_logits)
                del low
            del chunk, logits, by_logits
        ctx.weight_mb, ctx.gradients = weight_mb, gradients
        return log_prob

    @staticmethod
    def backward(ctx: Any, *upstream: Tensor) -> tuple[Tensor | None, ...]:
        weight_mb, given = ctx.weight_mb, upstream[0]
        # not kept: what nobody else holds becomes the parameters' gradient without a copy
        own, ctx.gradients = ctx.gradients, None
        gradients = (own.h, own.weight, own.condition, own.bias, own.log_theta)
        del own
        square = weight_mb.square().sum(-1).clamp_min(torch.finfo(weight_mb.dtype).tiny)
        scale_m = (given * weight_mb).sum(-1) / square
        if given.device.type == "cpu":  # elsewhere the question would wait for the device
            apart = (given - scale_m.unsqueeze(-1) * weight_mb).abs().max()
            if apart > 1e-4 * given.abs().max():
                raise RuntimeError(
                    "the loss weighs cells otherwise than the weights given to fused_log_prob"
                )
        for gradient in gradients:
            gradient.mul_(scale_m.view(-1, *(1,) * (gradient.ndim - 1)))
        return (*gradients, None, None, None, None, None)


@dataclass(frozen=True, kw_only=True)
class _Gradients:
    """What chunks add to."""

    h: Float[Tensor, "m b i"]
    weight: Float[Tensor, "m i g"]
    condition: Float[Tensor, "m e g"]
    bias: Float[Tensor, "m g"]
    log_theta: Float[Tensor, "m k g"]


def _chunks(shape: tuple[int, int, int], device: torch.device) -> Iterator[tuple[slice, slice]]:
    """Members and cells taken at once; several members only with all of their cells."""
    members, width, genes = shape
    if device.type == "cpu":
        together, step = 1, max(1, _CHUNK_VALUES // max(1, genes))
    else:
        together, step = max(1, _CHUNK_VALUES_DEVICE // max(1, width * genes)), width
    for first in range(0, members, together):
        own = slice(first, min(first + together, members))
        for start in range(0, width, step):
            yield own, slice(start, min(start + step, width))


class _Chunk:
    """A chunk of cells: its likelihood, and what it adds to the gradients."""

    def __init__(
        self,
        head: GeneHead,
        x: SparseRows,
        weight_mb: Tensor,
        members: slice,
        rows: slice,
    ) -> None:
        _, width, self.genes = x.shape
        self.members, self.rows = members, rows
        self.batch, self.condition = head.batch_mbe[members, rows], head.condition_meg[members]
        self.design, self.w = head.design_mbk[members, rows], weight_mb[members, rows]
        self.bias, self.mask = head.bias_mg[members], head.mask_mg[members]
        self.log_theta = head.log_theta_mkg[members]
        first = members.start * width + rows.start
        last = (members.stop - 1) * width + rows.stop
        own = slice(None)
        self.row_start = x.row_start[first : last + 1]
        if last - first < x.shape[0] * width:  # reading the bounds would wait for a device
            own = slice(int(x.row_start[first]), int(x.row_start[last]))
            self.row_start = self.row_start - own.start
        self.x_n, self.row_n = x.value_n[own], x.row_n[own] - first
        # columns of this chunk's members, and places in an array of the chunk's cells x genes
        self.column_n = x.column_n[own] - members.start * self.genes
        self.flat_n = self.row_n * self.genes + self.column_n % self.genes
        self.library = self._row_sums(self.x_n).unsqueeze(-1)

    def run(self, logits: Tensor, log_prob_mb: Tensor, gradients: _Gradients | None) -> Tensor:
        """Write the likelihoods of the chunk; add to the gradients where they are given.

        `logits` are the products without bias and covariate; their memory is used again. Returns
        the derivative by them where gradients are given.
        """
        if self.log_theta.shape[1] == 1:
            theta = torch.exp(self.log_theta)
        else:
            theta = torch.exp(torch.bmm(self.design, self.log_theta))
        floored = theta + EPS
        p = self._profile(logits)
        q = torch.mul(p, floored.reciprocal(), out=logits).mul_(self.library)
        log_1q = torch.log1p(q)
        log_prob = -self._over_genes(log_1q, theta)
        v = q.div_(q + 1)
        # at non-zeros
        x_n, theta_n, floored_n = self.x_n, self._at(theta), self._at(floored)
        mu_n = self._at(p) * self.library.view(-1).index_select(0, self.row_n)
        rising_n = torch.lgamma(x_n + theta_n) - self._of_theta(torch.lgamma, theta, theta_n)
        rising_n -= torch.lgamma(x_n + 1)
        ratio_n = torch.log(mu_n + EPS) - torch.log(floored_n) - self._at(log_1q)
        log_prob_mb[self.members, self.rows] = log_prob + self._row_sums(x_n * ratio_n + rising_n)
        if gradients is None:
            return logits
        r_n = (1 - self._at(v)) / floored_n  # 1 / (theta + mu + eps)
        slope_n = digamma(x_n + theta_n) - self._of_theta(torch.digamma, theta, theta_n)
        by_log_theta_n = (slope_n - x_n * r_n) * theta_n
        gradients.log_theta[self.members] += self._by_log_theta(theta, v, log_1q, by_log_theta_n)
        by_logits = v.mul_(-theta)
        by_logits.view(-1).scatter_add_(0, self.flat_n, x_n * mu_n * (1 / (mu_n + EPS) - r_n))
        by_logits.addcmul_(p, by_logits.sum(-1, keepdim=True), value=-1)
        by_logits.mul_(self.w.unsqueeze(-1))
        gradients.bias[self.members] += by_logits.sum(1)
        return by_logits

    def _profile(self, logits: Tensor) -> Tensor:
        """(m b g) share of each gene."""
        # finite: with every gene masked the softmax of -inf would be NaN; their library is 0
        bias = self.bias.masked_fill(~self.mask, torch.finfo(self.bias.dtype).min / 4)
        logits.add_(bias.unsqueeze(1))
        if self.condition.shape[1]:
            logits.baddbmm_(self.batch, self.condition)
        return torch.softmax(logits, dim=-1)

    @staticmethod
    def _over_genes(values: Tensor, theta: Tensor) -> Tensor:
        """(m b) sum over genes of values times inverse dispersion."""
        if theta.shape[1] == 1:
            return torch.bmm(values, theta.transpose(1, 2)).squeeze(-1)
        return (values * theta).sum(-1)

    def _by_log_theta(
        self, theta: Tensor, v: Tensor, log_1q: Tensor, at_nonzero_n: Tensor
    ) -> Tensor:
        """(m k g) derivative by the logarithm of the inverse dispersion."""
        weighted = (self.design * self.w.unsqueeze(-1)).transpose(1, 2)
        slope = theta * theta / (theta + EPS)
        if self.log_theta.shape[1] > 1:
            by_theta = (v * slope).sub_(log_1q * theta)
            by_theta.view(-1).scatter_add_(0, self.flat_n, at_nonzero_n)
            return torch.bmm(weighted, by_theta)
        total = slope * torch.bmm(weighted, v) - theta * torch.bmm(weighted, log_1q)
        at_nonzero_n = at_nonzero_n * self.w.reshape(-1).index_select(0, self.row_n)
        total.view(-1).scatter_add_(0, self.column_n, at_nonzero_n)
        return total

    def _of_theta(
        self, function: Callable[[Tensor], Tensor], theta: Tensor, theta_n: Tensor
    ) -> Tensor:
        """A function of each non-zero's inverse dispersion, evaluated where there are fewest."""
        return self._at(function(theta)) if theta.shape[1] == 1 else function(theta_n)

    def _at(self, values: Tensor) -> Tensor:
        """Values of the chunk, or of each gene, at the non-zeros."""
        # ten times as fast as indexing with brackets on a CPU
        place_n = self.column_n if values.shape[1] == 1 else self.flat_n
        return values.reshape(-1).index_select(0, place_n)

    def _row_sums(self, values_n: Tensor) -> Tensor:
        """(m b) sums over the non-zeros of each cell."""
        sums = torch.segment_reduce(values_n, "sum", offsets=self.row_start, initial=0)
        return sums.view(self.w.shape)
