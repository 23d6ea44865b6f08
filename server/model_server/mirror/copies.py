"""A request to be copied, and the bounded queue that copies wait in.

`rest.dataplane` makes copies; `mirror.sender` puts them in and takes them out, all on the event
loop's thread.
"""

from __future__ import annotations

import asyncio
from dataclasses import dataclass

from model_server.tracing import Trace


@dataclass(frozen=True, slots=True)
class Copy:
    """What the shadow gets of a request that was answered. The body is shared, not copied."""

    path: str
    """As it came, percent-encoded, without the query."""
    body: bytes
    content_type: str | None
    tensor_header_length: str | None
    """The V2 protocol's `Inference-Header-Content-Length`."""
    request_id: str
    trace: Trace | None
    labels: tuple[str, ...]
    """What this server predicted, picture by picture."""


class Copies:
    """A queue bounded in count and in bytes, the bytes of copies under way included."""

    def __init__(self, *, max_count: int, max_bytes: int) -> None:
        self._queue: asyncio.Queue[Copy] = asyncio.Queue(max_count)
        self._max_bytes = max_bytes
        self.held_bytes = 0
        """Of the bodies that wait or are under way."""

    @property
    def waiting(self) -> int:
        """How many wait."""
        return self._queue.qsize()

    def put(self, copy: Copy) -> bool:
        """Take `copy` in, or return False at once where there is no room for it."""
        if self._queue.full() or self.held_bytes + len(copy.body) > self._max_bytes:
            return False
        self._queue.put_nowait(copy)
        self.held_bytes += len(copy.body)
        return True

    async def get(self) -> Copy:
        """Wait for a copy; its bytes count until `release`."""
        return await self._queue.get()

    def release(self, copy: Copy) -> None:
        """Give the room of a copy back."""
        self.held_bytes -= len(copy.body)

    def clear(self) -> int:
        """Throw away what waits, and return how many copies that were."""
        count = self._queue.qsize()
        for _ in range(count):
            self.release(self._queue.get_nowait())
        return count
