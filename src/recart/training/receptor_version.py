"""Keeps a run to one receptor embedding: another version would give its members other numbers."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any, Final

from omegaconf import DictConfig, OmegaConf

from recart.config.build import build
from recart.problems import InputError, Problem
from recart.training.versions import installed_version

if TYPE_CHECKING:
    from recart.training.run_directory import RunDirectory

__all__ = ["check_receptor_version", "check_receptors", "receptor_fingerprint"]

# The package whose version decides the vectors; for the other embeddings it is recart itself.
_PACKAGES: Final = {"sceptr": "sceptr", "landmarks": "tcrdist-rs"}


def receptor_fingerprint(config: DictConfig) -> str | None:
    """Fingerprint of the configured receptor embedding as installed; None where there is none."""
    node = OmegaConf.select(config, "data.receptors")
    return None if node is None else str(build(node).fingerprint)


def check_receptor_version(run: RunDirectory, progress: Callable[[str], None]) -> None:
    """Refuse to embed receptors for a run by another encoder than the one that it began with.

    A run that does not say which one that was is let through with a warning.

    Raises
    ------
    InputError
        Naming the version of the run and the installed one.
    """
    versions: dict[str, Any] = json.loads(run.versions.read_text(encoding="utf-8"))
    check_receptors(run.config, run.receptors, versions, run.path.name, progress)


def check_receptors(
    config: DictConfig,
    fingerprint: str | None,
    versions: Mapping[str, Any],
    file: str,
    progress: Callable[[str], None],
) -> None:
    """As `check_receptor_version`, of any model: its configuration, fingerprint and versions.

    Raises
    ------
    InputError
        Naming the version of the model and the installed one, and `file`, where the model lies.
    """
    here = receptor_fingerprint(config)
    if here is None or here == fingerprint:
        return
    name = build(config.data.receptors).name
    package = _PACKAGES.get(name, "recart")
    there = versions.get(package) or "of unknown version"
    installed = installed_version(package) or "none"
    if fingerprint is None:
        progress(
            f"warning: the run is older than the record of its receptor embedding: "
            f"trained with {package} {there}, {installed} is installed; "
            "embeddings are comparable only where both are the same"
        )
        return
    what = f"the run's receptors were embedded with {package} {there}, here is {installed}"
    mend = f"pip install {package}=={there}, or train a new run with the installed version"
    if there == installed:
        what += f", with another '{name}' (fingerprint {fingerprint[:8]}, here {here[:8]})"
        mend = "use the commit of recart that is named in versions.json, or train a new run"
    problem = Problem(code="E-RUN-012", file=file, column="data.receptors", what=what, mend=mend)
    raise InputError([problem])
