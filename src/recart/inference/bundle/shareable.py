"""What of a run may leave the lab: what inference needs, and no name of who was in it.

Everything is named here that passes; what a later version adds to a member's file stays behind
until somebody names it.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any, Final

import torch
from omegaconf import DictConfig, OmegaConf

from recart.inference.bundle.feature_names import given_id
from recart.training.heads import BAGS

__all__ = [
    "TRUST",
    "batch_numbers",
    "inference_settings",
    "member_content",
    "nameless",
    "shareable_member",
    "without_scores",
]

# where a run keeps what is known of its limits: conformal scores, thresholds
TRUST: Final = "trust.ckpt"
# what inference reads of `data`; columns, places, the cohort's other words and labels stay
_DATA: Final = (
    *("unit", "decision_day", "timepoints", "tissues", "stages", "covariates", "marker_genes"),
    *("car_genes", "normalised", "limits", "receptors"),
)
_MEMBER: Final = ("name", "fold", "repeat", "seed", "settings")
_FEATURES: Final = (
    *("receptor_dim", "timepoints", "stages"),
    *("protein_seen", "background_mean", "background_scale", "batch_share"),
    *("gene_weight", "protein_weight", "protein_log"),
)
# scores of single training patients, which only training and evaluation read
_OF_PATIENTS: Final = "inner_logits"
_PSEUDONYM: Final = re.compile(r"\b([PSB])-[0-9a-f]{10}\b")
_INSTEAD: Final = {"P": "a patient", "S": "a sample", "B": "a batch"}


def inference_settings(config: DictConfig) -> dict[str, Any]:
    """Model, head, endpoint, and how new data are read: plain Python, references resolved."""
    tree: Any = OmegaConf.to_container(config, resolve=True)
    return {
        "model": tree["model"],
        "head": _without_exclusions(tree["head"]),
        "endpoint": _without_exclusions(tree.get("endpoint")),
        "data": {key: tree["data"].get(key) for key in _DATA},
    }


def batch_numbers(contents: Sequence[Mapping[str, Any]]) -> dict[str, int]:
    """A number for each batch that any member was trained on: the same one for all members.

    In the order of their keyed names, which is none of the cohort's.
    """
    names = {name for own in contents for name in own["features"]["batches"]}
    return {name: number for number, name in enumerate(sorted(names))}


def shareable_member(
    content: Mapping[str, Any], gene_row: Mapping[str, int], batch_number: Mapping[str, int]
) -> dict[str, Any]:
    """A member's file without names: sets of patients become their sizes, batches integers.

    `gene_row` numbers the genes of the bundle, `batch_number` its batches. Proteins are the same
    for all members.
    """
    member, features = content["member"], content["features"]
    nameless = list(features["batches"]) == [""]  # the cohort had no batches
    return {
        **{key: member[key] for key in _MEMBER},
        "patients": {
            **{part: len(member[part]) for part in ("train", "validation", "held_out")},
            **{f"seen by {part}": len(seen) for part, seen in content["fitted_on"].items()},
        },
        "features": {
            **{key: features[key] for key in _FEATURES if key in features},
            "genes": torch.tensor([gene_row[name] for name in features["genes"]]).int(),
            "has_gene_ids": bool(features.get("gene_ids")),
            "batches": [] if nameless else [batch_number[own] for own in features["batches"]],
        },
        "encoder": dict(content["encoder"]),
        "head": without_scores(content["head"]),
        "calibration": dict(content["decision_rule"]),
        "best_epoch": content["best_epoch"],
        "best_loss": content["best_loss"],
    }


def member_content(shared: Mapping[str, Any], names: Mapping[str, Any]) -> dict[str, Any]:
    """A member's file again, as far as inference reads it; nobody is named in it.

    `names` are the genes and proteins of the bundle, see `feature_names`.
    """
    features = shared["features"]
    genes = [names["genes"][row] for row in features["genes"].tolist()]
    batches = [f"training batch {number}" for number in features["batches"]] or [""]
    return {
        "member": {**{key: shared[key] for key in _MEMBER}, "held_out": []},
        "fitted_on": {},
        "features": {
            **{key: features[key] for key in _FEATURES if key in features},
            "genes": [own["name"] for own in genes],
            "gene_ids": [given_id(own) for own in genes] if features["has_gene_ids"] else [],
            "proteins": [own["name"] for own in names["proteins"]],
            "batches": batches,
            "patients": [],
        },
        "encoder": shared["encoder"],
        "head": shared["head"],
        "decision_rule": shared["calibration"],
        "best_epoch": shared["best_epoch"],
        "best_loss": shared["best_loss"],
        "history": [],
    }


def nameless(text: str) -> str:
    """A text with words for pseudonyms."""
    return _PSEUDONYM.sub(lambda found: _INSTEAD[found[1]], text)


def without_scores(tree: Any) -> Any:
    """The state of a head without scores of the patients that it was fitted to: their number."""
    if isinstance(tree, dict):
        kept = {
            key: [] if key == _OF_PATIENTS else without_scores(own) for key, own in tree.items()
        }
        return {**kept, BAGS: len(tree[_OF_PATIENTS])} if _OF_PATIENTS in tree else kept
    if type(tree) in (list, tuple):
        return type(tree)(without_scores(own) for own in tree)
    return tree


def _without_exclusions(node: Any) -> Any:
    """An endpoint, or a node with one in it, without the values that were left out of training."""
    if isinstance(node, dict):
        return {key: [] if key == "exclude" else _without_exclusions(v) for key, v in node.items()}
    return [_without_exclusions(own) for own in node] if isinstance(node, list) else node
