"""The operator as the campaign treats it: its leader is killed, and somebody leads again."""

from __future__ import annotations

import threading
import time
from typing import Any

from dev.kube import Kube, wait_until
from dev.stage import SYSTEM_NAMESPACE, leader
from tests.e2e.killing import kill_containers

SELECTOR = "app.kubernetes.io/component=operator"
BACK_SECONDS = 120.0
MOST_RESTARTS = 2
"""After which the kubelet would wait longer and longer: the pod is replaced instead."""


class Operator:
    """Kills the operator, one killer at a time, and remembers when it did not run."""

    def __init__(self, kube: Kube) -> None:
        self._kube = kube
        self._lock = threading.Lock()
        self.outages: list[tuple[float, float]] = []

    def kill(self) -> None:
        """SIGKILL to the process that leads; returns when another one does, and is ready.

        That may be the same pod's: started anew in time, it takes its own Lease back.
        """
        with self._lock:
            wait_until(self._leads, "an operator leads", BACK_SECONDS)
            before = leader(self._kube)
            (pod,) = self._pods(_pod_of(before))
            down = time.time()
            kill_containers(self._kube, pod)
            wait_until(
                lambda: leader(self._kube) not in ("", before), "another one leads", BACK_SECONDS
            )
            wait_until(self._leads, "the one that leads is ready", BACK_SECONDS)
            self.outages.append((down, time.time()))
            self._replace_if_worn(pod["metadata"]["name"])

    def _leads(self) -> bool:
        """Whether somebody leads whose pod is ready."""
        name = _pod_of(leader(self._kube))
        return bool(name) and any(_is_ready(pod) for pod in self._pods(name))

    def _replace_if_worn(self, name: str) -> None:
        """Ends a pod that was killed often, in order: its Lease, if it has it, is given back."""
        if any(_restarts(pod) >= MOST_RESTARTS for pod in self._pods(name)):
            self._kube.kubectl("delete", "pod", name, "-n", SYSTEM_NAMESPACE)
            wait_until(
                lambda: not self._pods(name) and all(_is_ready(pod) for pod in self._pods()),
                "another pod of the operator is ready",
                BACK_SECONDS,
            )
            wait_until(self._leads, "the one that leads is ready", BACK_SECONDS)

    def _pods(self, name: str = "") -> list[dict[str, Any]]:
        """Those that are not being deleted; with a name, only that one."""
        items: list[dict[str, Any]] = self._kube.get(
            "pods", "-n", SYSTEM_NAMESPACE, "-l", SELECTOR
        )["items"]
        living = [pod for pod in items if "deletionTimestamp" not in pod["metadata"]]
        return [pod for pod in living if name in ("", pod["metadata"]["name"])]


def _pod_of(identity: str) -> str:
    return identity.rpartition("_")[0]


def _restarts(pod: dict[str, Any]) -> int:
    statuses = pod["status"].get("containerStatuses", ())
    return sum(status["restartCount"] for status in statuses)


def _is_ready(pod: dict[str, Any]) -> bool:
    return any(
        told["type"] == "Ready" and told["status"] == "True"
        for told in pod["status"].get("conditions", ())
    )
