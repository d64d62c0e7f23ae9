"""Composes configurations outside the entry points: in tests, notebooks and sweeps."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from omegaconf import DictConfig
from omegaconf.errors import OmegaConfBaseException

from recart.config.schema import register
from recart.problems import InputError, Problem

__all__ = ["again", "compose", "config_folder", "run_folder"]


def config_folder() -> Path:
    """The folder `configs` of the checkout that recart is installed from.

    Raises
    ------
    InputError
        If recart was installed without its checkout.
    """
    folder = Path(__file__).parents[3] / "configs"
    if not (folder / "train.yaml").is_file():
        problem = Problem(
            code="E-CONFIG-013",
            file="configs/train.yaml",
            what="the configuration files of recart are not where recart is installed from",
            mend="install from a checkout: git clone, then make install",
        )
        raise InputError([problem])
    return folder


def compose(overrides: Sequence[str] = (), entry: str = "train") -> DictConfig:
    """The configuration that `python <entry>.py <overrides>` would have, from any folder.

    Parameters
    ----------
    overrides
        As on the command line: `model.latent=20`, `data=h5mu`.
    entry
        `train`, `evaluate` or `embed`.

    Raises
    ------
    InputError
        If an override or a file names a key, a group or an option that is not there, or gives a
        value of a wrong type.
    """
    import hydra
    from hydra.errors import HydraException

    from recart.config.messages import translate

    register()
    folder = config_folder()
    try:
        with hydra.initialize_config_dir(str(folder), job_name=entry, version_base="1.3"):
            return hydra.compose(entry, overrides=list(overrides))
    except (HydraException, OmegaConfBaseException) as error:
        raise translate(error, folder, entry, overrides) from error


def run_folder(config: DictConfig) -> Path:
    """The folder of the run that this configuration belongs to.

    Within a job that Hydra started it is the folder that Hydra made, numbered in a multirun.

    Raises
    ------
    InputError
        If a multirun names the folder of one run, which it would not use.
    """
    from hydra.core.hydra_config import HydraConfig

    if not HydraConfig.initialized():
        return Path(config.paths.run)
    own = HydraConfig.get()
    if _of_multirun() and any(task.startswith("paths.run=") for task in own.overrides.task):
        problem = Problem(
            code="E-CONFIG-019",
            column="paths.run",
            what="-m starts several runs, each with a folder of its own",
            mend="name the folder of all of them, paths.sweep=..., or leave -m out",
        )
        raise InputError([problem])
    return Path(own.runtime.output_dir)


def again(path: str | Path) -> str:
    """The setting with which the same command goes on with the run in the folder `path`."""
    return f"paths.sweep={Path(path).parent}" if _of_multirun() else f"paths.run={path}"


def _of_multirun() -> bool:
    from hydra.core.hydra_config import HydraConfig
    from hydra.types import RunMode

    return HydraConfig.initialized() and HydraConfig.get().mode == RunMode.MULTIRUN
