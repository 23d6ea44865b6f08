"""When a copy is sent: while this server predicts nothing for a client.

`rest.dataplane` says when it predicts, `mirror.sender` waits; all on the event loop's thread.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Iterator


class Quiet:
    """Counts the predictions that clients wait for."""

    def __init__(self) -> None:
        self._awaited = 0
        self._none_awaited = asyncio.Event()
        self._none_awaited.set()

    @contextlib.contextmanager
    def broken(self) -> Iterator[None]:
        """A client waits for a prediction within this block."""
        self._awaited += 1
        self._none_awaited.clear()
        try:
            yield
        finally:
            self._awaited -= 1
            if not self._awaited:
                self._none_awaited.set()

    async def wait(self, seconds: float) -> None:
        """Return once no client waits, and after `seconds` in any case."""
        if self._none_awaited.is_set():
            return
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                await self._none_awaited.wait()
