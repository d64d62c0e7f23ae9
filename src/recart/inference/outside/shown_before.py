"""What a model's own evaluation had found, as its run or bundle tells."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

__all__ = ["ShownBefore", "shown_before"]


@dataclass(frozen=True, kw_only=True)
class ShownBefore:
    """Level and headline of the claim, AUROC with the ends of its interval, and patients."""

    level: str
    headline: str
    auroc: float | None
    interval: tuple[float, float] | None
    patients: int


def shown_before(folder: Path) -> ShownBefore | None:
    """Of the folder of a bundle that was checked, or of a run; None of one without evaluation."""
    bundle, run = folder / "claim.json", folder / "report.json"
    if bundle.is_file():
        told = _read(bundle)
        ends = told["auroc_interval"]
        return ShownBefore(
            level=str(told["level"]),
            headline=str(told["headline"]),
            auroc=told["auroc"],
            interval=None if ends is None else (float(ends[0]), float(ends[1])),
            patients=int(told["patients"]),
        )
    if not run.is_file():
        return None
    told = _read(run)
    model, found = told["model"], told["model"]["auroc_interval"]
    return ShownBefore(
        level=f"L{int(told['claim']['level'])}",
        headline=str(told["claim"]["headline"]),
        auroc=model["metrics"]["auroc"],
        interval=None if found is None else (float(found["low"]), float(found["high"])),
        patients=int(model["metrics"]["n_patients"]),
    )


def _read(path: Path) -> Any:
    return json.loads(path.read_text(encoding="utf-8"))
