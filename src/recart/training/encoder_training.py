"""How an encoder is trained, as the configuration says it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar

from recart.ranges import ABOVE_ZERO, AT_LEAST_ONE, NOT_NEGATIVE, Range, require
from recart.training.joint_training import JointTraining
from recart.training.pretrained import PretrainedEncoder

__all__ = ["EncoderTraining"]


@dataclass(frozen=True, kw_only=True)
class EncoderTraining:
    """How the encoder is trained.

    `block` cells of one sample stand together in a minibatch, which has as many blocks as
    `batch_size` holds. The KL weight rises linearly from 0 over `warmup_epochs`. A member stops
    after `patience` epochs without a better inner-validation loss, and its best state is kept.
    `clip_norm` is per member. With `record`, a card that holds the cells records a step once and
    replays it, where one process trains. With `start`, members begin from an encoder that was
    trained elsewhere. With `joint`, labels of some training patients enter; without, no label does.
    """

    epochs: int
    batch_size: int
    block: int
    lr: float
    weight_decay: float
    clip_norm: float | None
    warmup_epochs: int
    patience: int
    record: bool = True
    start: PretrainedEncoder | None = None
    joint: JointTraining | None = None

    ranges: ClassVar[Mapping[str, Range]] = {
        **dict.fromkeys(("epochs", "batch_size", "block", "patience"), AT_LEAST_ONE),
        **dict.fromkeys(("lr", "clip_norm"), ABOVE_ZERO),
        **dict.fromkeys(("weight_decay", "warmup_epochs"), NOT_NEGATIVE),
    }

    def __post_init__(self) -> None:
        """Refuse values that nothing can be trained with.

        Raises
        ------
        ValueError
            With all fields that are null or outside of their range, or if a minibatch holds no
            block.
        """
        require(self, self.ranges)
        if self.batch_size < self.block:
            raise ValueError(
                f"batch_size={self.batch_size} holds no block of {self.block} cells: lower "
                "training.block too"
            )
