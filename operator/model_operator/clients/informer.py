"""Watches the children of one kind, for ever, and tells a `View` what it hears.

With a server-side label selector: objects of others cost nothing. `main` starts one informer for
each kind (and namespace); they end only when they are cancelled.
"""

from __future__ import annotations

import asyncio
import random
import time
from collections.abc import Awaitable, Callable

import structlog

from model_operator.clients.cluster import Cluster
from model_operator.clients.listing import read, selector
from model_operator.clients.transport import Body
from model_operator.clients.view import View
from model_operator.errors import ApiError, ApiUnreachable, Gone

CHILD_KINDS = (
    *("Deployment", "Service", "Pod", "ControllerRevision", "Endpoints", "ConfigMap"),
    *("Job", "PodDisruptionBudget", "HTTPRoute"),
)
LONGEST_PAUSE_SECONDS = 4.0
SHORTEST_WATCH_SECONDS = 0.5
"""A watch that ends sooner and told nothing is trouble: renewing it at once would never rest."""

log = structlog.get_logger(__name__)


class Informer:
    """Follows the children of one kind."""

    def __init__(
        self,
        cluster: Cluster,
        view: View,
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
    ) -> None:
        self._cluster = cluster
        self._view = view
        self._sleep = sleep
        self._version: str | None = None
        """Where the next watch begins; None: after a new list."""
        self._failures = 0
        """In a row: a watch that tells something, or that lives, ends the row."""
        self._trust: asyncio.Timeout | None = None
        """Ends the present watch when it runs out."""

    async def run(self) -> None:
        """Lists and watches for ever; pauses grow a little while the API server has trouble."""
        while True:
            try:
                if self._version is None:
                    self._version = await self._list()
                if self._version:
                    await self._follow(self._version)
                else:  # the API server has no such kind: there is nothing to watch yet
                    self._version = None
                    await self._sleep(LONGEST_PAUSE_SECONDS)
            except Gone as error:
                self._version = None
                if self._failures:  # the list before was of no use: no third one at once
                    await self._pause(error, None)
                self._failures = max(self._failures, 1)
            except ApiUnreachable as error:
                await self._pause(error, None)
            except ApiError as error:
                if error.status != 429:  # a list is the last thing that it needs then
                    self._version = None
                await self._pause(error, error.retry_after)

    def distrust(self) -> None:
        """Begins anew with a list, at once: this watch leaves things out."""
        if self._trust is not None:
            self._trust.reschedule(asyncio.get_running_loop().time())

    async def _list(self) -> str:
        listing = await read(self._cluster, self._view)
        self._view.replace(listing.present)
        return listing.version

    async def _follow(self, version: str) -> None:
        """One watch, until the server closes it or it is not trusted any more."""
        kind, started, told = self._view.kind, time.monotonic(), False
        stream = self._cluster.watch(
            kind,
            self._view.namespace,
            selector(kind),
            version,
            self._view.alive,
            metadata_only=True,
        )
        try:
            async with asyncio.timeout(None) as self._trust:
                async for event in stream:
                    self._failures, told = 0, True
                    self._note(event)
        except TimeoutError:
            self._version = None
            return
        finally:
            self._trust = None
            # One that lives is no failure: in a quiet cluster some API servers send no bookmarks.
            lived = told or time.monotonic() - started >= SHORTEST_WATCH_SECONDS
            if lived:
                self._failures = 0
        if not lived:
            raise ApiUnreachable(f"the watch of {kind} was closed at once")

    def _note(self, event: Body) -> None:
        metadata = event["object"]["metadata"]
        self._version = metadata["resourceVersion"]
        if event["type"] == "BOOKMARK":
            self._view.alive()
        else:
            self._view.tell(event["type"], metadata)

    async def _pause(self, error: Exception, at_least: float | None) -> None:
        self._failures += 1
        pause = min(LONGEST_PAUSE_SECONDS, 2.0 ** min(self._failures, 10) / 4)
        pause = max(pause * random.uniform(1.0, 1.3), at_least or 0.0)  # noqa: S311 - jitter
        # A quiet watch that is renewed is no news; one that fails again and again is.
        tell = log.warning if self._failures > 1 else log.info
        tell("watch interrupted", kind=self._view.kind, error=str(error), pause=round(pause, 1))
        await self._sleep(pause)
