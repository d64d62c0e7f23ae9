"""How an encoder is trained, as the configuration says it."""

from __future__ import annotations

from dataclasses import dataclass

from recart.training.joint_training import JointTraining
from recart.training.pretrained import PretrainedEncoder

__all__ = ["EncoderTraining"]


@dataclass(frozen=True, kw_only=True)
class EncoderTraining:
    """How the encoder is trained.

    `block` cells of one sample stand together in a minibatch of `batch_size`. The KL weight rises
    linearly from 0 over `warmup_epochs`. A member stops after `patience` epochs without a better
    inner-validation loss, and its best state is kept. `clip_norm` is per member. With `record`, a
    card that holds the cells records a step once and replays it, where one process trains. With
    `start`, members begin from an encoder that was trained elsewhere. With `joint`, labels of some
    training patients enter; without, no label does.
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
