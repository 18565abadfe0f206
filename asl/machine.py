"""What this machine has."""

from __future__ import annotations

import os
from pathlib import Path


def available_cores() -> int:
    """Cores that this process may use, which in a container or a batch job is fewer than there are."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def available_memory() -> int:
    """Bytes of RAM that this process could still take without swapping, which a container may limit."""
    free = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    for line in _lines(Path("/proc/meminfo")):
        if line.startswith("MemAvailable:"):
            free = int(line.split()[1]) * 1024
    group = Path("/sys/fs/cgroup")  # version 2, as seen from inside
    limit, used = (_lines(group / name) for name in ("memory.max", "memory.current"))
    if limit and used and limit[0].isdigit():
        cache = [int(line.split()[1]) for line in _lines(group / "memory.stat") if line.startswith("file ")]
        free = min(free, int(limit[0]) - int(used[0]) + sum(cache))
    return max(0, free)


def _lines(path: Path) -> list[str]:
    """Empty where there is no such file: not on Linux, or no container."""
    try:
        return path.read_text().splitlines()
    except OSError:
        return []
