"""The server's own loop, listener and protocol around any app, in the test's own process."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import AsyncIterator, Callable, Coroutine
from contextlib import asynccontextmanager
from typing import Any, TypeVar

import uvicorn
import uvloop
from starlette.types import ASGIApp

from model_server.lifecycle import Lifecycle
from model_server.rest.connections import ConnectionLife, TimedProtocol
from model_server.serve import _Server

SECONDS = 30
T = TypeVar("T")


class Running:
    """A server that listens, and is ended by the test."""

    def __init__(self, listener: socket.socket, app: ASGIApp, lifecycle: Lifecycle) -> None:
        self.lifecycle = lifecycle
        config = uvicorn.Config(
            app, http=TimedProtocol, ws="none", lifespan="off", log_config=None, access_log=False
        )
        self.server = _Server(config)
        self._listener = listener
        self.ended = False

    async def start(self) -> None:
        self.server.config.load()
        self.server.lifespan = self.server.config.lifespan_class(self.server.config)
        await self.server.startup(sockets=[self._listener])

    async def end(self) -> None:
        self.ended = True
        self.lifecycle.end(drain=False)
        await self.server.shutdown(sockets=[self._listener])

    def connect(self, receive_bytes: int | None = None) -> socket.socket:
        """Connect without giving the server's loop a turn; the kernel may hold so much unread."""
        client = socket.socket()
        client.settimeout(SECONDS)
        if receive_bytes is not None:
            client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive_bytes)
        client.connect(self._listener.getsockname())
        return client

    async def accepted(self) -> TimedProtocol:
        """The only connection, waited for."""
        await until(lambda: bool(self.server.server_state.connections))
        [connection] = self.server.server_state.connections
        assert isinstance(connection, TimedProtocol)
        return connection


@asynccontextmanager
async def running(
    app: ASGIApp, *, max_age_seconds: float = 60, lifecycle: Lifecycle | None = None
) -> AsyncIterator[Running]:
    """A server around `app`; with a `lifecycle` it is the whole app, which has its own life."""
    whole = app
    if lifecycle is None:
        lifecycle = Lifecycle()
        whole = ConnectionLife(app, lifecycle, max_age_seconds)
    with socket.create_server(("127.0.0.1", 0)) as listener:
        server = Running(listener, whole, lifecycle)
        await server.start()
        try:
            yield server
        finally:
            if not server.ended:
                await server.end()


async def until(condition: Callable[[], bool]) -> None:
    async with asyncio.timeout(SECONDS):
        while not condition():  # noqa: ASYNC110 - nobody tells
            await asyncio.sleep(0.01)


async def answers(client: socket.socket) -> bytes:
    """What the server sends until it closes."""

    def read() -> bytes:
        with client, client.makefile("rb") as stream:
            return stream.read()

    return await asyncio.to_thread(read)


def play(scene: Coroutine[Any, Any, T]) -> T:
    """Run it on the loop that the server runs on."""

    async def in_time() -> T:
        async with asyncio.timeout(SECONDS):
            return await scene

    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        return runner.run(in_time())
