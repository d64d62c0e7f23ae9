"""Read a bundle: every byte checked first, then weights by safetensors and the rest as JSON."""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from omegaconf import DictConfig

from recart.config.build import TARGET, build
from recart.inference.bundle.manifest import check_manifest
from recart.inference.bundle.plain_tree import Shelf
from recart.inference.bundle.shareable import member_content
from recart.models.totalvi import TotalVI
from recart.problems import InputError, Problem
from recart.training.checkpoints import SCHEMA
from recart.training.member_file import LoadedMember, restore_member
from recart.training.readouts import build_head

__all__ = ["Bundle", "check_parts", "read_bundle"]

# what a bundle's configuration may name: parts of a model, which do nothing when they are made
_PARTS: Final = re.compile(
    r"recart\.(models|data\.receptors|data\.checks|training\.endpoints|training\.\w*head"
    r"|training\.cell_attention_training)\.[\w.]+"
)


@dataclass(frozen=True, kw_only=True)
class Bundle:
    """What a bundle holds.

    `config` has model, head, endpoint and `data`, how new data are read. `trust` is what a `Trust`
    is restored from, None where the run had none. `features`, `claim`, `versions` and `manifest`
    are as written; `digest` is the manifest's, the name of this very bundle.
    """

    members: list[LoadedMember]
    config: DictConfig
    trust: dict[str, Any] | None
    features: dict[str, Any]
    claim: dict[str, Any]
    versions: dict[str, Any]
    manifest: dict[str, Any]

    @property
    def digest(self) -> str:
        """SHA-256 over all files."""
        return str(self.manifest["sha256"])


def read_bundle(folder: Path) -> Bundle:
    """Check a bundle and read it; nothing in it is run, and no other file is needed.

    Raises
    ------
    InputError
        If the folder is no bundle, one of another version, or not as it was written: names every
        file that was changed, is lacking or does not belong there; or if it is not made of parts
        of a model.
    """
    manifest = check_manifest(folder)
    if manifest["member_layout"] != SCHEMA:
        recart = manifest["recart"]
        problem = Problem(
            code="E-BUNDLE-002",
            file=folder.name,
            what=f"its members have layout {manifest['member_layout']}, of recart {recart}; this "
            f"recart reads {SCHEMA}",
            mend=f"read it with recart {recart}, or ask for a bundle of a newer version",
        )
        raise InputError([problem])
    features = _json(folder, "features.json")
    try:
        shelf = Shelf.of(_tensors(folder), _json(folder, "words.json"))
        settings = shelf.take(_json(folder, "config.json"))
        config = DictConfig(settings["inference"])
        recipes = {name: DictConfig(own) for name, own in settings["members"].items()}
        for own in (config, *recipes.values()):
            check_parts(own, folder)
        members = [
            _member(shelf.take(own), features, recipes.get(own["name"], config))
            for own in _json(folder, "members.json")
        ]
        trust_file = folder / "trust.json"
        trust = shelf.take(_json(folder, "trust.json")) if trust_file.is_file() else None
    except (KeyError, IndexError, TypeError, ValueError, RuntimeError) as error:
        if isinstance(error, InputError):
            raise
        what = f"its files do not make a model ({type(error).__name__}: {str(error)[:200]})"
        mend = "ask those who wrote the bundle; it was not made by `evaluate.py bundle=...`"
        problem = Problem(code="E-BUNDLE-011", file=folder.name, what=what, mend=mend)
        raise InputError([problem]) from error
    return Bundle(
        members=members,
        config=config,
        trust=trust,
        features=features,
        claim=_json(folder, "claim.json"),
        versions=_json(folder, "versions.json"),
        manifest=manifest,
    )


def _member(shared: dict[str, Any], features: dict[str, Any], recipe: DictConfig) -> LoadedMember:
    model, head = build(recipe.model), build_head(recipe)
    if not isinstance(model, TotalVI):
        raise TypeError(f"the model is a {type(model).__name__}")
    return restore_member(member_content(shared, features), model, head)


def _json(folder: Path, name: str) -> Any:
    return json.loads((folder / name).read_text(encoding="utf-8"))


def _tensors(folder: Path) -> dict[str, Any]:
    from safetensors.torch import load_file

    # copies where torch puts them: on addresses of a file, sums of float64 round another way
    return {name: own.clone() for name, own in load_file(folder / "weights.safetensors").items()}


def check_parts(config: DictConfig, folder: Path) -> None:
    """Refuse a configuration that names anything but parts of a model.

    Raises
    ------
    InputError
        Naming what is none.
    """
    foreign = [name for name in _targets(config) if not _PARTS.fullmatch(name)]
    if foreign:
        problem = Problem(
            code="E-BUNDLE-010",
            file=f"{folder.name}/config.json",
            what="the configuration names what is no part of a model",
            mend="do not use this bundle: recart writes none like it",
            examples=tuple(foreign),
        )
        raise InputError([problem])


def _targets(node: Any) -> list[str]:
    """Every class that a configuration names."""
    if hasattr(node, "items"):
        own = [str(node[TARGET])] if TARGET in node else []
        return [*own, *(name for entry in node.values() for name in _targets(entry))]
    if isinstance(node, str) or not hasattr(node, "__iter__"):
        return []
    return [name for entry in node for name in _targets(entry)]
