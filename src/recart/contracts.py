"""The words everyone uses: the axis legend and the objects that pass between the layers.

Axes stand as suffixes of names (`x_mbg`) and in jaxtyping signatures (`Float[Tensor, "m b g"]`):

    m  member (one model of the stack)     p  patient          k  prototype
    b  cell in a minibatch                 s  sample           l  latent dimension
    c  cell of a bag or of the cohort      g  gene             h  hidden unit
    n  bag (the unit of prediction)        a  protein (ADT)    t  receptor dimension
    f  bag feature                         e  batch category
"""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

from jaxtyping import Bool, Float, Int
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
            raise ValueError(f"member {self.name}: a patient is in two of train, validation, held_out")

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

    `weight_mb` is 0 for padding rows and 1 for cells. `batch_mbe` is a distribution over batch
    categories: one-hot where the batch is known, uniform where it is not.
    """

    x_mbg: Float[Tensor, "m b g"]
    y_mba: Float[Tensor, "m b a"]
    y_mask_mba: Bool[Tensor, "m b a"]
    r_mbt: Float[Tensor, "m b t"]
    r_mask_mb: Bool[Tensor, "m b"]
    batch_mbe: Float[Tensor, "m b e"]
    weight_mb: Float[Tensor, "m b"]
    row_mb: Int[Tensor, "m b"]
