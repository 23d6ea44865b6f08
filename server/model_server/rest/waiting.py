"""The connections on which no answer is owed, and which of them is closed where there are too many.

`app` makes the one Waiting of a process; `protocol` puts each connection in while it waits for a
request, and takes it out when one has come.
"""

from __future__ import annotations

import asyncio

MOST_CONNECTIONS = 4096


class Waiting:
    """In the order in which they began to wait."""

    def __init__(self, most_connections: int = MOST_CONNECTIONS) -> None:
        self._most_connections = most_connections
        self._in_order: dict[asyncio.Transport, None] = {}

    def add(self, transport: asyncio.Transport) -> None:
        """Take in a connection that begins to wait."""
        self._in_order[transport] = None

    def discard(self, transport: asyncio.Transport) -> None:
        """Leave out one that waits no longer."""
        self._in_order.pop(transport, None)

    def make_room(self, connections: int) -> None:
        """End the one that has waited longest, if there are more `connections` than may be."""
        if connections > self._most_connections and self._in_order:
            longest = next(iter(self._in_order))
            self.discard(longest)
            longest.abort()
