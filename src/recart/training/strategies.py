"""Lightning strategies for several devices: one that starts the processes, one they train with."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, cast, final

import torch
from lightning.fabric.plugins.environments.torchelastic import TorchElasticEnvironment
from lightning.pytorch import Trainer
from lightning.pytorch.strategies import DDPStrategy, SingleDeviceStrategy
from lightning.pytorch.strategies.launchers.launcher import _Launcher

from recart.training.ranks import Ranks

__all__ = ["OverDevices", "averaged_by_ray", "averaged_gradients"]


@final
class OverDevices(SingleDeviceStrategy):
    """Leaves training to processes, one a device; here nothing is computed.

    Lightning's own launchers would run the user's script again in every process, or send the
    trainer with its trackers there.
    """

    def __init__(self, ranks: Ranks) -> None:
        super().__init__(torch.device("cpu"))
        self._ranks = ranks

    def _configure_launcher(self) -> None:
        self._launcher = _RankLauncher(self._ranks)


@final
class _RankLauncher(_Launcher):
    """What `Trainer.fit` calls in place of fitting here."""

    def __init__(self, ranks: Ranks) -> None:
        self._ranks = ranks

    @property
    def is_interactive_compatible(self) -> bool:
        """Notebooks too: the processes do not run the script again."""
        return True

    def launch(
        self,
        function: Callable[..., Any],  # noqa: ARG002 -- Lightning's, which would fit here
        *arguments: Any,
        trainer: Trainer | None = None,
        **_: Any,
    ) -> None:
        """Fit in the processes; the arguments are those of `Trainer.fit`."""
        module, train, validation = arguments[:3]
        loggers = [] if trainer is None else trainer.loggers
        self._ranks.fit(module, train.dataset, validation.dataset, loggers)

    def kill(self, signum: Any) -> None:
        """Nothing is left: the processes end with `launch`, however that ends."""


def averaged_gradients() -> DDPStrategy:
    """DistributedDataParallel in a process of a group that exists already.

    Absent modalities have parameters without elements, which take no part in the loss.
    """
    return DDPStrategy(
        cluster_environment=TorchElasticEnvironment(),
        find_unused_parameters=True,
        forward_sync_buffers=False,  # priors and masks, the same everywhere and never changed
    )


def averaged_by_ray() -> DDPStrategy:
    """The same, in a worker of Ray Train's, on the device that it gives."""
    from ray.train.lightning import RayDDPStrategy, RayLightningEnvironment

    own: Any = RayDDPStrategy  # without types
    strategy: DDPStrategy = own(
        cluster_environment=cast("Any", RayLightningEnvironment)(),
        find_unused_parameters=True,
        forward_sync_buffers=False,
    )
    return strategy
