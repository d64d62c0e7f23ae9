"""How much memory this process may still take: of the machine, or of its control group."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from typing import Final

__all__ = ["free_memory"]

_SYSTEM: Final = Path("/")
# where a control group's limit, use and statistics stand, and how evictable file cache is called
_VERSIONS: Final = {
    "": ("memory.max", "memory.current", "inactive_file"),
    "memory": ("memory.limit_in_bytes", "memory.usage_in_bytes", "total_inactive_file"),
}


def free_memory(root: Path = _SYSTEM) -> int:
    """Bytes; what only caches files counts as free. `root` is where `/proc` and `/sys` lie."""
    meminfo = root / "proc/meminfo"
    if meminfo.exists():
        lines = dict(line.split(":") for line in meminfo.read_text().splitlines())
        free = int(lines["MemAvailable"].split()[0]) * 1024
    else:
        free = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    return max(0, min([free, *_left_in_groups(root)]))


def _left_in_groups(root: Path) -> Iterator[int]:
    """What is left under each limit: SLURM and containers set one; others have none."""
    membership = root / "proc/self/cgroup"
    if not membership.exists():
        return
    for line in membership.read_text().splitlines():
        _, controllers, own = line.split(":", 2)
        if controllers not in _VERSIONS:
            continue
        limit, used, cache = _VERSIONS[controllers]
        mount = root / "sys/fs/cgroup" / controllers
        # inside a container the group is mounted as the root
        for folder in {mount / own.lstrip("/"), mount}:
            if not (folder / limit).exists() or (folder / limit).read_text().strip() == "max":
                continue
            counted = dict(row.split() for row in (folder / "memory.stat").read_text().splitlines())
            left = int((folder / limit).read_text()) - int((folder / used).read_text())
            yield left + int(counted.get(cache, 0))
