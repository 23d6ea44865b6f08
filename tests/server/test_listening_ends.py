"""The moment in which listening ends: what has arrived by then is answered.

The server's own loop and listener, with the app left out: the moment itself has to be held.
"""

from __future__ import annotations

import asyncio
import socket
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Any

import pytest
import uvicorn
import uvloop
from starlette.responses import PlainTextResponse
from starlette.types import ASGIApp, Receive, Scope, Send
from structlog.testing import capture_logs

from model_server.lifecycle import Lifecycle
from model_server.metrics import Metrics
from model_server.rest.connections import ConnectionLife, TimedProtocol
from model_server.rest.telemetry import Telemetry
from model_server.serve import _Server

REQUEST = b"GET / HTTP/1.1\r\nHost: server\r\n\r\n"
SECONDS = 30


class Running:
    """A server that listens, and is ended by the test."""

    def __init__(
        self,
        listener: socket.socket,
        answer: ASGIApp = PlainTextResponse("answered"),  # noqa: B008 - it has no state
        end_seconds: int | None = None,
    ) -> None:
        self.lifecycle = Lifecycle()
        config = uvicorn.Config(
            ConnectionLife(answer, self.lifecycle, max_age_seconds=60),
            http=TimedProtocol,
            ws="none",
            lifespan="off",
            log_config=None,
            access_log=False,
            timeout_graceful_shutdown=end_seconds,
        )
        self.server = _Server(config)
        self._listener = listener

    async def start(self) -> None:
        self.server.config.load()
        self.server.lifespan = self.server.config.lifespan_class(self.server.config)
        await self.server.startup(sockets=[self._listener])

    async def end(self) -> None:
        self.lifecycle.end(drain=False)
        await self.server.shutdown(sockets=[self._listener])

    def connect(self) -> socket.socket:
        """Connect without giving the server's loop a turn."""
        return socket.create_connection(self._listener.getsockname(), timeout=SECONDS)


@asynccontextmanager
async def running(**options: Any) -> AsyncIterator[Running]:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        server = Running(listener, **options)
        await server.start()
        yield server


async def answer(client: socket.socket) -> bytes:
    """What the server sends until it closes."""

    def read() -> bytes:
        with client, client.makefile("rb") as stream:
            return stream.read()

    return await asyncio.to_thread(read)


async def is_accepted(server: Running) -> None:
    async with asyncio.timeout(SECONDS):
        while not server.server.server_state.connections:  # noqa: ASYNC110 - uvicorn tells nobody
            await asyncio.sleep(0.01)


async def nobody_accepted(server: Running) -> bytes:
    """Made by the kernel, not seen by the server when its listening ends."""
    client = server.connect()
    client.sendall(REQUEST)
    await server.end()
    return await answer(client)


async def nothing_sent_yet(server: Running) -> bytes:
    """Accepted just before; its request is on the way."""
    client = server.connect()
    await is_accepted(server)
    ending = asyncio.create_task(server.end())
    await asyncio.sleep(0)
    client.sendall(REQUEST)
    said = await answer(client)
    await ending
    return said


async def half_a_head(server: Running) -> bytes:
    """Its request has begun."""
    client = server.connect()
    client.sendall(REQUEST[:10])
    await is_accepted(server)
    [connection] = server.server.server_state.connections
    async with asyncio.timeout(SECONDS):
        while not connection._head_begun:  # noqa: ASYNC110 - it tells nobody
            await asyncio.sleep(0.01)
    connection._connected_at -= 60
    ending = asyncio.create_task(server.end())
    await asyncio.sleep(0)
    client.sendall(REQUEST[10:])
    said = await answer(client)
    await ending
    return said


async def unread_on_a_kept_connection(server: Running) -> bytes:
    """Answered before, and the next request is in the kernel, not yet read."""
    client = server.connect()
    client.sendall(REQUEST)
    first = await asyncio.to_thread(client.recv, 10_000)
    assert first.endswith(b"answered")
    client.sendall(REQUEST)
    await server.end()
    return await answer(client)


@pytest.mark.parametrize(
    "moment", [nobody_accepted, nothing_sent_yet, half_a_head, unread_on_a_kept_connection]
)
def test_when_listening_ends_a_request_is_answered_on_a_connection(
    moment: Callable[[Running], Awaitable[bytes]],
):
    async def play() -> bytes:
        async with running() as server, asyncio.timeout(SECONDS):
            return await moment(server)

    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        said = runner.run(play())
    assert said.endswith(b"answered")
    assert b"connection: close" in said


def test_an_idle_connection_does_not_hold_up_the_end():
    async def play() -> bytes:
        async with running() as server, asyncio.timeout(SECONDS):
            used, unused = server.connect(), server.connect()
            used.sendall(REQUEST)
            assert (await asyncio.to_thread(used.recv, 10_000)).endswith(b"answered")
            await server.end()
            return await answer(used) + await answer(unused)

    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        assert runner.run(play()) == b""


def test_what_the_end_does_not_wait_for_is_told_so_in_a_problem(caplog: pytest.LogCaptureFixture):
    async def never(scope: Scope, receive: Receive, send: Send) -> None:
        await asyncio.Event().wait()

    async def play() -> bytes:
        telemetry = Telemetry(never, Metrics(), Lifecycle(), paths=(), log_lines_per_second=0)
        async with running(answer=telemetry, end_seconds=1) as server, asyncio.timeout(SECONDS):
            client = server.connect()
            client.sendall(REQUEST)
            async with asyncio.timeout(SECONDS):
                while not server.server.server_state.tasks:  # noqa: ASYNC110 - it tells nobody
                    await asyncio.sleep(0.01)
            await server.end()
            assert not server.server.server_state.tasks
            return await answer(client)

    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner, capture_logs() as lines:
        said = runner.run(play())
    assert said.startswith(b"HTTP/1.1 503")
    assert b"urn:cv-factory:problem:cut-off" in said
    assert [line["status"] for line in lines] == [503]
    assert not [record for record in caplog.records if record.exc_info]
