"""The control groups of one local cluster: all its processes are in them, and nothing else is.

Called by the local cluster. The pods are below `<name>/kubepods`, everything that was started for
the cluster (and the containers' shims, which containerd starts) in `<name>/runtime`: so what must
end with the cluster is known even when its records are lost.
"""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Iterator
from pathlib import Path

from dev.cluster.errors import ClusterError

MOUNTS = Path("/proc/self/mountinfo")
CPU_SHARES = {"cpu.shares": 8192, "cpu.weight": 800}
"""By the versions' files, eight times what any other group or session has: a node has processors of
its own, and this one shares them with whatever else the machine does.
"""


def hierarchies(mountinfo: str) -> list[Path]:
    """Mount points of all hierarchies: several of version 1, one of version 2, or both.

    Where both are there, runc makes a container's group in both.
    """
    found = []
    for line in mountinfo.splitlines():
        left, _, right = line.partition(" - ")
        if right.split()[0] in ("cgroup", "cgroup2"):
            found.append(Path(left.split()[4]))
    return found


def _hierarchies() -> list[Path]:
    return hierarchies(MOUNTS.read_text())


def create(name: str) -> None:
    """Makes the group in every hierarchy, with all that its parent has."""
    for root in _hierarchies():
        group = root / name
        for made in (group, group / "runtime"):
            made.mkdir(exist_ok=True)
            for inherited in ("cpuset.cpus", "cpuset.mems"):  # version 1: empty in a new group
                if (root / inherited).exists() and not (made / inherited).read_text().strip():
                    (made / inherited).write_text((root / inherited).read_text())
        controllers = root / "cgroup.controllers"  # version 2: passed on only when asked for
        if controllers.exists():
            for controller in controllers.read_text().split():
                (root / "cgroup.subtree_control").write_text(f"+{controller}")
                (group / "cgroup.subtree_control").write_text(f"+{controller}")
        for file, share in CPU_SHARES.items():
            if (group / file).exists():
                (group / file).write_text(str(share))


def enter(name: str, pid: int) -> None:
    """Moves a process, and all that it starts from now on, into the group `<name>/runtime`."""
    for root in _hierarchies():
        (root / name / "runtime" / "cgroup.procs").write_text(str(pid))


def members(name: str) -> set[int]:
    """The pids of every process of the cluster, containers included."""
    found: set[int] = set()
    for group in _groups(name):
        found.update(int(pid) for pid in (group / "cgroup.procs").read_text().split())
    return found


def end_members(name: str, patience: float = 20.0) -> None:
    """Kills every process in the groups and waits until they are empty."""
    deadline = time.monotonic() + patience
    while pids := members(name):
        for pid in pids:
            try:
                os.kill(pid, signal.SIGKILL)
            except ProcessLookupError:
                continue
        if time.monotonic() > deadline:
            raise ClusterError(
                f"these processes of the cluster do not end: {sorted(pids)}. Look at what they "
                "wait for (state D in ps), then run cluster-down again."
            )
        time.sleep(0.05)


def remove(name: str) -> None:
    """Removes the empty groups, children first."""
    for group in _groups(name):
        group.rmdir()


def _groups(name: str) -> Iterator[Path]:
    """All groups of the cluster in every hierarchy, children before their parents."""
    for root in _hierarchies():
        for directory, _, _ in os.walk(root / name, topdown=False):
            yield Path(directory)
