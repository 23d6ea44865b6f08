"""Many ModelDeployments: made all at once, watched until they have converged, edited one by one."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import Any, Self

from model_operator import api
from tests.deadlines import within
from tests.fault.admin import MERGE, Admin

Body = dict[str, Any]
Key = tuple[str, str]
PER_NAMESPACE = 50
MAKERS = 8
_ALL = f"/apis/{api.API_VERSION}/{api.PLURAL}"
_DEPLOYMENTS = "/apis/apps/v1/deployments"


@dataclass
class Estate:
    """So many resources of one replica each; follows them from `async with` on."""

    admin: Admin
    size: int
    converged: Callable[[Body], bool]
    done_at: dict[Key, float] = field(default_factory=dict)
    """When each resource had converged."""
    _replicas_asked: dict[Key, int] = field(default_factory=dict)
    _replicas_seen: dict[tuple[str, str, int], float] = field(default_factory=dict)
    _news: asyncio.Event = field(default_factory=asyncio.Event)
    _tasks: list[asyncio.Task[None]] = field(default_factory=list)

    @property
    def keys(self) -> list[Key]:
        """Namespace and name of each."""
        return [(f"estate-{n // PER_NAMESPACE}", f"model-{n}") for n in range(self.size)]

    async def __aenter__(self) -> Self:
        follow = (self._follow(_ALL, self._note), self._follow(_DEPLOYMENTS, self._note_size))
        self._tasks = [asyncio.create_task(one) for one in follow]
        return self

    async def __aexit__(self, *_: object) -> None:
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    async def make_namespaces(self) -> None:
        """Those of the resources, each with the account that pods run as."""
        for name in sorted({namespace for namespace, _ in self.keys}):
            body = {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name}}
            await self.admin.call("POST", "/api/v1/namespaces", body)
            path = f"/api/v1/namespaces/{name}/serviceaccounts"
            await self.admin.call("POST", path, {"metadata": {"name": "default"}})

    async def make(self) -> None:
        """Creates all of them, several at a time."""
        await self._make((path(namespace), resource(name)) for namespace, name in self.keys)

    async def make_unrelated(self, count: int) -> None:
        """So many Deployments without pods, and Secrets, that are nothing to the operator."""
        namespace = {"metadata": {"name": "others"}}
        await self.admin.call("POST", "/api/v1/namespaces", namespace)
        deployments = "/apis/apps/v1/namespaces/others/deployments"
        secrets = "/api/v1/namespaces/others/secrets"
        await self._make((deployments, _unrelated(number)) for number in range(count))
        await self._make(
            (secrets, {"metadata": {"name": f"secret-{n}"}, "stringData": {"password": "x" * 64}})
            for n in range(count)
        )

    async def _make(self, bodies: Iterable[tuple[str, Body]]) -> None:
        waiting = iter(bodies)

        async def maker() -> None:
            for target, body in waiting:
                await self.admin.call("POST", target, body)

        await asyncio.gather(*(maker() for _ in range(MAKERS)))

    async def touch(self, key: Key, value: str) -> None:
        """Changes what means nothing to the operator: it looks, and finds nothing to do."""
        body = {"metadata": {"annotations": {"example.com/touched": value}}}
        await self.admin.call("PATCH", path(*key), body, content_type=MERGE)

    async def until_converged(self, seconds: float, tell: Callable[[int], None]) -> float:
        """Waits until all have; returns when the last one had. Raises TimeoutError."""
        async with asyncio.timeout(seconds):
            while len(self.done_at) < self.size:
                self._news.clear()
                try:
                    await within(5.0, self._news.wait())
                except TimeoutError:
                    tell(len(self.done_at))
        return max(self.done_at.values())

    async def edit(self, key: Key, replicas: int) -> float:
        """Asks for another number of pods; returns the seconds until a child has it."""
        namespace, name = key
        started = time.perf_counter()
        body = {"spec": {"replicas": replicas}}
        await self.admin.call("PATCH", path(namespace, name), body, content_type=MERGE)
        wanted = (namespace, name, replicas)
        async with asyncio.timeout(30):
            while self._replicas_seen.get(wanted, 0.0) < started:
                self._news.clear()
                await self._news.wait()
        return self._replicas_seen[wanted] - started

    async def until_asked(self, key: Key, replicas: int) -> None:
        """Waits until the watch has told that a resource asks for so many pods."""
        while self._replicas_asked.get(key) != replicas:
            self._news.clear()
            await self._news.wait()

    async def _follow(self, target: str, note: Callable[[Body], None]) -> None:
        listed = await self.admin.call("GET", target)
        version = listed["metadata"]["resourceVersion"]
        while True:
            async for event in self.admin.watch(target, version):
                body = event["object"]
                version = body["metadata"]["resourceVersion"]
                if event["type"] != "DELETED":
                    note(body)
                    self._news.set()

    def _note(self, body: Body) -> None:
        key = (body["metadata"]["namespace"], body["metadata"]["name"])
        self._replicas_asked[key] = body["spec"]["replicas"]
        if self.converged(body):
            self.done_at.setdefault(key, time.perf_counter())

    def _note_size(self, body: Body) -> None:
        metadata = body["metadata"]
        owner = (metadata.get("ownerReferences") or [{"name": ""}])[0]["name"]
        key = (metadata["namespace"], owner, body["spec"]["replicas"])
        self._replicas_seen[key] = time.perf_counter()


def path(namespace: str, name: str = "") -> str:
    """The collection's path, or one resource's."""
    return f"/apis/{api.API_VERSION}/namespaces/{namespace}/{api.PLURAL}/{name}".rstrip("/")


def resource(name: str) -> Body:
    """One of them, as a user would write it."""
    return {
        "apiVersion": api.API_VERSION,
        "kind": api.KIND,
        "metadata": {"name": name},
        "spec": {"model": {"uri": "models:/cats-dogs/1"}, "replicas": 1},
    }


def _unrelated(number: int) -> Body:
    labels = {"app": f"other-{number}"}
    container = {"name": "main", "image": "example/other:1"}
    template = {"metadata": {"labels": labels}, "spec": {"containers": [container]}}
    spec = {"replicas": 0, "selector": {"matchLabels": labels}, "template": template}
    return {"metadata": {"name": f"other-{number}", "labels": labels}, "spec": spec}


def is_ready(body: Body) -> bool:
    """Whether this generation is rolled out, as our status says it."""
    conditions = (body.get("status") or {}).get("conditions") or ()
    return any(
        (one["type"], one["status"]) == ("Ready", "True")
        and one["observedGeneration"] == body["metadata"]["generation"]
        for one in conditions
    )


def is_written(body: Body) -> bool:
    """Whether kopf has handled it: what it remembers of a resource is its last write."""
    annotations = body["metadata"].get("annotations") or {}
    return "kopf.zalando.org/last-handled-configuration" in annotations
