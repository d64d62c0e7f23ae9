"""What every export says of the model that it comes from."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence

from recart import __version__
from recart.inference.bundle.card import USE
from recart.training.member_file import LoadedMember
from recart.training.run_directory import RunDirectory

__all__ = ["about_model", "claim_level"]


def about_model(members: Sequence[LoadedMember], endpoint: str) -> dict[str, str]:
    """Version, hash of the members, endpoint, use."""
    own = {"members": _members_digest(members), "endpoint": endpoint}
    return {"recart": __version__, **own, "use": USE}


def _members_digest(members: Sequence[LoadedMember]) -> str:
    """One hash over the weights of all members."""
    digest = hashlib.sha256()
    for member in members:
        for name, tensor in sorted(member.stack.state_dict().items()):
            digest.update(name.encode())
            digest.update(tensor.contiguous().numpy().tobytes())
    return digest.hexdigest()[:16]


def claim_level(run: RunDirectory) -> str:
    """`L0` to `L4`, as the last evaluation found it; empty where there was none."""
    report = run.path / "report.json"
    if not report.is_file():
        return ""
    return f"L{int(json.loads(report.read_text(encoding='utf-8'))['claim']['level'])}"
