"""Everything that became of a namespace's pods and of the ways to them, in its true order.

Three watches are recorded: of pods, of Services, of ConfigMaps. Each tells every change there was,
and one tells it before the other; so what is asked about the past is asked of a replay in the order
of the resource versions, which one etcd gives to all three.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable, Iterator
from dataclasses import dataclass, field
from typing import Any

import aiohttp

from model_operator import naming
from tests.fault import requests_go
from tests.fault.admin import Admin, Refused
from tests.fault.requests_go import Requests, Way
from tests.fault.stage import NAME

Body = dict[str, Any]
KINDS = ("pods", "services", "configmaps")


@dataclass
class Held:
    """What there is at one moment, by kind and uid."""

    objects: dict[str, dict[str, Body]] = field(default_factory=lambda: {k: {} for k in KINDS})

    def note(self, kind: str, change: str, body: Body) -> None:
        """One change."""
        uid = body["metadata"]["uid"]
        if change == "DELETED":
            self.objects[kind].pop(uid, None)
        else:
            self.objects[kind][uid] = body

    def requests(self) -> Requests | None:
        """Where clients' requests go; None while there is no endpoint."""
        return requests_go.read(self._named("services", NAME), self._route())

    def ready(self, revision: str) -> list[Body]:
        """The pods of a revision that can answer."""
        wanted = naming.pod_selector(NAME, revision).items()
        pods = self.objects["pods"].values()
        return [p for p in pods if wanted <= p["metadata"]["labels"].items() and _is_ready(p)]

    def serving(self) -> dict[str, list[Body]]:
        """The ready pods that get requests, by revision."""
        requests = self.requests()
        revisions = (requests.stable, requests.canary) if requests else ()
        return {r: self.ready(r) for r in revisions if r and requests and requests.weight_of(r)}

    def shares(self) -> dict[str, float]:
        """Which part of all requests each serving pod gets, by its name."""
        requests, serving = self.requests(), self.serving()
        every = sum(len(pods) for pods in serving.values())
        found: dict[str, float] = {}
        for revision, pods in serving.items():
            by_weight = requests.weight_of(revision) / 100 / max(1, len(pods)) if requests else 0
            by_pods = requests is not None and requests.way is Way.RATIO
            found |= {p["metadata"]["name"]: 1 / every if by_pods else by_weight for p in pods}
        return found

    def _route(self) -> Body | None:
        return self._named("configmaps", f"{NAME}-router")

    def _named(self, kind: str, name: str) -> Body | None:
        bodies = self.objects[kind].values()
        return next((body for body in bodies if body["metadata"]["name"] == name), None)


@dataclass(frozen=True)
class Change:
    """One event of a watch."""

    version: int
    kind: str
    type: str
    body: Body


@dataclass
class Chronicle:
    """Of one namespace, from `recording` on."""

    admin: Admin
    namespace: str
    now: Held = field(default_factory=Held)
    """As far as the watches have told."""
    _changes: list[Change] = field(default_factory=list)
    _mark: int = 0

    @contextlib.asynccontextmanager
    async def recording(self) -> AsyncIterator[Chronicle]:
        """Records until the block ends."""
        versions = {kind: await self._list(kind) for kind in KINDS}
        tasks = [asyncio.create_task(self._follow(kind, versions[kind])) for kind in KINDS]
        try:
            yield self
            assert not any(task.done() for task in tasks), "a watch has ended: changes are missing"
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)

    def hear(self, kind: str, change: str, body: Body) -> None:
        """What a watch has told."""
        self._changes.append(Change(int(body["metadata"]["resourceVersion"]), kind, change, body))
        self.now.note(kind, change, body)

    def mark(self) -> None:
        """From here on `since_mark` looks at what was."""
        self._mark = max((change.version for change in self._changes), default=0)

    def since_mark(self, look: Callable[[Held], int | None]) -> list[int]:
        """What `look` found at the mark and after each later change, where it found anything."""
        return [found for held in self._replay() if (found := look(held)) is not None]

    def _replay(self) -> Iterator[Held]:
        held = Held()
        begun = False
        for change in sorted(self._changes, key=lambda change: change.version):
            if change.version > self._mark and not begun:
                begun = True
                yield held
            held.note(change.kind, change.type, change.body)
            if begun:
                yield held
        if not begun:
            yield held

    async def _list(self, kind: str) -> str:
        listed = await self.admin.call("GET", self._path(kind))
        for body in listed.get("items") or ():
            self.hear(kind, "ADDED", body)
        return str(listed["metadata"]["resourceVersion"])

    async def _follow(self, kind: str, version: str) -> None:
        while True:
            # The server closes a watch after a while; the next one begins where it ended.
            with contextlib.suppress(aiohttp.ClientError):
                async for event in self.admin.watch(self._path(kind), version):
                    body = event["object"]
                    if event["type"] == "ERROR":
                        raise Refused(body.get("code", 500), body.get("message", ""))
                    version = body["metadata"]["resourceVersion"]
                    self.hear(kind, event["type"], body)

    def _path(self, kind: str) -> str:
        return f"/api/v1/namespaces/{self.namespace}/{kind}"


def serving_pods(held: Held) -> int | None:
    """How many ready pods get requests; None before anything serves."""
    return sum(len(pods) for pods in held.serving().values()) if held.requests() else None


def stable_pods(held: Held) -> int | None:
    """How many ready pods the stable revision has."""
    requests = held.requests()
    return len(held.ready(requests.stable)) if requests else None


def _is_ready(pod: Body) -> bool:
    if "deletionTimestamp" in pod["metadata"]:
        return False
    conditions = (pod.get("status") or {}).get("conditions") or ()
    return any(c["type"] == "Ready" and c["status"] == "True" for c in conditions)
