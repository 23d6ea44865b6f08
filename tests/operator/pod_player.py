"""The pod player: stands in for scheduler and kubelet where there is an API server but no node.

It binds every pod of a namespace to a node of its own, gives it an address and makes it ready,
or whatever `state_of` says; a pod that is being deleted it lets go at once.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable
from typing import Any, Self

from model_operator.clients.cluster import Cluster
from model_operator.errors import ApiError

State = dict[str, Any]
NODE = "pod-player"


class PodPlayer:
    def __init__(self, cluster: Cluster, namespace: str) -> None:
        self._cluster = cluster
        self._namespace = namespace
        self._task: asyncio.Task[None] | None = None
        self._addresses = 0
        self.state_of: Callable[[dict[str, Any]], State | None] = lambda pod: None
        """A container status for a pod that shall not become ready; None lets it."""

    async def __aenter__(self) -> Self:
        with contextlib.suppress(ApiError):  # made by an earlier test
            node = {"apiVersion": "v1", "kind": "Node", "metadata": {"name": NODE}}
            await self._cluster._json("POST", "/api/v1/nodes", {}, node)
        self._task = asyncio.create_task(self._play())
        return self

    async def __aexit__(self, *_: object) -> None:
        assert self._task is not None
        self._task.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await self._task

    async def _play(self) -> None:
        while True:
            pods, _ = await self._cluster.list("Pod", self._namespace)
            for pod in pods:
                with contextlib.suppress(ApiError):  # deleted in between
                    await self._play_one(pod)
            await asyncio.sleep(0.1)  # how often it looks, not what a test waits for

    async def _play_one(self, pod: dict[str, Any]) -> None:
        name = pod["metadata"]["name"]
        target = f"/api/v1/namespaces/{self._namespace}/pods/{name}"
        if "deletionTimestamp" in pod["metadata"]:
            await self._cluster._json("DELETE", target, {}, {"gracePeriodSeconds": 0})
            return
        if "nodeName" not in pod["spec"]:
            binding = {
                "apiVersion": "v1",
                "kind": "Binding",
                "metadata": {"name": name},
                "target": {"apiVersion": "v1", "kind": "Node", "name": NODE},
            }
            await self._cluster._json("POST", f"{target}/binding", {}, binding)
        status = self._status(pod)
        if status is not None:
            await self._cluster._json(
                "PATCH",
                f"{target}/status",
                {},
                {"status": status},
                "application/merge-patch+json",
            )

    def _status(self, pod: dict[str, Any]) -> State | None:
        """The pod's new status; None when it has it."""
        trouble = self.state_of(pod)
        ready = "False" if trouble else "True"
        conditions = {c["type"]: c["status"] for c in pod["status"].get("conditions", ())}
        told = [status["name"] for status in pod["status"].get("initContainerStatuses", ())]
        if conditions.get("Ready") == ready and (not trouble or told == [trouble["name"]]):
            return None
        self._addresses += 1
        high, low = divmod(self._addresses, 250)
        address = f"10.9.{high}.{low + 1}"
        since = "2026-01-01T00:00:00Z"
        return {
            "phase": "Pending" if trouble else "Running",
            "podIP": address,
            "podIPs": [{"ip": address}],
            "conditions": [{"type": "Ready", "status": ready, "lastTransitionTime": since}],
            **({"initContainerStatuses": [trouble]} if trouble else {}),
        }
