"""The pod player: stands in for scheduler and kubelet where there is an API server but no node.

It binds every pod of a namespace (or of all of them) to a node of its own, gives it an address
and makes it ready, after a while or never, as its `Part` says; a pod that is being deleted it
lets go at once. Its node stays alive as long as it plays.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Self

import aiohttp

from tests.deadlines import within
from tests.fault.admin import MERGE, Admin, Refused

Body = dict[str, Any]
NODE = "pod-player"
HEARTBEAT_SECONDS = 10.0
SINCE = "2026-01-01T00:00:00Z"


@dataclass
class Part:
    """How the pods of a namespace behave; may be changed at any time."""

    delay: Callable[[Body], float] = lambda pod: 0.0
    """Seconds from a pod's binding to its readiness."""
    held: Callable[[Body], bool] = lambda pod: False
    """Pods that run and are not ready, or are not so any more: hold one for a while to flap it."""
    trouble: Callable[[Body], Body | None] = lambda pod: None
    """The status of a container that fails: an init container's or the server's, by its name."""
    ended: Callable[[Body], tuple[int, str] | None] = lambda pod: None
    """The exit status and the last words of a pod that ends for good, as those of Jobs do."""


class PodPlayer:
    """Plays from `async with` on; `part()` steers it."""

    def __init__(self, admin: Admin, namespace: str | None = None) -> None:
        self._admin = admin
        self._pods_path = f"/api/v1/namespaces/{namespace}/pods" if namespace else "/api/v1/pods"
        self._parts: dict[str, Part] = {}
        self._default = Part()
        self._pods: dict[str, Body] = {}
        self._due: dict[str, float] = {}
        self._addresses = 0
        self._tasks: list[asyncio.Task[None]] = []
        self._changed = asyncio.Event()

    @property
    def state_of(self) -> Callable[[Body], Body | None]:
        """A container status for a pod that shall not become ready; None lets it."""
        return self._default.trouble

    @state_of.setter
    def state_of(self, trouble: Callable[[Body], Body | None]) -> None:
        self._default.trouble = trouble
        self._changed.set()

    def part(self, namespace: str, part: Part) -> None:
        """How the pods of one namespace behave from now on."""
        self._parts[namespace] = part
        self._changed.set()

    def pod(self, namespace: str, name: str) -> Body | None:
        """A pod as it was last seen; None for one that is not there, or is ending."""
        wanted = (namespace, name)
        return next(
            (
                pod
                for pod in self._pods.values()
                if (pod["metadata"]["namespace"], pod["metadata"]["name"]) == wanted
                and "deletionTimestamp" not in pod["metadata"]
            ),
            None,
        )

    async def __aenter__(self) -> Self:
        with contextlib.suppress(Refused):  # made by an earlier player
            await self._admin.call("POST", "/api/v1/nodes", _node())
        await self._beat()
        self._tasks = [
            asyncio.create_task(act()) for act in (self._heart, self._follow, self._play)
        ]
        return self

    async def __aexit__(self, *_: object) -> None:
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    # --- the node ----------------------------------------------------------------------------

    async def _heart(self) -> None:
        while True:
            await asyncio.sleep(HEARTBEAT_SECONDS)
            with contextlib.suppress(Refused, aiohttp.ClientError):
                await self._beat()

    async def _beat(self) -> None:
        """Without it the node controller would take the pods for lost after a while."""
        ready = {
            "type": "Ready",
            "status": "True",
            "reason": "PodPlayer",
            "message": "plays",
            "lastHeartbeatTime": _now(),
            "lastTransitionTime": SINCE,
        }
        status = {"status": {"conditions": [ready]}}
        await self._admin.call("PATCH", f"/api/v1/nodes/{NODE}/status", status, content_type=MERGE)

    # --- the pods ----------------------------------------------------------------------------

    async def _follow(self) -> None:
        while True:
            with contextlib.suppress(Refused, aiohttp.ClientError):
                listed = await self._admin.call("GET", self._pods_path)
                self._pods = {pod["metadata"]["uid"]: pod for pod in listed.get("items") or ()}
                self._changed.set()
                version = listed["metadata"]["resourceVersion"]
                async for event in self._admin.watch(self._pods_path, version):
                    self._note(event)

    def _note(self, event: Body) -> None:
        pod = event["object"]
        if event["type"] == "ERROR":
            raise Refused(pod.get("code", 500), pod.get("message", ""))
        uid = pod["metadata"]["uid"]
        if event["type"] == "DELETED":
            self._pods.pop(uid, None)
            self._due.pop(uid, None)
        else:
            self._pods[uid] = pod
        self._changed.set()

    async def _play(self) -> None:
        while True:
            with contextlib.suppress(TimeoutError):
                await within(0.1, self._changed.wait())
            self._changed.clear()
            for pod in list(self._pods.values()):
                # It was deleted or changed in between: its next event tells.
                with contextlib.suppress(Refused, aiohttp.ClientError):
                    await self._play_one(pod)

    async def _play_one(self, pod: Body) -> None:
        metadata = pod["metadata"]
        target = f"/api/v1/namespaces/{metadata['namespace']}/pods/{metadata['name']}"
        if "deletionTimestamp" in metadata:
            await self._admin.call("DELETE", target, {"gracePeriodSeconds": 0})
            self._pods.pop(metadata["uid"], None)
            return
        part = self._parts.get(metadata["namespace"], self._default)
        if "nodeName" not in pod["spec"]:
            await self._admin.call("POST", f"{target}/binding", _binding(metadata["name"]))
            pod["spec"]["nodeName"] = NODE
        loop = asyncio.get_running_loop()
        if (ended := part.ended(pod)) is not None:
            if "podIP" not in (pod.get("status") or {}):
                await self._write(pod, _ended(pod, *ended, self._next_address()))
            return
        due = self._due.setdefault(metadata["uid"], loop.time() + part.delay(pod))
        trouble = part.trouble(pod)
        ready = loop.time() >= due and not part.held(pod) and trouble is None
        if (status := self._status(pod, ready=ready, trouble=trouble)) is not None:
            await self._write(pod, status)

    def _status(self, pod: Body, *, ready: bool, trouble: Body | None) -> Body | None:
        """The pod's new status; None when it has it."""
        status = pod.get("status") or {}
        conditions = {c["type"]: c["status"] for c in status.get("conditions") or ()}
        told = [
            *(status.get("initContainerStatuses") or ()),
            *(status.get("containerStatuses") or ()),
        ]
        same_trouble = trouble is None or any(_holds(one, trouble) for one in told)
        if conditions.get("Ready") == str(ready) and same_trouble and "podIP" in status:
            return None
        address = status.get("podIP") or self._next_address()
        fetching = trouble and trouble["name"] in {
            container["name"] for container in pod["spec"].get("initContainers") or ()
        }
        return {
            "phase": "Pending" if fetching else "Running",
            "startTime": status.get("startTime") or _now(),
            "podIP": address,
            "podIPs": [{"ip": address}],
            "conditions": _conditions(ready=ready),
            "initContainerStatuses": [trouble] if fetching else None,
            "containerStatuses": [trouble] if trouble and not fetching else None,
        }

    def _next_address(self) -> str:
        self._addresses += 1
        high, low = divmod(self._addresses, 250)
        return f"10.{9 + high // 250}.{high % 250}.{low + 1}"

    async def _write(self, pod: Body, status: Body) -> None:
        metadata = pod["metadata"]
        target = f"/api/v1/namespaces/{metadata['namespace']}/pods/{metadata['name']}/status"
        fresh = await self._admin.call("PATCH", target, {"status": status}, content_type=MERGE)
        if metadata["uid"] in self._pods:
            self._pods[metadata["uid"]] = fresh


