"""Permutation test: what the same pipeline finds when labels are dealt to patients at random."""

from __future__ import annotations

from dataclasses import dataclass

__all__ = ["Permutation"]


@dataclass(frozen=True, kw_only=True)
class Permutation:
    """How the observed AUROC stands among those of permuted labels.

    Attributes
    ----------
    p
        (1 + permutations with at least the observed AUROC) / (1 + k); None where refused.
    k
        Permutations.
    observed
        AUROC of the given labels, over the same folds.
    null_mean, null_sd
        Mean and standard deviation of the AUROC under permuted labels.
    refusal
        Why there is no p; empty where there is one.
    """

    p: float | None
    k: int
    observed: float | None
    null_mean: float | None
    null_sd: float | None
    refusal: str = ""
