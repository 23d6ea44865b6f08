"""Compares what the watches have told with the cluster: what a watch leaves out is found here.

A watch is a promise of the API server, of everything between it and us, and of our own code. One
event lost anywhere would leave a resource wrong until its resync. So each kind is listed anew all
the time, metadata only, and whatever differs is passed on. `main` runs one sweep over all views.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable, Mapping
from typing import Protocol

import structlog

from model_operator.clients.cluster import Cluster
from model_operator.clients.listing import read
from model_operator.clients.view import View
from model_operator.errors import ApiError, ApiUnreachable

LARGEST_SHARE = 0.005
"""Of one core: a sweep that took long is followed by a longer pause."""
SECONDS_AFTER_TROUBLE = 4.0
"""At least, and as many as keep what still works within the next line's share."""
LARGEST_SHARE_IN_TROUBLE = 0.05

log = structlog.get_logger(__name__)


class SweepObserver(Protocol):
    """Hears what sweeps found."""

    def sweep_found(self, kind: str, differences: int) -> None:
        """So many objects differed from what was known."""
        ...

    def watch_missed(self, kind: str, objects: int) -> None:
        """So many findings were not told by the watch, although time has passed."""
        ...


class Sweep:
    """Over several views, one after the other."""

    def __init__(
        self,
        cluster: Cluster,
        views: Mapping[View, Callable[[], None]],
        seconds: float,
        observer: SweepObserver,
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
    ) -> None:
        """`views`: each with what is called when its watch is found to be deaf."""
        self._cluster = cluster
        self._views = views
        self._seconds = seconds
        self._observer = observer
        self._sleep = sleep

    async def run(self) -> None:
        """Sweeps for ever."""
        pause = self._seconds
        while True:
            await self._sleep(pause)
            cpu, well = 0.0, True
            for view in self._views:
                try:
                    cpu += await self._sweep(view)
                except (ApiError, ApiUnreachable) as error:
                    well = False
                    log.info("sweep interrupted", kind=view.kind, error=str(error))
                self._call_to_account(view)
            pause = max(self._seconds, cpu / LARGEST_SHARE)
            if not well:
                pause = min(pause, max(SECONDS_AFTER_TROUBLE, cpu / LARGEST_SHARE_IN_TROUBLE))
            for view in self._views:
                view.swept_every = pause

    async def _sweep(self, view: View) -> float:
        """Compares one view with the cluster; returns the seconds of CPU that it took."""
        if not view.listed:
            return 0.0
        view.begin_sweep()
        listing = await read(self._cluster, view)
        started = time.thread_time()
        if found := view.end_sweep(listing.present):
            self._observer.sweep_found(view.kind, found)
        return listing.cpu_seconds + time.thread_time() - started

    def _call_to_account(self, view: View) -> None:
        missed, deaf = view.missed()
        if missed:
            self._observer.watch_missed(view.kind, missed)
            log.warning("the watch left something out", kind=view.kind, objects=missed, deaf=deaf)
        if deaf:
            self._views[view]()
