"""The operator as the campaign treats it: killed, and given a pod of its own again."""

from __future__ import annotations

import threading
import time
from typing import Any

from dev.kube import Kube, wait_until
from dev.stage import SYSTEM_NAMESPACE
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
        """SIGKILL to its process; returns when it is ready again."""
        with self._lock:
            before = self._pod()
            down = time.time()
            kill_containers(self._kube, before)
            wait_until(
                lambda: _restarts(self._pod()) != _restarts(before), "the operator was killed", 30
            )
            wait_until(lambda: _is_ready(self._pod()), "the operator is back", BACK_SECONDS)
            if _restarts(self._pod())[1] >= MOST_RESTARTS:
                self._replace()
            self.outages.append((down, time.time()))

    def _replace(self) -> None:
        name = self._pod()["metadata"]["name"]
        self._kube.kubectl("delete", "pod", name, "-n", SYSTEM_NAMESPACE)
        wait_until(
            lambda: _is_ready(self._pod()) and self._pod()["metadata"]["name"] != name,
            "another pod of the operator is ready",
            BACK_SECONDS,
        )

    def _pod(self) -> dict[str, Any]:
        items: list[dict[str, Any]] = self._kube.get(
            "pods", "-n", SYSTEM_NAMESPACE, "-l", SELECTOR
        )["items"]
        living = [pod for pod in items if "deletionTimestamp" not in pod["metadata"]]
        return living[0] if living else {"metadata": {"name": ""}, "status": {}}


def _restarts(pod: dict[str, Any]) -> tuple[str, int]:
    statuses = pod["status"].get("containerStatuses", ())
    return pod["metadata"]["name"], sum(status["restartCount"] for status in statuses)


def _is_ready(pod: dict[str, Any]) -> bool:
    return any(
        told["type"] == "Ready" and told["status"] == "True"
        for told in pod["status"].get("conditions", ())
    )
