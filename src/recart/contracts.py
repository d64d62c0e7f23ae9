"""The words everyone uses: the axis legend and the objects that pass between the layers.

Axes stand as suffixes of names (`x_mbg`) and in jaxtyping signatures (`Float[Tensor, "m b g"]`):

    m  member (one model of the stack)     p  patient          k  prototype
    b  cell in a minibatch                 s  sample           l  latent dimension
    c  cell of a bag or of the cohort      g  gene             h  hidden unit
    n  bag (the unit of prediction)        a  protein (ADT)    t  receptor dimension
    f  bag feature                         e  batch category
"""

from __future__ import annotations

from dataclasses import asdict, dataclass, fields
from typing import Any

import torch
from jaxtyping import Bool, Float
from torch import Tensor

__all__ = ["CellBatch", "FeatureSpec", "Member"]


@dataclass(frozen=True, kw_only=True)
class Member:
    """One model of the stack: which patients it may see, and its seed.

    Patients are row numbers of the store's patient table. The three sets are disjoint; nothing
    that is fitted for this member may read a patient of `held_out`.
    """

    name: str
    fold: int
    repeat: int
    seed: int
    train: tuple[int, ...]
    validation: tuple[int, ...]
    held_out: tuple[int, ...]

    def __post_init__(self) -> None:
        sets = [set(self.train), set(self.validation), set(self.held_out)]
        if sum(map(len, sets)) != len(set.union(*sets)):
            raise ValueError(
                f"member {self.name}: a patient is in two of train, validation, held_out"
            )

    def to_dict(self) -> dict[str, Any]:
        """Plain Python, for checkpoints."""
        return {
            key: list(value) if isinstance(value, tuple) else value
            for key, value in asdict(self).items()
        }


@dataclass(frozen=True, kw_only=True)
class FeatureSpec:
    """What one member was fitted on: the names of its inputs. All plain Python.

    `batches` are the library batches of its training patients; `patients` the pseudonyms of every
    patient that any fitted part of it has seen.
    """

    genes: tuple[str, ...]
    proteins: tuple[str, ...]
    receptor_dim: int
    batches: tuple[str, ...]
    patients: tuple[str, ...]


@dataclass(kw_only=True)
class CellBatch:
    """One minibatch for every member of a stack. Missing modalities are masked, never zero-coded.

    Attributes
    ----------
    x_mbg
        RNA of each member's own genes: counts, or normalised values under a normal likelihood.
    x_mask_mg
        False for genes that the data at hand lack (a new panel); all True in training.
    y_mba, y_mask_mba
        Raw protein counts, and whether the protein was measured in the cell's sample.
    r_mbt, r_mask_mb
        Receptor embedding, and whether the cell has one.
    r_measured_mb
        Whether receptors were sequenced in the cell's sample at all.
    batch_mbe
        One-hot batch category of the member; an all-zero row where the batch is unknown to it.
    weight_mb
        0 for padding rows, 1 for cells.
    active_m
        Whether the member takes this step.
    """

    x_mbg: Float[Tensor, "m b g"]
    x_mask_mg: Bool[Tensor, "m g"]
    y_mba: Float[Tensor, "m b a"]
    y_mask_mba: Bool[Tensor, "m b a"]
    r_mbt: Float[Tensor, "m b t"]
    r_mask_mb: Bool[Tensor, "m b"]
    r_measured_mb: Bool[Tensor, "m b"]
    batch_mbe: Float[Tensor, "m b e"]
    weight_mb: Float[Tensor, "m b"]
    active_m: Bool[Tensor, " m"]

    def to(self, device: torch.device | str) -> CellBatch:
        """The same batch on another device."""
        return CellBatch(**{f.name: getattr(self, f.name).to(device) for f in fields(self)})
