"""The file of one trained member: features, encoder, head and whose patients each of them saw."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np
import torch
from scipy.special import expit, logit

from recart.contracts import FeatureSpec, Member, MemberSettings
from recart.data.feature_levels import FeatureLevels
from recart.data.features import Features
from recart.models.totalvi import TotalVI, TotalVIStack
from recart.training.checkpoints import load_checkpoint, save_checkpoint
from recart.training.decision_rule import DecisionRule
from recart.training.heads import BOUNDS, Array, BagLatents, FittedHead, Head
from recart.training.jobs import TrainedEncoder, restore_stack

__all__ = [
    "ENCODER_LABELS",
    "LoadedMember",
    "load_encoder",
    "load_member",
    "member_path",
    "member_record",
    "restore_member",
    "save_member",
]

_LEAST: Final = 1e-12  # of a probability, so that its log odds are finite

ENCODER_LABELS: Final = "encoder labels"
"""The part of `fitted_on` that names the patients whose labels an encoder saw, if any."""


@dataclass(frozen=True, kw_only=True)
class LoadedMember:
    """A member as its file gives it; patients are pseudonyms.

    `fitted_on` names, for each fitted part, the patients that it saw. `recipe` is that of its head;
    None where it is not known.
    """

    name: str
    fold: int
    repeat: int
    seed: int
    held_out: frozenset[str]
    fitted_on: dict[str, frozenset[str]]
    settings: MemberSettings
    features: Features
    stack: TotalVIStack
    head: FittedHead
    rule: DecisionRule
    history: list[dict[str, Any]]
    best_epoch: int
    best_loss: float
    recipe: Head | None = None

    def outputs(self, bags: BagLatents) -> dict[str, Array]:
        """(n) each: what the head says beside log odds; bounds are calibrated as its log odds."""
        told = self.head.outputs(bags)
        for name in BOUNDS:
            if name in told:
                inside = np.clip(told[name], _LEAST, 1 - _LEAST)
                told[name] = expit(self.rule.log_odds(logit(inside)))
        return told


def member_path(folder: Path, name: str) -> Path:
    """Where the member of this name lies."""
    return folder / f"{name}.ckpt"


def member_record(member: Member, patients: Sequence[str]) -> dict[str, Any]:
    """What the file of a member says of it; `patients` are the pseudonyms by patient code."""
    return {
        "name": member.name,
        "fold": member.fold,
        "repeat": member.repeat,
        "seed": member.seed,
        "settings": asdict(member.settings),
        "train": [patients[p] for p in member.train],
        "validation": [patients[p] for p in member.validation],
        "held_out": [patients[p] for p in member.held_out],
    }


def save_member(
    path: Path,
    encoder: TrainedEncoder,
    head: FittedHead,
    rule: DecisionRule,
    patients: Sequence[str],
) -> None:
    """Write one member; `patients` are the pseudonyms by patient code."""
    member = member_record(encoder.member, patients)
    train, validation = member["train"], member["validation"]
    lent = {patients[p] for p in encoder.lent}
    told = [name for name in (*train, *validation) if name not in lent]
    features = encoder.features
    content = {
        "member": member,
        "fitted_on": {
            "features": sorted(features.spec.patients),
            "encoder": train,
            "epoch": validation,
            **({ENCODER_LABELS: sorted(lent)} if lent else {}),
            "head": told,
            "calibration": told,
            "threshold": told,
        },
        "features": {
            **{
                key: list(value) if isinstance(value, tuple) else value
                for key, value in asdict(features.spec).items()
            },
            **{key: torch.from_numpy(level) for key, level in vars(features.levels).items()},
            "protein_seen": torch.from_numpy(features.protein_seen),
            "background_mean": torch.from_numpy(features.background_mean),
            "background_scale": torch.from_numpy(features.background_scale),
            "batch_share": torch.from_numpy(features.batch_share),
        },
        "encoder": encoder.state,
        "head": head.state(),
        "decision_rule": rule.state(),
        "best_epoch": encoder.best_epoch,
        "best_loss": encoder.best_loss,
        "history": encoder.history,
    }
    save_checkpoint(content, path)


def load_member(path: Path, model: TotalVI, head: Head) -> LoadedMember:
    """Rebuild one member from its file and its recipes."""
    return restore_member(load_checkpoint(path), model, head)


def restore_member(content: Mapping[str, Any], model: TotalVI, head: Head) -> LoadedMember:
    """Rebuild one member from what its file holds."""
    member, features = content["member"], _features(content["features"])
    return LoadedMember(
        name=member["name"],
        fold=member["fold"],
        repeat=member["repeat"],
        seed=member["seed"],
        held_out=frozenset(member["held_out"]),
        fitted_on={part: frozenset(seen) for part, seen in content["fitted_on"].items()},
        settings=MemberSettings(**member["settings"]),
        features=features,
        stack=restore_stack(model, features, content["encoder"]),
        head=head.restore(content["head"]),
        rule=DecisionRule.restore(content["decision_rule"]),
        history=content["history"],
        best_epoch=content["best_epoch"],
        best_loss=content["best_loss"],
        recipe=head,
    )


def load_encoder(path: Path, member: Member) -> TrainedEncoder:
    """The encoder in the file of `member`, for another head on it.

    Raises
    ------
    ValueError
        If it saw labels: which of them another head may have is not known here.
    """
    content = load_checkpoint(path)
    if ENCODER_LABELS in content["fitted_on"]:
        raise ValueError(
            f"the encoder of {member.name} was trained jointly and takes no other head"
        )
    return TrainedEncoder(
        member=member,
        features=_features(content["features"]),
        state=content["encoder"],
        best_epoch=content["best_epoch"],
        best_loss=content["best_loss"],
        history=content["history"],
    )


def _features(own: dict[str, Any]) -> Features:
    return Features(
        spec=FeatureSpec(
            genes=tuple(own["genes"]),
            proteins=tuple(own["proteins"]),
            receptor_dim=own["receptor_dim"],
            batches=tuple(own["batches"]),
            patients=tuple(own["patients"]),
            timepoints=tuple(own.get("timepoints", ())),
            stages=tuple(own.get("stages", ())),
            gene_ids=tuple(own.get("gene_ids", ())),
        ),
        protein_seen=own["protein_seen"].numpy(),
        background_mean=own["background_mean"].numpy(),
        background_scale=own["background_scale"].numpy(),
        batch_share=own["batch_share"].numpy(),
        levels=_levels(own),
    )


def _levels(own: dict[str, Any]) -> FeatureLevels:
    """Levels of features; files of before have none."""
    if "gene_weight" not in own:
        return FeatureLevels.even(len(own["genes"]), len(own["proteins"]))
    return FeatureLevels(
        gene_weight=own["gene_weight"].numpy(),
        protein_weight=own["protein_weight"].numpy(),
        protein_log=own["protein_log"].numpy(),
    )
