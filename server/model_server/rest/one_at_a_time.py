"""What takes long to write and is the same for all who ask: written once at a time, in a thread.

`probes` makes the metrics' text with it, and `openapi` the schema: however many ask, and however
fast, they take no more than one thread, and the event loop none of its time.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor


class OneAtATime:
    """Calls `write`; who asks while it is being written gets the same."""

    def __init__(self, name: str, write: Callable[[], bytes]) -> None:
        self._write = write
        self._thread = ThreadPoolExecutor(1, name)
        self._latest: Future[bytes] | None = None

    async def __call__(self) -> bytes:
        """Return what `write` returns; it goes on also where the one who asked first goes away."""
        if self._latest is None or self._latest.done():
            self._latest = self._thread.submit(self._write)
        return await asyncio.shield(asyncio.wrap_future(self._latest))
