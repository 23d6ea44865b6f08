"""The moment in which listening ends: what has arrived by then is answered.

The server's own loop and listener, with the app left out: the moment itself has to be held.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable

import pytest
from starlette.requests import Request
from starlette.responses import PlainTextResponse
from starlette.types import Receive, Scope, Send

from tests.server.loopback import SECONDS, Running, answers, play, running, until

REQUEST = b"GET / HTTP/1.1\r\nHost: server\r\n\r\n"


async def takes_its_time(scope: Scope, receive: Receive, send: Send) -> None:
    """Read the body, and answer a body only after a while."""
    if await Request(scope, receive).body():
        await asyncio.sleep(0.3)
    await PlainTextResponse("answered")(scope, receive, send)


async def nobody_accepted(server: Running) -> bytes:
    """Made by the kernel, not seen by the server when its listening ends."""
    client = server.connect()
    client.sendall(REQUEST)
    await server.end()
    return await answers(client)


async def nothing_sent_yet(server: Running) -> bytes:
    """Accepted just before; its request is on the way."""
    client = server.connect()
    await server.accepted()
    ending = asyncio.create_task(server.end())
    await asyncio.sleep(0)
    client.sendall(REQUEST)
    said = await answers(client)
    await ending
    return said


async def half_a_head(server: Running) -> bytes:
    """Its request has begun."""
    client = server.connect()
    client.sendall(REQUEST[:10])
    connection = await server.accepted()
    await until(lambda: connection._head_begun)
    connection._connected_at -= 60
    ending = asyncio.create_task(server.end())
    await asyncio.sleep(0)
    client.sendall(REQUEST[10:])
    said = await answers(client)
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
    return await answers(client)


async def large_bodies_sent_at_once(server: Running) -> bytes:
    """More than the kernel and the server hold; most is unread, or not sent yet."""
    client = server.connect()
    client.settimeout(SECONDS)
    body = bytes(1_000_000)
    head = f"POST / HTTP/1.1\r\nHost: server\r\nContent-Length: {len(body)}\r\n\r\n".encode()
    sending = asyncio.create_task(asyncio.to_thread(client.sendall, (head + body) * 6))
    connection = await server.accepted()
    await until(lambda: connection._used)
    await server.end()
    await sending
    said = await answers(client)
    assert said.count(b"answered") == 6
    assert said.count(b"connection: close") == 1
    return said


@pytest.mark.parametrize(
    "moment",
    [
        nobody_accepted,
        nothing_sent_yet,
        half_a_head,
        unread_on_a_kept_connection,
        large_bodies_sent_at_once,
    ],
)
def test_when_listening_ends_a_request_is_answered_on_a_connection(
    moment: Callable[[Running], Awaitable[bytes]],
):
    async def scene() -> bytes:
        async with running(takes_its_time) as server:
            return await moment(server)

    said = play(scene())
    assert said.endswith(b"answered")
    assert b"connection: close" in said


def test_an_idle_connection_does_not_hold_up_the_end():
    async def scene() -> bytes:
        async with running(takes_its_time) as server:
            used, unused = server.connect(), server.connect()
            used.sendall(REQUEST)
            assert (await asyncio.to_thread(used.recv, 10_000)).endswith(b"answered")
            await server.end()
            return await answers(used) + await answers(unused)

    assert play(scene()) == b""
