"""What a device can do at most: rates of matrix products and of copies, measured."""

from __future__ import annotations

import time
from collections.abc import Callable

import torch

__all__ = ["FLOAT", "ceilings", "per_second"]

FLOAT = 4  # bytes


def per_second(work: Callable[[], object], device: torch.device, repeats: int) -> float:
    """Calls a second, by the card's own clock where there is one."""
    for _ in range(3):
        work()
    if device.type != "cuda":
        start = time.perf_counter()
        for _ in range(repeats):
            work()
        return repeats / (time.perf_counter() - start)
    first, last = (torch.cuda.Event(enable_timing=True) for _ in range(2))
    torch.cuda.synchronize()
    first.record()
    for _ in range(repeats):
        work()
    last.record()
    torch.cuda.synchronize()
    return repeats / (first.elapsed_time(last) / 1000)


def ceilings(device: torch.device) -> dict[str, float]:
    """FLOP a second of square products, and bytes a second of a copy (read and written)."""
    large = device.type == "cuda"
    side, values = (8192, 2**28) if large else (512, 2**22)
    found = {}
    for name, dtype, tf32 in (
        ("bfloat16", torch.bfloat16, True),
        ("float32 by TF32", torch.float32, True),
        ("float32", torch.float32, False),
    ):
        torch.set_float32_matmul_precision("high" if tf32 else "highest")
        a, b = (torch.randn(side, side, device=device, dtype=dtype) for _ in range(2))
        out = torch.empty_like(a)
        rate = per_second(lambda a=a, b=b, out=out: torch.mm(a, b, out=out), device, 30)
        found[name] = 2 * side**3 * rate
    torch.set_float32_matmul_precision("high")
    source = torch.zeros(values, device=device)
    target = torch.empty_like(source)
    rate = per_second(lambda: target.copy_(source), device, 30)
    found["copy"] = 2 * values * FLOAT * rate
    return found
