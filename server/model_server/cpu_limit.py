"""How many CPUs this process may use: its affinity, or the cgroup's quota where that is less.

`workers` sizes the inference threads by it; inside a container the number of the machine's CPUs
says nothing about the pod's limit. Sources: the kernel's cgroup-v2.rst (`cpu.max`) and
sched-bwc.rst (`cpu.cfs_quota_us`, `cpu.cfs_period_us`).
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path


def available_cpus(
    cgroup_root: Path = Path("/sys/fs/cgroup"), membership: Path = Path("/proc/self/cgroup")
) -> float:
    """Return the CPUs that may be used, as a possibly fractional number above 0."""
    limits = [float(len(os.sched_getaffinity(0)))]
    for folder in _own_groups(cgroup_root, membership):
        limit = _quota(folder)
        if limit is not None:
            limits.append(limit)
    return min(limits)


def _own_groups(root: Path, membership: Path) -> Iterator[Path]:
    """Yield the folders of the process's groups and of their parents, for both versions.

    A container may see its own group mounted as the root while `membership` names it by the
    host's path; such a path does not exist here, and the root is then the group itself.
    """
    try:
        lines = membership.read_text().splitlines()
    except OSError:
        return
    for line in lines:
        _, controllers, path = line.split(":", 2)
        if controllers == "":
            mount = root
        elif "cpu" in controllers.split(","):
            mount = root / "cpu"
        else:
            continue
        group = mount / path.lstrip("/")
        while group != mount:
            yield group
            group = group.parent
        yield mount


def _quota(folder: Path) -> float | None:
    """Return the quota over the period, in CPUs, or None where the group has none."""
    try:
        quota, period = (folder / "cpu.max").read_text().split()
    except OSError:
        try:
            quota = (folder / "cpu.cfs_quota_us").read_text().strip()
            period = (folder / "cpu.cfs_period_us").read_text().strip()
        except OSError:
            return None
    if quota in ("max", "-1"):
        return None
    return int(quota) / int(period)
