"""Write a bundle: not against its audit, whole or not at all, and nameless."""

from __future__ import annotations

import json
import os
import re
import shutil
from pathlib import Path
from typing import Any, Final

from omegaconf import DictConfig

from recart import __version__
from recart.config.build import build
from recart.evaluation.audit.finding import Severity
from recart.evaluation.launch import Evaluated
from recart.inference.bundle.card import FIGURES, USE, bundle_card, use_note
from recart.inference.bundle.feature_names import feature_names
from recart.inference.bundle.manifest import seal
from recart.inference.bundle.obstacles import obstacles, watermark
from recart.inference.bundle.plain_tree import Shelf
from recart.inference.bundle.shareable import (
    TRUST,
    batch_numbers,
    inference_settings,
    nameless,
    shareable_member,
)
from recart.inference.new_folder import check_new_folder, new_folder
from recart.problems import InputError
from recart.training.checkpoints import SCHEMA, load_checkpoint
from recart.training.member_configuration import member_config, own_values
from recart.training.member_file import member_path
from recart.training.readouts import build_endpoint
from recart.training.redactor import redact
from recart.training.run_directory import RunDirectory

__all__ = ["check_target", "write_bundle"]

_PSEUDONYM: Final = re.compile(rb"\b[PSB]-[0-9a-f]{10}\b")


def check_target(path: Path) -> None:
    """Refuse a folder that could not be written, before any work.

    Raises
    ------
    InputError
        If something is there already, or the folder above is not.
    """
    check_new_folder(path, ("E-BUNDLE-006", "E-BUNDLE-007"))


def write_bundle(evaluated: Evaluated, run: RunDirectory, path: Path, *, force: bool) -> str:
    """Write the members of an evaluated run, with all that new patients need, as a folder.

    `force` writes it against the audit, see `obstacles`, with a watermark.

    Returns
    -------
    SHA-256 of the manifest, by which the bundle can be told from any other.

    Raises
    ------
    InputError
        If the audit did not pass, see `obstacles`, or the folder can not be written.
    """
    check_target(path)
    reasons = obstacles(evaluated.audit)
    if reasons and not force:
        raise InputError(reasons)
    mark = watermark(evaluated.audit) if reasons else None
    with new_folder(path) as part:
        _fill(part, evaluated, run, mark)
        _check_nameless(part)
        versions = json.loads(run.versions.read_text(encoding="utf-8"))
        about = {"recart": versions.get("recart") or __version__, "member_layout": SCHEMA}
        return seal(part, {**about, "watermark": mark, "use": USE})


def _fill(folder: Path, evaluated: Evaluated, run: RunDirectory, mark: str | None) -> None:
    """Everything but the manifest."""
    shelf = Shelf()
    contents = [load_checkpoint(member_path(run.checkpoints, m.name)) for m in evaluated.members]
    features = feature_names(contents)
    row = {gene["name"]: number for number, gene in enumerate(features["genes"])}
    batch = batch_numbers(contents)
    members = [
        shelf.put(shareable_member(own, row, batch), f"members.{own['member']['name']}")
        for own in contents
    ]
    trust_file = run.path / TRUST
    trust = load_checkpoint(trust_file) if trust_file.is_file() else None
    if trust is not None:
        _write_json(folder / "trust.json", shelf.put(trust, "trust"))
    own = own_values(run.path)
    config = {
        "inference": inference_settings(run.config),
        "members": {
            name: _recipe(member_config(run.config, values)) for name, values in own.items()
        },
        "training": redact(run.config),
    }
    _write_json(folder / "config.json", shelf.put(config, "config"))
    _write_json(folder / "members.json", members)
    _write_json(folder / "words.json", shelf.words)
    _write_tensors(folder / "weights.safetensors", shelf)
    receptors = _receptors(run, contents[0]["features"]["receptor_dim"])
    _write_json(folder / "features.json", {**features, "receptors": receptors})
    claim = _claim(evaluated, mark)
    _write_json(folder / "claim.json", claim)
    shutil.copyfile(run.versions, folder / "versions.json")
    figures = [run.figures / name for name in FIGURES if (run.figures / name).is_file()]
    if figures:
        (folder / "figures").mkdir()
    for figure in figures:
        shutil.copyfile(figure, folder / "figures" / figure.name)
    card = (run.path / "model_card.md").read_text(encoding="utf-8")
    names = [figure.name for figure in figures]
    _write_text(folder / "model_card.md", bundle_card(nameless(card), claim, names))
    _write_text(folder / "USE.md", use_note(claim))


def _claim(evaluated: Evaluated, mark: str | None) -> dict[str, Any]:
    """What may be said of the model, and what the audit found, without its evidence."""
    assessment, audit = evaluated.assessment, evaluated.audit
    own, metrics = assessment.claim, assessment.model.metrics
    interval = assessment.model.auroc_interval
    yes, no = build_endpoint(evaluated.config).classes
    return {
        "level": f"L{int(own.level)}",
        "headline": nameless(own.headline),
        "text": nameless(own.text),
        "endpoint": str(evaluated.config.data.endpoint),
        "yes": yes,
        "no": no,
        "unit": str(evaluated.config.data.unit),
        "patients": metrics.n_patients,
        "auroc": metrics.auroc,
        "auroc_interval": None if interval is None else [interval.low, interval.high],
        "audit": {
            "worst": audit.worst.name.lower(),
            "findings": [
                {"code": one.code, "severity": one.severity.name.lower()}
                for one in audit.findings
                if one.severity is not Severity.PASSED
            ],
        },
        "watermark": mark,
        "use": USE,
    }


def _recipe(config: DictConfig) -> dict[str, Any]:
    """Model and head of a member that has its own, as a sweep chose them."""
    own = inference_settings(config)
    return {part: own[part] for part in ("model", "head", "endpoint")}


def _receptors(run: RunDirectory, dim: int) -> dict[str, Any]:
    """Which encoder made the receptors' vectors; its hash is compared before others are made."""
    if not dim:
        return {"dim": 0, "name": None, "fingerprint": None}
    name = build(run.config.data.receptors).name
    return {"dim": dim, "name": name, "fingerprint": run.receptors}


def _check_nameless(folder: Path) -> None:
    """A last look: no pseudonym, which the tests of each part should have made impossible."""
    for path in folder.rglob("*"):
        if path.is_file() and _PSEUDONYM.search(_words_of(path)):
            raise RuntimeError(f"{path.name} of the bundle would have named a patient or sample")


def _words_of(path: Path) -> bytes:
    """What of a file can be a word: of tensors their names."""
    if path.suffix != ".safetensors":
        return path.read_bytes()
    with path.open("rb") as file:
        return file.read(int.from_bytes(file.read(8), "little"))


def _write_json(path: Path, content: Any) -> None:
    _write_text(path, json.dumps(content, indent=1, allow_nan=False) + "\n")


def _write_text(path: Path, text: str) -> None:
    with path.open("w", encoding="utf-8") as file:
        file.write(text)
        file.flush()
        os.fsync(file.fileno())


def _write_tensors(path: Path, shelf: Shelf) -> None:
    from safetensors.torch import save_file

    save_file(shelf.tensors, path, metadata={"format": "pt"})
    path.chmod(path.parent.stat().st_mode & 0o666)  # safetensors writes for the owner alone
    with path.open("rb") as file:
        os.fsync(file.fileno())
