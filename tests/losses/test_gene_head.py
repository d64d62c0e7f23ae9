"""The fused gene head equals the plain formula, in value and gradient."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import pytest
import torch
from torch import Tensor

from recart.contracts import SparseRows
from recart.losses import gene_head
from recart.losses.gene_head import GeneHead, fused_log_prob, plain_log_prob
from recart.losses.negative_binomial import digamma

M, B, G, IN, E = 2, 21, 60, 5, 3
WEIGHTS = ("h_mbi", "weight_mig", "condition_meg", "bias_mg", "log_theta_mkg")
LogProb = Callable[[GeneHead, SparseRows], Tensor]


def _case(
    per_batch: bool, dtype: torch.dtype = torch.float64, count: float = 4.0
) -> tuple[GeneHead, SparseRows, Tensor]:
    g = torch.Generator().manual_seed(5)

    def normal(*shape: int) -> Tensor:
        return torch.randn(shape, generator=g, dtype=torch.float64)

    mask = torch.rand(M, G, generator=g) < 0.9
    rate = torch.rand(M, B, G, generator=g) ** 4 * count
    x = torch.poisson(rate, g).double() * mask.unsqueeze(1)
    x[0, 3] = 0.0  # a cell without counts
    batch = torch.nn.functional.one_hot(torch.randint(E, (M, B), generator=g), E).double()
    batch[1, 2] = torch.tensor([0.2, 0.5, 0.3])  # of unknown batch
    weight = torch.rand(M, B, generator=g).double()
    weight[:, -2:] = 0.0
    head = GeneHead(
        h_mbi=normal(M, B, IN).to(dtype),
        weight_mig=normal(M, IN, G).to(dtype),
        condition_meg=normal(M, E, G).to(dtype),
        bias_mg=normal(M, G).to(dtype),
        log_theta_mkg=normal(M, E if per_batch else 1, G).to(dtype),
        batch_mbe=batch.to(dtype),
        design_mbk=(batch if per_batch else torch.ones(M, B, 1)).to(dtype),
        mask_mg=mask,
    )
    return head, SparseRows.from_dense(x.to(dtype)), weight.to(dtype)


def _fused(weight: Tensor, bfloat16: bool = False) -> LogProb:
    return lambda head, x: fused_log_prob(head, x, weight, bfloat16)


def _value_and_gradients(
    log_prob: LogProb, head: GeneHead, x: SparseRows, weight: Tensor
) -> list[Tensor]:
    leaves = {name: getattr(head, name).clone().requires_grad_() for name in WEIGHTS}
    value = log_prob(replace(head, **leaves), x)
    factor = torch.arange(1, M + 1).to(weight.dtype).unsqueeze(-1)  # one a member is allowed
    (value * weight * factor).sum().backward()
    return [value.detach(), *(leaves[name].grad for name in WEIGHTS)]  # type: ignore[list-item]


@pytest.mark.parametrize("per_batch", [False, True])
@pytest.mark.parametrize("chunk", [1, 4 * G, 10**9])
@pytest.mark.parametrize("count", [4.0, 300.0])
def test_equals_the_plain_formula(
    per_batch: bool, chunk: int, count: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(gene_head, "_CHUNK_VALUES", chunk)
    head, x, weight = _case(per_batch, count=count)
    expected = _value_and_gradients(plain_log_prob, head, x, weight)
    for ours, theirs in zip(
        _value_and_gradients(_fused(weight), head, x, weight), expected, strict=True
    ):
        torch.testing.assert_close(ours, theirs, rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize("per_batch", [False, True])
def test_single_precision_keeps_its_digits(per_batch: bool) -> None:
    head, x, weight = _case(per_batch, count=300.0)
    expected = _value_and_gradients(plain_log_prob, head, x, weight)
    head, x, weight = _case(per_batch, torch.float32, count=300.0)
    got = _value_and_gradients(_fused(weight), head, x, weight)
    for ours, theirs in zip(got, expected, strict=True):
        scale = theirs.abs().max()
        assert (ours.double() - theirs).abs().max() < 1e-5 * scale


def test_bfloat16_products_are_near() -> None:
    head, x, weight = _case(False, torch.float32)
    expected = _value_and_gradients(plain_log_prob, head, x, weight)
    got = _value_and_gradients(_fused(weight, bfloat16=True), head, x, weight)
    assert got[0].dtype == torch.float32
    for ours, theirs in zip(got, expected, strict=True):
        assert (ours - theirs).abs().max() < 0.02 * theirs.abs().max()
        assert not torch.equal(ours, theirs)


def test_a_loss_that_weighs_cells_otherwise_is_refused() -> None:
    head, x, weight = _case(False)
    head = replace(head, h_mbi=head.h_mbi.requires_grad_())
    with pytest.raises(RuntimeError, match="weighs cells otherwise"):
        fused_log_prob(head, x, weight, False).sum().backward()


def test_members_that_rest_get_no_gradient() -> None:
    head, x, weight = _case(False)
    weight[1] = 0.0
    _, *gradients = _value_and_gradients(_fused(weight), head, x, weight)
    for gradient in gradients:
        assert not gradient[1].any()
        assert gradient[0].any()


def test_without_gradients_the_value_is_the_same() -> None:
    head, x, weight = _case(True)
    with torch.no_grad():
        value = fused_log_prob(head, x, weight, False)
    torch.testing.assert_close(value, plain_log_prob(head, x), rtol=1e-12, atol=1e-12)


def test_digamma_keeps_single_precision() -> None:
    z = torch.logspace(-4, 7, 5000, dtype=torch.float64)
    exact = torch.digamma(z)
    ours = digamma(z.float()).double()
    # near its root at 1.46 only the absolute error is small
    assert ((ours - exact).abs() / exact.abs().clamp_min(1.0)).max() < 1e-6
