"""Members of one run with configurations of their own: a sweep chooses one for each fold."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

from omegaconf import DictConfig, OmegaConf

__all__ = ["OWN_VALUES", "member_config", "own_values"]

OWN_VALUES: Final = "configurations.json"
"""File of a run's folder: of each member the keys that differ from the run's, and their values."""


def own_values(folder: Path) -> dict[str, dict[str, Any]]:
    """What members have of their own, by name; nothing where the run has one configuration."""
    path = folder / OWN_VALUES
    if not path.exists():
        return {}
    content: dict[str, dict[str, Any]] = json.loads(path.read_text(encoding="utf-8"))
    return content


def member_config(config: DictConfig, values: Mapping[str, Any]) -> DictConfig:
    """The run's configuration with a member's own values; a component is replaced as a whole.

    Values of components stand before those of keys inside them.
    """
    own = DictConfig(OmegaConf.to_container(config, resolve=True))
    for key, value in sorted(values.items(), key=lambda item: item[0].count(".")):
        OmegaConf.update(own, key, value, merge=not isinstance(value, dict), force_add=True)
    return own
