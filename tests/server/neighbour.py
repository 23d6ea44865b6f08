"""A well-behaved client beside others that are not: one good request after another, each timed."""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import AsyncIterator

from tests.server.artifacts import encode, make_picture
from tests.server.load import Address, Connection

PICTURE = encode(make_picture())


class Neighbour:
    """Its own connection, and what it got on it."""

    def __init__(self, address: Address, pause_seconds: float = 0.01) -> None:
        self._address = address
        self._pause_seconds = pause_seconds
        self.seconds: list[float] = []
        """How long each answer took."""
        self.refused: list[int] = []
        """The statuses of answers other than 200."""

    async def ask_on(self) -> None:
        """Ask until cancelled; a connection that is closed in good order is made again."""
        connection = await Connection.to(self._address)
        try:
            while True:
                if connection.ended_by_server():  # it was idle for long, on a busy machine
                    await connection.close()
                    connection = await Connection.to(self._address)
                started = time.perf_counter()
                answer = await connection.post(PICTURE)
                self.seconds.append(time.perf_counter() - started)
                if answer.status != 200:
                    self.refused.append(answer.status)
                if answer.closing:
                    await connection.close()
                    connection = await Connection.to(self._address)
                await asyncio.sleep(self._pause_seconds)
        finally:
            await connection.close()

    def percentile(self, share: float) -> float:
        """The time in seconds that so large a share of the answers was within."""
        return sorted(self.seconds)[int(share * (len(self.seconds) - 1))]


@contextlib.asynccontextmanager
async def beside(address: Address) -> AsyncIterator[Neighbour]:
    """Let a neighbour ask meanwhile; whatever it met that is no answer is raised at the end."""
    neighbour = Neighbour(address)
    asking = asyncio.create_task(neighbour.ask_on())
    try:
        yield neighbour
    finally:
        asking.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await asking
