"""How many cores this process may use: its affinity and the quota of its control group."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Final

__all__ = ["allowed_cores"]

_SYSTEM: Final = Path("/")


def allowed_cores(root: Path = _SYSTEM) -> int:
    """Cores, at least 1. `root` is where `/proc` and `/sys` lie.

    A quota that is no whole number of cores is rounded down: a process more would wait for a core.
    """
    if hasattr(os, "sched_getaffinity"):
        cores = len(os.sched_getaffinity(0))
    else:
        cores = os.cpu_count() or 1
    return max(1, min([cores, *_quotas(root)]))


def _quotas(root: Path) -> list[int]:
    """Whole cores under each quota of the unified control groups, from this process's up."""
    membership = root / "proc/self/cgroup"
    if not membership.exists():
        return []
    own = ""
    for line in membership.read_text().splitlines():
        if line.startswith("0::"):
            own = line.removeprefix("0::").lstrip("/")
    mount = root / "sys/fs/cgroup"
    group = mount / own
    # inside a container the group is mounted as the root
    folders = [f for f in (group, *group.parents) if f == mount or mount in f.parents]
    quotas = []
    for path in (folder / "cpu.max" for folder in folders):
        if path.exists():
            quota, period = path.read_text().split()
            if quota != "max":
                quotas.append(int(quota) // int(period))
    return quotas
