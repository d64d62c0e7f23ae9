"""The configuration of a trial: the one that was composed, with the trial's values in it."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from typing import Any, Final

from omegaconf import DictConfig, OmegaConf, open_dict

from recart.config.build import TARGET, plain
from recart.config.compose import compose
from recart.sweep.space import Value

__all__ = [
    "OF_ENCODER",
    "SEARCHED",
    "configured",
    "encoder_key",
    "is_group",
    "plain_base",
    "stack_key",
]

OF_ENCODER: Final = ("features", "model", "training")
"""Parts of a configuration that make an encoder; trials that agree in them share it."""
SEARCHED: Final = (*OF_ENCODER, "head")
"""Parts that a sweep may search: all else says on which patients and where it runs."""


def plain_base(config: DictConfig, repeats: int) -> DictConfig:
    """The configuration without its sweep, with at most so many repeats of the folds."""
    base = DictConfig(OmegaConf.to_container(config, resolve=False))
    OmegaConf.set_struct(base, True)
    base.sweep = None
    folds = base.data.folds
    if folds is not None and "repeats" in folds:
        folds.repeats = min(int(folds.repeats), repeats)
    return base


def configured(base: DictConfig, values: Mapping[str, Value]) -> DictConfig:
    """`base` with other values at some keys; a group's value is the name of one of its files.

    Groups come first: keys below them are set in the file that was chosen.
    """
    config = DictConfig(OmegaConf.to_container(base, resolve=False))
    OmegaConf.set_struct(config, True)
    for key, value in sorted(values.items(), key=lambda own: not is_group(base, own[0])):
        if is_group(base, key):
            option = f"{key.replace('.', '/')}={value}"
            node = OmegaConf.select(compose([option]), key)
            parent, _, name = key.rpartition(".")
            place = OmegaConf.select(config, parent) if parent else config
            with open_dict(place):
                place[name] = OmegaConf.to_container(node, resolve=False)
        else:
            OmegaConf.update(config, key, value)
    return config


def is_group(base: DictConfig, key: str) -> bool:
    """Whether a component stands at the key, so that another is named by its file."""
    node = OmegaConf.select(base, key)
    return isinstance(node, DictConfig) and TARGET in node


def encoder_key(config: DictConfig) -> str:
    """Ten hexadecimal digits over all that makes the encoder of a member."""
    return _digest({name: plain(config[name]) for name in OF_ENCODER})


def stack_key(config: DictConfig) -> str:
    """The same but for what members of one stack may have of their own.

    Learning rate, dropout and KL weight. Fewer latent dimensions would be a mask over those of a
    wider model, which begins with other weights than one of that width.
    """
    parts = {name: plain(config[name]) for name in OF_ENCODER}
    for part, key in (("training", "lr"), ("model", "dropout")):
        parts[part].pop(key, None)
    if isinstance(weights := parts["model"].get("weights"), dict):
        weights.pop("kl", None)
    return _digest(parts)


def _digest(parts: dict[str, Any]) -> str:
    text = json.dumps(parts, sort_keys=True)
    return hashlib.sha256(text.encode()).hexdigest()[:10]
