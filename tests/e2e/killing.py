"""Ends a pod's processes as a crash does: SIGKILL, from the node that they run on."""

from __future__ import annotations

import os
import signal
from pathlib import Path
from typing import Any

from dev.kube import Kube


def kill_containers(kube: Kube, pod: dict[str, Any]) -> None:
    """SIGKILL to every process of the pod's containers, which the kubelet then starts again."""
    containers = [
        status["containerID"].split("//")[1]
        for status in pod["status"].get("containerStatuses", ())
        if status.get("containerID")
    ]
    processes = [
        int(folder.name)
        for folder in Path("/proc").iterdir()
        if folder.name.isdigit() and any(name in _cgroup(folder) for name in containers)
    ]
    if not processes:  # not on this machine: the node's own way to end a pod at once
        metadata = pod["metadata"]
        kube.kubectl(
            *("delete", "pod", metadata["name"], "-n", metadata["namespace"]),
            *("--grace-period=0", "--force"),
        )
    for process in processes:
        os.kill(process, signal.SIGKILL)


def _cgroup(folder: Path) -> str:
    try:
        return (folder / "cgroup").read_text()
    except OSError:  # it has ended
        return ""
