"""Products of a stack equal torch's, whatever kernel computes them."""

from __future__ import annotations

import pytest
import torch

from recart.products import product, stacked_product

SIZES = [(1, 7, 5, 3), (3, 7, 5, 3), (2, 1, 1, 1), (2, 0, 5, 3), (2, 7, 0, 3), (2, 7, 5, 0)]


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64, torch.bfloat16])
@pytest.mark.parametrize(("m", "b", "i", "o"), SIZES)
@pytest.mark.parametrize("strided", [False, True])
def test_product(m: int, b: int, i: int, o: int, dtype: torch.dtype, strided: bool) -> None:
    g = torch.Generator().manual_seed(0)
    x, w = torch.randn(m, b, i, generator=g).to(dtype), torch.randn(m, i, o, generator=g).to(dtype)
    if strided:
        x, w = (t.transpose(1, 2).contiguous().transpose(1, 2) for t in (x, w))
    torch.testing.assert_close(product(x, w), torch.bmm(x, w), rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize(("m", "b", "i", "o"), SIZES)
def test_gradients(m: int, b: int, i: int, o: int, dtype: torch.dtype) -> None:
    g = torch.Generator().manual_seed(0)
    leaves = [torch.randn(m, b, i, generator=g), torch.randn(m, i, o, generator=g)]
    weight = torch.randn(m, b, o, generator=g).to(dtype)
    got, expected = [], []
    for multiply, gradients in ((stacked_product, got), (torch.bmm, expected)):
        own = [leaf.to(dtype).requires_grad_() for leaf in leaves]
        (multiply(*own) * weight).sum().backward()
        gradients += [leaf.grad for leaf in own]
    for one, other in zip(got, expected, strict=True):
        torch.testing.assert_close(one, other, rtol=1e-5, atol=1e-5)


def test_members_do_not_depend_on_their_company() -> None:
    """Bit by bit: the same kernel on the same shapes."""
    g = torch.Generator().manual_seed(0)
    x, w = torch.randn(4, 33, 20, generator=g), torch.randn(4, 20, 50, generator=g)
    together = product(x, w)
    for member in range(4):
        own = slice(member, member + 1)
        assert torch.equal(product(x[own], w[own]), together[own])
