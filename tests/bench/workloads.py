"""Stands in for the workload controllers, the scheduler and the kubelets of an estate.

Each Deployment gets the pods that it asks for, ready at once; each Service its Endpoints. One write
each, so that what is measured is not drowned in what a node would do. `python -m tests.bench` runs
it beside every contender.
"""

from __future__ import annotations

import asyncio
import contextlib
import itertools
from typing import Any, Self

from tests.fault.admin import MERGE, Admin, Refused

Body = dict[str, Any]
WORKERS = 4
_DEPLOYMENTS = "/apis/apps/v1/deployments"
_SERVICES = "/api/v1/services"
_READY = [
    {"type": kind, "status": "True", "lastTransitionTime": "2026-01-01T00:00:00Z"}
    for kind in ("Initialized", "Ready", "ContainersReady", "PodScheduled")
]


class Workloads:
    """Plays from `async with` on."""

    def __init__(self, admin: Admin) -> None:
        self._admin = admin
        self._queue: asyncio.Queue[tuple[str, str, str]] = asyncio.Queue()
        self._queued: set[tuple[str, str, str]] = set()
        self._seen: dict[tuple[str, str, str], Body] = {}
        self._services: dict[str, set[str]] = {}
        """Their names by namespace."""
        self._pods: dict[str, dict[str, list[Body]]] = {}
        """Those that were made, by the namespace and the name of their Deployment."""
        self._listed: dict[tuple[str, str], list[Body]] = {}
        """What the Endpoints of a Service list."""
        self._addresses = 0
        self._tasks: list[asyncio.Task[None]] = []

    async def __aenter__(self) -> Self:
        follow = [self._follow("deployments", _DEPLOYMENTS), self._follow("services", _SERVICES)]
        work = [self._work() for _ in range(WORKERS)]
        self._tasks = [asyncio.create_task(one) for one in (*follow, *work)]
        return self

    async def __aexit__(self, *_: object) -> None:
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    async def _follow(self, plural: str, path: str) -> None:
        listed = await self._admin.call("GET", path)
        for body in listed.get("items") or ():
            self._note(plural, body)
        version = listed["metadata"]["resourceVersion"]
        while True:
            async for event in self._admin.watch(path, version):
                body = event["object"]
                version = body["metadata"]["resourceVersion"]
                if event["type"] in ("ADDED", "MODIFIED"):
                    self._note(plural, body)

    def _note(self, plural: str, body: Body) -> None:
        metadata = body["metadata"]
        key = (plural, metadata["namespace"], metadata["name"])
        self._seen[key] = body
        if plural == "services":
            self._services.setdefault(metadata["namespace"], set()).add(metadata["name"])
        self._add(key)

    def _add(self, key: tuple[str, str, str]) -> None:
        if key not in self._queued:
            self._queued.add(key)
            self._queue.put_nowait(key)

    async def _work(self) -> None:
        while True:
            key = await self._queue.get()
            self._queued.discard(key)
            act = self._deploy if key[0] == "deployments" else self._list_endpoints
            # Changed in between: its next event tells.
            with contextlib.suppress(Refused):
                await act(self._seen[key])

    # --- a Deployment's pods -------------------------------------------------------------------

    async def _deploy(self, body: Body) -> None:
        """As many pods as it asks for, and a status that says so."""
        metadata, wanted = body["metadata"], body["spec"]["replicas"]
        namespace, status = metadata["namespace"], body.get("status") or {}
        pods = self._pods.setdefault(namespace, {}).setdefault(metadata["name"], [])
        if len(pods) == wanted and status.get("observedGeneration") == metadata["generation"]:
            return
        while len(pods) < wanted:
            pods.append(await self._start(body, len(pods)))
        while len(pods) > wanted:
            await self._stop(pods.pop())
        counts = ("replicas", "updatedReplicas", "readyReplicas", "availableReplicas")
        status = {"observedGeneration": metadata["generation"], **dict.fromkeys(counts, wanted)}
        path = f"/apis/apps/v1/namespaces/{namespace}/deployments/{metadata['name']}"
        await self._admin.call("PATCH", f"{path}/status", {"status": status}, content_type=MERGE)
        for name in self._services.get(namespace, ()):
            self._add(("services", namespace, name))

    async def _start(self, deployment: Body, number: int) -> Body:
        metadata, template = deployment["metadata"], deployment["spec"]["template"]
        path = f"/api/v1/namespaces/{metadata['namespace']}/pods"
        pod = {
            "metadata": {
                "name": f"{metadata['name']}-{number}",
                "labels": template["metadata"]["labels"],
            },
            "spec": {**template["spec"], "nodeName": "somewhere"},
        }
        made = await self._admin.call("POST", path, pod)
        self._addresses += 1
        address = f"10.{self._addresses >> 16}.{self._addresses >> 8 & 255}.{self._addresses & 255}"
        status = {"phase": "Running", "podIP": address, "conditions": _READY}
        target = f"{path}/{made['metadata']['name']}/status"
        await self._admin.call("PATCH", target, {"status": status}, content_type=MERGE)
        return {"metadata": made["metadata"], "ip": address}

    async def _stop(self, pod: Body) -> None:
        metadata = pod["metadata"]
        path = f"/api/v1/namespaces/{metadata['namespace']}/pods/{metadata['name']}"
        await self._admin.call("DELETE", path, {"gracePeriodSeconds": 0})

    # --- a Service's endpoints -----------------------------------------------------------------

    async def _list_endpoints(self, service: Body) -> None:
        """The pods that it selects; no write where they are listed already."""
        metadata, selector = service["metadata"], service["spec"].get("selector")
        if not selector:
            return
        here = self._pods.get(metadata["namespace"], {}).values()
        addresses = [
            {"ip": pod["ip"], "targetRef": {"kind": "Pod", **_named(pod)}}
            for pod in itertools.chain.from_iterable(here)
            if selector.items() <= pod["metadata"]["labels"].items()
        ]
        key = (metadata["namespace"], metadata["name"])
        if self._listed.get(key) == addresses:
            return
        body = {
            "apiVersion": "v1",
            "kind": "Endpoints",
            "metadata": {"name": metadata["name"], "labels": metadata.get("labels") or {}},
            "subsets": [{"addresses": addresses, "ports": [{"port": 8000}]}] if addresses else [],
        }
        path = f"/api/v1/namespaces/{metadata['namespace']}/endpoints/{metadata['name']}"
        await self._admin.apply(path, body, "endpoints")
        self._listed[key] = addresses


def _named(pod: Body) -> Body:
    metadata = pod["metadata"]
    return {key: metadata[key] for key in ("name", "namespace", "uid")}