def _ended(pod: Body, code: int, words: str, address: str) -> Body:
    moment = _now()
    terminated = {"exitCode": code, "message": words, "startedAt": moment, "finishedAt": moment}
    (container,) = pod["spec"]["containers"]
    status = {
        "name": container["name"],
        "image": container["image"],
        "imageID": "",
        "ready": False,
        "restartCount": 0,
        "state": {"terminated": terminated},
    }
    return {
        "phase": "Failed" if code else "Succeeded",
        "podIP": address,
        "podIPs": [{"ip": address}],
        "conditions": _conditions(ready=False),
        "containerStatuses": [status],
    }


def _conditions(*, ready: bool) -> list[Body]:
    return [{"type": "Ready", "status": str(ready), "lastTransitionTime": _now()}]


def _holds(told: Any, wanted: Any) -> bool:
    """Whether `told` says all that is wanted; the API server fills in the rest."""
    if isinstance(wanted, dict) and isinstance(told, dict):
        return all(key in told and _holds(told[key], value) for key, value in wanted.items())
    return bool(told == wanted)


def _now() -> str:
    return datetime.now(UTC).isoformat(timespec="seconds").replace("+00:00", "Z")


def _node() -> Body:
    return {"apiVersion": "v1", "kind": "Node", "metadata": {"name": NODE}}


def _binding(name: str) -> Body:
    return {
        "apiVersion": "v1",
        "kind": "Binding",
        "metadata": {"name": name},
        "target": {"apiVersion": "v1", "kind": "Node", "name": NODE},
    }
