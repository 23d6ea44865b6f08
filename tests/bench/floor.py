"""The floor: the requests that the operator makes, made by a client that does nothing else.

The same verbs and kinds, as many of each, bodies of the same content, as many at a time; only
reading, deciding and waiting are left out. Nothing that works by such requests can be faster.
"""

from __future__ import annotations

import asyncio
import itertools
import time
from collections.abc import Iterator, Mapping
from typing import Any

from model_operator import api, naming
from model_operator.clients.cluster import path
from tests.bench.counters import WRITES, Call
from tests.bench.estate import Estate, Key
from tests.fault.admin import MERGE, Admin, Refused

Body = dict[str, Any]
DISCOVERY = "APIResourceList"
"""Asked for by the process, not for a resource."""


class Floor:
    """Replays what was counted for one resource, for each resource of an estate."""

    def __init__(self, admin: Admin, calls: Mapping[Call, int], size: int, sample: Sample) -> None:
        self._admin = admin
        self._calls = {
            (verb, kind): count
            for (verb, kind), count in calls.items()
            if verb != "watch" and kind != DISCOVERY
        }
        self._size = size
        self._sample = sample

    async def run(self, estate: Estate, at_once: int) -> float:
        """Makes all requests; returns the seconds that they took."""
        waiting = enumerate(estate.keys)
        started = time.perf_counter()
        await asyncio.gather(*(self._worker(waiting) for _ in range(at_once)))
        return time.perf_counter() - started

    async def follow(self, estate: Estate, key: Key, replicas: int) -> None:
        """Gives a child so many pods as soon as the watch tells that the resource asks for them."""
        await estate.until_asked(key, replicas)
        await self._scale(key, replicas)

    def requests(self, number: int) -> Iterator[Call]:
        """Those of one resource: reads before writes. What is less than one each falls to some."""
        for call in sorted(self._calls, key=lambda call: (call[0] in WRITES, call)):
            count = self._calls[call]
            before, after = (n * count // self._size for n in (number, number + 1))
            yield from itertools.repeat(call, after - before)

    async def _worker(self, waiting: Iterator[tuple[int, Key]]) -> None:
        for number, key in waiting:
            owner = await self._admin.call("GET", path(api.KIND, *key))
            for verb, kind in self.requests(number):
                await self._request(verb, kind, key, owner)

    async def _request(self, verb: str, kind: str, key: Key, owner: Body) -> None:
        namespace, name = key
        try:
            if verb == "list":
                selector = naming.owned_by_selector(name)
                await self._admin.items(path(kind, namespace), selector)
            elif verb == "get" and kind in ("Service", "Endpoints", api.KIND):
                await self._admin.get(path(kind, namespace, name))
            elif verb == "get":
                await self._admin.get(path(kind, namespace, f"{name}-0000000000"))
            else:
                await self._write(verb, kind, key, owner)
        except Refused as refusal:
            if refusal.code != 404:
                raise

    async def _write(self, verb: str, kind: str, key: Key, owner: Body) -> None:
        namespace, name = key
        if verb == "apply":
            body = self._sample.child(kind, name, owner)
            target = path(kind, namespace, body["metadata"]["name"])
            await self._admin.apply(target, body, naming.MANAGER)
        elif verb == "update":
            body = {**owner, "status": self._sample.status}
            latest = await self._admin.call("PUT", path(kind, *key, "status"), body)
            owner["metadata"]["resourceVersion"] = latest["metadata"]["resourceVersion"]
        elif (verb, kind) == ("patch", "Scale"):
            await self._scale(key, 1)
        elif (verb, kind) == ("create", "Event"):
            await self._admin.call("POST", path(kind, namespace), self._sample.event(key, owner))
        else:
            raise ValueError(f"the floor does not know how to {verb} a {kind}")

    async def _scale(self, key: Key, replicas: int) -> None:
        namespace, name = key
        target = path("Deployment", namespace, self._sample.name_of("Deployment", name), "scale")
        body = {"spec": {"replicas": replicas}}
        await self._admin.call("PATCH", target, body, content_type=MERGE)


class Sample:
    """What the operator made of one resource, to be made again for others."""

    def __init__(self, key: Key, status: Body, children: Mapping[str, Body], event: Body) -> None:
        self._name = key[1]
        self.status = status
        self._children = children
        self._event = event
        self._numbers = itertools.count()

    def name_of(self, kind: str, name: str) -> str:
        """What the child of another resource is called."""
        renamed: str = _renamed(self._children[kind]["metadata"]["name"], self._name, name)
        return renamed

    def child(self, kind: str, name: str, owner: Body) -> Body:
        """The child of another resource."""
        body = _renamed(self._children[kind], self._name, name)
        body["metadata"]["namespace"] = owner["metadata"]["namespace"]
        for reference in body["metadata"]["ownerReferences"]:
            reference["uid"] = owner["metadata"]["uid"]
        return body

    def event(self, key: Key, owner: Body) -> Body:
        """An Event of another resource."""
        namespace, name = key
        body = _renamed(self._event, self._name, name)
        body["metadata"] = {"name": f"{name}.{next(self._numbers):016x}", "namespace": namespace}
        body["involvedObject"] |= {"namespace": namespace, "uid": owner["metadata"]["uid"]}
        return body


async def take_sample(admin: Admin, key: Key) -> Sample:
    """Reads what the operator has made of a resource that has converged."""
    namespace, name = key
    owner = await admin.call("GET", path(api.KIND, *key))
    selector = naming.owned_by_selector(name)
    children: dict[str, Body] = {}
    for kind in ("Deployment", "ControllerRevision", "Service"):
        group = path(kind, namespace).split("/namespaces")[0]
        (body, *_) = await admin.items(path(kind, namespace), selector)
        children[kind] = _as_applied({**body, "kind": kind, "apiVersion": _group_version(group)})
    events = await admin.items(path("Event", namespace))
    event = next(one for one in events if one["involvedObject"]["name"] == name)
    return Sample(key, owner["status"], children, _as_applied(event))


def _group_version(prefix: str) -> str:
    """
    >>> _group_version("/apis/apps/v1"), _group_version("/api/v1")
    ('apps/v1', 'v1')
    """
    return prefix.removeprefix("/apis/").removeprefix("/api/")


def _as_applied(body: Body) -> Body:
    """Without what the API server adds, and without `replicas`, which no apply carries."""
    kept = {key: value for key, value in body.items() if key != "status"}
    names = ("name", "labels", "annotations", "ownerReferences")
    kept["metadata"] = {key: body["metadata"][key] for key in names if key in body["metadata"]}
    if body.get("kind") == "Deployment":
        spec = {key: value for key, value in body["spec"].items() if key != "replicas"}
        kept["spec"] = spec
    if body.get("kind") == "Service":
        spec = {k: v for k, v in body["spec"].items() if k not in ("clusterIP", "clusterIPs")}
        kept["spec"] = spec
    return kept


def _renamed(value: Any, before: str, after: str) -> Any:
    """The same with another name in every text."""
    if isinstance(value, str):
        return value.replace(before, after)
    if isinstance(value, dict):
        return {key: _renamed(one, before, after) for key, one in value.items()}
    if isinstance(value, list):
        return [_renamed(one, before, after) for one in value]
    return value
