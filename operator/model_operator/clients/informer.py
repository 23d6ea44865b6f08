"""Watches children and says which ModelDeployment each change belongs to.

One informer per kind, with a server-side label selector: objects of others cost nothing. It
keeps no bodies, only who exists: after a re-list, what has vanished in between is reported too.
`main` starts them; they end only when they are cancelled.
"""

from __future__ import annotations

import asyncio
import random
import time
from collections.abc import Callable
from typing import Any

import structlog

from model_operator import naming
from model_operator.clients.cluster import Cluster
from model_operator.errors import ApiError, ApiUnreachable, Gone

Key = tuple[str, str]
"""Namespace and name of a ModelDeployment."""

CHILD_KINDS = ("Deployment", "Service", "Pod", "ControllerRevision", "Endpoints")
LONGEST_PAUSE_SECONDS = 30.0
SHORTEST_WATCH_SECONDS = 0.5
"""A watch that ends sooner and told nothing is trouble: renewing it at once would never rest."""

log = structlog.get_logger(__name__)


def owner_key(body: dict[str, Any]) -> Key | None:
    """The ModelDeployment that an object's labels name."""
    metadata = body["metadata"]
    owner = metadata.get("labels", {}).get(naming.OWNER_LABEL)
    return (metadata["namespace"], owner) if owner else None


class Informer:
    """Follows the children of one kind in all namespaces."""

    def __init__(self, cluster: Cluster, kind: str, notify: Callable[[Key], None]) -> None:
        self._cluster = cluster
        self._kind = kind
        self._notify = notify
        self._owners: dict[str, Key] = {}
        """By the child's uid."""
        self._failures = 0
        """In a row: a watch that tells something, or that lives, ends the row."""

    async def run(self) -> None:
        """Lists and watches for ever; pauses grow while the API server does not answer."""
        while True:
            try:
                version = await self._list()
                while True:
                    version = await self._follow(version)
            except Gone:
                continue
            except (ApiError, ApiUnreachable) as error:
                self._failures += 1
                pause = min(LONGEST_PAUSE_SECONDS, 2.0 ** min(self._failures, 10) / 4)
                # A quiet watch that is renewed is no news; one that fails again and again is.
                tell = log.warning if self._failures > 1 else log.info
                tell("watch interrupted", kind=self._kind, error=str(error), pause=pause)
                await asyncio.sleep(pause * random.uniform(0.8, 1.2))  # noqa: S311 - jitter

    async def _list(self) -> str:
        items, version = await self._cluster.list(self._kind, None, naming.MANAGED_SELECTOR)
        found = {
            item["metadata"]["uid"]: key for item in items if (key := owner_key(item)) is not None
        }
        for key in {*found.values(), *self._owners.values()}:
            self._notify(key)
        self._owners = found
        return version

    async def _follow(self, version: str) -> str:
        """One watch, until the server closes it; returns where the next one starts."""
        started, told = time.monotonic(), False
        stream = self._cluster.watch(self._kind, None, naming.MANAGED_SELECTOR, version)
        async for event in stream:
            self._failures, told = 0, True
            body = event["object"]
            version = body["metadata"]["resourceVersion"]
            if event["type"] != "BOOKMARK":
                self._note(event["type"], body)
        if not told and time.monotonic() - started < SHORTEST_WATCH_SECONDS:
            raise ApiUnreachable(f"the watch of {self._kind} was closed at once")
        self._failures = 0
        return version

    def _note(self, kind_of_change: str, body: dict[str, Any]) -> None:
        uid = body["metadata"]["uid"]
        before, now = self._owners.pop(uid, None), owner_key(body)
        if kind_of_change != "DELETED" and now is not None:
            self._owners[uid] = now
        for key in {before, now} - {None}:
            if key is not None:
                self._notify(key)
