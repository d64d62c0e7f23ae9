"""The words everyone uses: the axis legend and the objects that pass between the layers.

Axes stand as suffixes of names (`x_mbg`) and in jaxtyping signatures (`Float[Tensor, "m b g"]`):

    m  member (one model of the stack)     p  patient          k  prototype
    b  cell in a minibatch                 s  sample           l  latent dimension
    c  cell of a bag or of the cohort      g  gene             h  hidden unit
    n  bag (the unit of prediction)        a  protein (ADT)    t  receptor dimension
    f  bag feature                         e  batch category
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass, field, fields
from functools import cached_property
from typing import Any

import numpy as np
import torch
from jaxtyping import Bool, Float, Int
from scipy import sparse
from torch import Tensor

__all__ = ["CellBatch", "FeatureSpec", "Member", "MemberSettings", "SparseRows"]


@dataclass(frozen=True, kw_only=True)
class MemberSettings:
    """A member's own hyper-parameters; None is the recipe's value.

    `kl_weight` multiplies the KL divergence of `z`, beside the warm-up. `latent` is how many
    dimensions of `z` the member uses, at most the recipe's.

    Raises
    ------
    ValueError
        If a value is out of its range.
    """

    lr: float | None = None
    kl_weight: float | None = None
    dropout: float | None = None
    latent: int | None = None

    def __post_init__(self) -> None:
        for name, value, sound in (
            ("lr", self.lr, self.lr is None or self.lr > 0),
            ("kl_weight", self.kl_weight, self.kl_weight is None or self.kl_weight >= 0),
            ("dropout", self.dropout, self.dropout is None or 0 <= self.dropout < 1),
            ("latent", self.latent, self.latent is None or self.latent >= 1),
        ):
            if not sound:
                raise ValueError(f"{name} of a member can't be {value}")


@dataclass(frozen=True, kw_only=True)
class Member:
    """One model of the stack: which patients it may see, its seed, and settings of its own.

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
    settings: MemberSettings = field(default_factory=MemberSettings)

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
    patient that any fitted part of it has seen. `timepoints` are those of the training patients in
    the order of their median days, `stages` their numbers in that order (equal days, equal stages;
    all 0 where a time point has no day). `gene_ids` are the Ensembl ids of `genes`, empty where not
    known; () in files of before.
    """

    genes: tuple[str, ...]
    proteins: tuple[str, ...]
    receptor_dim: int
    batches: tuple[str, ...]
    patients: tuple[str, ...]
    timepoints: tuple[str, ...] = ()
    stages: tuple[int, ...] = ()
    gene_ids: tuple[str, ...] = ()


@dataclass(kw_only=True)
class SparseRows:
    """The non-zeros of a (m, b, g) array, in order of rows.

    Entries of value 0 may stand among them, also at the place of another.
    A row is one cell of one member (`m * b + b`), a column one gene of one member (`m * g + g`):
    the array is block-diagonal over members. `n` runs over non-zeros.

    Attributes
    ----------
    shape
        (m, b, g).
    value_n, row_n, column_n
        The non-zeros and where they stand.
    row_start
        Where each row's non-zeros begin, and after the last row their number.
    """

    shape: tuple[int, int, int]
    value_n: Float[Tensor, " n"]
    row_n: Int[Tensor, " n"]
    column_n: Int[Tensor, " n"]
    row_start: Int[Tensor, " r"]

    @classmethod
    def from_csr(cls, rows: Sequence[sparse.csr_matrix], width: int) -> SparseRows:
        """One matrix (cells, g) a member, padded with empty rows to `width` cells."""
        members, genes = len(rows), rows[0].shape[1]
        lengths = np.zeros((members, width), dtype=np.int64)
        for own, matrix in zip(lengths, rows, strict=True):
            own[: matrix.shape[0]] = np.diff(matrix.indptr)
        start = np.concatenate(([0], np.cumsum(lengths)))
        column = np.concatenate([own.indices + m * genes for m, own in enumerate(rows)])
        value = np.concatenate([own.data for own in rows]).astype(np.float32, copy=False)
        return cls._indexed((members, width, genes), torch.from_numpy(value), column, start)

    @classmethod
    def from_dense(cls, x_mbg: Float[Tensor, "m b g"]) -> SparseRows:
        """The non-zeros of a dense array."""
        members, width, genes = x_mbg.shape
        row, gene = np.nonzero(x_mbg.reshape(-1, genes).cpu().numpy())
        start = np.concatenate(([0], np.cumsum(np.bincount(row, minlength=members * width))))
        column = row // width * genes + gene
        return cls._indexed((members, width, genes), x_mbg[x_mbg != 0].cpu(), column, start)

    @classmethod
    def _indexed(
        cls,
        shape: tuple[int, int, int],
        value_n: Tensor,
        column: np.ndarray[Any, Any],
        start: np.ndarray[Any, Any],
    ) -> SparseRows:
        members, width, _ = shape

        def tensor(values: np.ndarray[Any, Any]) -> Tensor:
            return torch.from_numpy(values.astype(np.int64, copy=False))

        return cls(
            shape=shape,
            value_n=value_n,
            row_n=tensor(np.repeat(np.arange(members * width), np.diff(start))),
            column_n=tensor(column),
            row_start=tensor(start),
        )

    @cached_property
    def by_column(self) -> tuple[Tensor, Tensor, Tensor]:
        """The non-zeros in order of columns, made when first asked for.

        Their positions in `value_n`, their rows, and where each column's begin.
        """
        members, width, genes = self.shape
        if self.value_n.is_cpu:  # a sort by counting, which torch has not
            position = np.arange(len(self.value_n), dtype=np.int32)
            rows = (position, self.column_n.numpy(), self.row_start.numpy())
            by_row = sparse.csr_matrix(rows, shape=(members * width, members * genes), copy=False)
            by_column = by_row.tocsc()
            order, row, start = (
                torch.from_numpy(part.astype(np.int64, copy=False))
                for part in (by_column.data, by_column.indices, by_column.indptr)
            )
            return order, row, start
        column, order = torch.sort(self.column_n, stable=True)
        columns = torch.arange(members * genes + 1, device=column.device)
        return order, self.row_n[order], torch.searchsorted(column, columns)

    @property
    def gene_n(self) -> Int[Tensor, " n"]:
        """The gene of each non-zero, within its member."""
        return self.column_n % self.shape[2]

    def row_sums(self, value_n: Float[Tensor, " n"]) -> Float[Tensor, "m b"]:
        """Sums over genes of values that stand where the non-zeros stand."""
        sums = torch.segment_reduce(value_n, "sum", offsets=self.row_start, initial=0)
        return sums.view(self.shape[:2])

    def dense(self) -> Float[Tensor, "m b g"]:
        """The array with its zeros."""
        out = self.value_n.new_zeros(self.shape)
        place_n = self.row_n * self.shape[2] + self.gene_n
        out.view(-1).scatter_add_(0, place_n, self.value_n)  # a place may be given as zero besides
        return out

    def to(self, device: torch.device | str) -> SparseRows:
        """The same rows on another device."""
        return SparseRows(**_moved(self, device))


@dataclass(kw_only=True)
class CellBatch:
    """One minibatch for every member of a stack. Missing modalities are masked, never zero-coded.

    Attributes
    ----------
    x
        RNA of each member's own genes: counts, or normalised values under a normal likelihood.
        There are no entries of masked genes.
    x_mask_mg
        False for genes that the data at hand lack (a new panel), that are hidden in this step, or
        that pad a member of fewer genes than others of its stack.
    x_seen_mb
        False for cells whose RNA is hidden in this step, and whose entries are 0 then.
    y_mba, y_mask_mba
        Raw protein counts, and whether the protein was measured in the cell's sample.
    r_mbt, r_mask_mb
        Receptor embedding, and whether the cell has one.
    r_measured_mb
        Whether receptors were sequenced in the cell's sample at all.
    r_weight_mb
        Weight of the cell's receptor where each clone of a sample counts once; 0 without one. Their
        sum over a sample is its number of cells with a receptor.
    batch_mbe
        One-hot batch category of the member; an all-zero row where the batch is unknown to it.
    weight_mb
        0 for padding rows, 1 for cells.
    active
        Whether each member takes this step.
    """

    x: SparseRows
    x_mask_mg: Bool[Tensor, "m g"]
    x_seen_mb: Bool[Tensor, "m b"]
    y_mba: Float[Tensor, "m b a"]
    y_mask_mba: Bool[Tensor, "m b a"]
    r_mbt: Float[Tensor, "m b t"]
    r_mask_mb: Bool[Tensor, "m b"]
    r_measured_mb: Bool[Tensor, "m b"]
    r_weight_mb: Float[Tensor, "m b"]
    batch_mbe: Float[Tensor, "m b e"]
    weight_mb: Float[Tensor, "m b"]
    active: tuple[bool, ...]

    def to(self, device: torch.device | str) -> CellBatch:
        """The same batch on another device."""
        return CellBatch(**_moved(self, device))


def _moved(batch: CellBatch | SparseRows, device: torch.device | str) -> dict[str, Any]:
    values = {f.name: getattr(batch, f.name) for f in fields(batch)}
    return {
        name: value if isinstance(value, tuple) else value.to(device)
        for name, value in values.items()
    }
