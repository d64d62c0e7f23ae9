"""Versions of what a run is made with: Python, packages, and the commit of recart."""

from __future__ import annotations

import subprocess
import sys
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Final

__all__ = ["installed_version", "versions"]

_PACKAGES: Final = (
    *("recart", "torch", "lightning", "scvi-tools", "anndata", "mudata", "scanpy"),
    *("scikit-learn", "numpy", "pandas", "hydra-core", "zarr"),
    *("sceptr", "tcrdist-rs", "tidytcells"),
)


def versions() -> dict[str, str | None]:
    """Versions by package, None where it is not installed; `python`, and recart's `commit`."""
    packages = {package: installed_version(package) for package in _PACKAGES}
    return {"python": sys.version.split()[0], **packages, "commit": _commit()}


def installed_version(package: str) -> str | None:
    """Version of an installed package; None where it is not there."""
    try:
        return version(package)
    except PackageNotFoundError:
        return None


def _commit() -> str | None:
    """Commit of the checkout that recart runs from, `+` where files were changed since."""
    git = ["git", "-C", str(Path(__file__).parent)]
    try:
        found = [
            subprocess.run([*git, *command], capture_output=True, text=True, timeout=10, check=True)
            for command in (["rev-parse", "HEAD"], ["status", "--porcelain", "-uno"])
        ]
    except (OSError, subprocess.SubprocessError):
        return None
    return found[0].stdout.strip() + ("+" if found[1].stdout.strip() else "")
