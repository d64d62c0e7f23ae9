"""Kullback-Leibler divergences and prior terms of the encoder's objective."""

from __future__ import annotations

import math

import torch
from torch import Tensor

__all__ = ["kl_normal", "kl_standard_normal", "log_standard_lognormal"]


def kl_normal(mean: Tensor, scale: Tensor, prior_mean: Tensor, prior_scale: Tensor) -> Tensor:
    """Elementwise KL(N(mean, scale^2) || N(prior_mean, prior_scale^2))."""
    ratio = (scale / prior_scale).square()
    shift = ((mean - prior_mean) / prior_scale).square()
    return 0.5 * (ratio + shift - 1 - ratio.log())


def kl_standard_normal(mean: Tensor, variance: Tensor) -> Tensor:
    """Elementwise KL(N(mean, variance) || N(0, 1))."""
    return 0.5 * (variance + mean.square() - 1 - variance.log())


def log_standard_lognormal(log_value: Tensor) -> Tensor:
    """Log density of LogNormal(0, 1) at `exp(log_value)`."""
    return -log_value - 0.5 * math.log(2 * math.pi) - 0.5 * torch.square(log_value)
