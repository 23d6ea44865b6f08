"""Clients that send ahead, slowly, or stop reading, and connections that end: raw sockets.

The server's own loop, protocol and listener, around small apps or around the whole one.
"""

from __future__ import annotations

import asyncio
import re
import socket
import struct

import pytest
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import PlainTextResponse
from starlette.types import ASGIApp, Receive, Scope, Send

from model_server.lifecycle import Lifecycle
from model_server.rest import protocol
from model_server.rest.connections import ConnectionLife
from model_server.rest.waiting import Waiting
from tests.server.loopback import answers, play, running, until
from tests.server.raw_requests import (
    CHUNKED,
    CLOSING,
    GET,
    H2C,
    HOST,
    echo,
    post,
    read_on,
    send_on,
    unread,
)


class Held:
    """Answers once it is let go."""

    def __init__(self) -> None:
        self.go = asyncio.Event()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        await Request(scope, receive).body()
        await self.go.wait()
        await PlainTextResponse("<held>")(scope, receive, send)


@pytest.mark.parametrize(
    "first",
    [
        post(b"body", H2C),
        b"POST / HTTP/1.1\r\n" + HOST + H2C + b"Transfer-Encoding: chunked\r\n\r\n"
        b"2\r\nbo\r\n2\r\ndy\r\n0\r\n\r\n",
        post(b"body", b"Connection: Upgrade\r\nUpgrade: websocket\r\n"),
    ],
    ids=["h2c", "h2c in chunks", "websocket"],
)
@pytest.mark.parametrize("piece", [1, 10_000])
def test_an_offer_to_upgrade_is_passed_over(
    first: bytes, piece: int, caplog: pytest.LogCaptureFixture
):
    async def scene() -> bytes:
        async with running(echo) as server:
            client = server.connect()
            data = first + post(b"", H2C) + post(b"next", b"Connection: close\r\n")
            client.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            for start in range(0, len(data), piece):
                client.sendall(data[start : start + piece])
                await asyncio.sleep(0)
            return await answers(client)

    assert re.findall(rb"<.*?>", play(scene())) == [b"<body>", b"<>", b"<next>"]
    assert caplog.records == []


async def short(scope: Scope, receive: Receive, send: Send) -> None:
    await PlainTextResponse("" if scope["path"] == "/empty" else "<body>")(scope, receive, send)


async def breaking_off(scope: Scope, receive: Receive, send: Send) -> None:
    headers = [(b"content-length", b"10")]
    await send({"type": "http.response.start", "status": 200, "headers": headers})


def packets(client: socket.socket) -> int:
    """How many with data have come from the other side: tcpi_data_segs_in of linux/tcp.h."""
    information = client.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, 192)
    return int(struct.unpack_from("=I", information, 152)[0])


@pytest.mark.parametrize(
    ("line", "ends_in"),
    [(b"GET /", b"<body>"), (b"GET /empty", b"\r\n\r\n"), (b"HEAD /", b"\r\n\r\n")],
)
def test_an_answers_head_and_body_come_in_one_packet(line: bytes, ends_in: bytes):
    async def scene() -> tuple[list[bytes], int]:
        async with running(short) as server:
            with server.connect() as client:
                said = []
                for _ in range(20):
                    client.sendall(line + b" HTTP/1.1\r\n" + HOST + b"\r\n")
                    said.append(await asyncio.to_thread(client.recv, 10_000))
                return said, packets(client)

    said, count = play(scene())
    assert count == 20
    assert all(one.startswith(b"HTTP/1.1 200 OK") and one.endswith(ends_in) for one in said)


def test_the_head_of_an_answer_that_broke_off_is_sent():
    async def scene() -> bytes:
        async with running(breaking_off) as server:
            client = server.connect()
            client.sendall(GET)
            return await answers(client)

    said = play(scene())
    assert said.startswith(b"HTTP/1.1 200 OK")
    assert said.endswith(b"\r\n\r\n")


def test_a_client_that_waits_for_it_is_told_to_send_its_body_before_the_answer():
    async def scene() -> tuple[bytes, bytes]:
        async with running(echo) as server:
            client = server.connect()
            client.sendall(post(b"body", b"Connection: close\r\nExpect: 100-continue\r\n")[:-4])
            told = await asyncio.to_thread(client.recv, 10_000)
            client.sendall(b"body")
            return told, await answers(client)

    told, said = play(scene())
    assert told == b"HTTP/1.1 100 Continue\r\n\r\n"
    assert said.endswith(b"<body>")


@pytest.mark.parametrize(
    ("request_", "many"),
    [
        (b"GET / HTTP/1.1\r\n\r\n", 10_000),
        (CHUNKED + b"0\r\n\r\n", 10_000),
        (CHUNKED + b"7530\r\n" + bytes(30_000) + b"\r\n0\r\n\r\n", 300),
        (post(bytes(30_000)), 300),
        (post(bytes(1_000_000)), 9),
    ],
    ids=["no body", "no chunks", "chunks", "bodies", "large bodies"],
)
def test_a_client_that_sends_ahead_waits_while_nothing_is_answered(request_: bytes, many: int):
    async def scene() -> tuple[int, int, bytes]:
        held = Held()
        async with running(held) as server:
            client = server.connect()
            last = post(b"", b"Connection: close\r\n")
            sending = asyncio.create_task(asyncio.to_thread(client.sendall, request_ * many + last))
            connection = await server.accepted()
            await until(lambda: bool(connection.pipeline) and connection.flow.read_paused)
            await asyncio.sleep(0.1)
            waiting = len(connection.pipeline)
            size = len(connection._unparsed) + sum(len(x.body) for x, _ in connection.pipeline)
            held.go.set()
            said = asyncio.create_task(answers(client))
            await sending
            return waiting, size, await said

    waiting, size, said = play(scene())
    assert waiting < 40
    assert size < 2_000_000
    assert said.count(b"<held>") == many + 1


@pytest.mark.parametrize(
    ("head", "body"),
    [(post(b"1")[:-1], b"1"), (CHUNKED, b"1\r\n1\r\n0\r\n\r\n"), (CHUNKED, b"0\r\nA: b\r\n\r\n")],
    ids=["a length", "chunks", "a trailer"],
)
def test_no_more_requests_begin_behind_a_body_than_anywhere_else(head: bytes, body: bytes):
    async def scene() -> tuple[int, int]:
        held = Held()
        async with running(held) as server:
            client = server.connect()
            client.sendall(head)
            connection = await server.accepted()
            await until(lambda: connection.cycle is not None)
            many = b"GET / HTTP/1.1\r\n\r\n" * 10_000
            flood = body + many + post(b"", b"Connection: close\r\n")
            sending = asyncio.create_task(asyncio.to_thread(client.sendall, flood))
            await until(lambda: bool(connection.pipeline) and connection.flow.read_paused)
            waiting = len(connection.pipeline)
            held.go.set()
            said = await answers(client)
            await sending
            return waiting, said.count(b"<held>")

    waiting, answered = play(scene())
    assert waiting < 40
    assert answered == 10_002


def limited(app: ASGIApp, lifecycle: Lifecycle, most: int) -> Starlette:
    whole = Starlette()
    whole.state.waiting = Waiting(most)
    whole.mount("/", ConnectionLife(app, lifecycle, max_age_seconds=60))
    return whole


def test_where_too_many_connect_the_connection_that_has_waited_longest_is_closed():
    async def scene() -> tuple[bytes, bytes]:
        lifecycle = Lifecycle()
        async with running(limited(echo, lifecycle, 3), lifecycle=lifecycle) as server:
            used, idle, trickled = (server.connect() for _ in range(3))
            await until(lambda: len(server.server.server_state.connections) == 3)
            used.sendall(GET)
            assert await asyncio.to_thread(used.recv, 1000)
            trickled.sendall(GET[:-2])
            latest = server.connect()
            closed = await answers(idle)
            latest.sendall(CLOSING)
            said = await answers(latest)
            trickled.sendall(b"Connection: close\r\n\r\n")
            used.sendall(CLOSING)
            for kept in (trickled, used):
                assert (await answers(kept)).endswith(b"<>")
            return closed, said

    closed, said = play(scene())
    assert closed == b""
    assert said.endswith(b"<>")


def test_where_all_connections_are_owed_an_answer_one_more_is_closed():
    async def scene() -> tuple[bytes, list[bytes]]:
        held, lifecycle = Held(), Lifecycle()
        async with running(limited(held, lifecycle, 3), lifecycle=lifecycle) as server:
            clients = [server.connect() for _ in range(3)]
            for client in clients:
                client.sendall(CLOSING)
            connections = server.server.server_state.connections
            await until(lambda: len(connections) == 3 and all(x.cycle for x in connections))
            closed = await answers(server.connect())
            held.go.set()
            return closed, [await answers(client) for client in clients]

    closed, answered = play(scene())
    assert closed == b""
    assert all(said.endswith(b"<held>") for said in answered)


def test_an_idle_connection_holds_nothing_of_what_it_has_received():
    async def scene() -> object:
        async with running(echo) as server:
            client = server.connect()
            client.sendall(post(bytes(100_000)))
            connection = await server.accepted()
            await until(lambda: connection._owed == 0 and connection.cycle is not None)
            held = connection._unparsed.obj
            client.close()
            return held

    assert play(scene()) == b""


async def much(scope: Scope, receive: Receive, send: Send) -> None:
    await Request(scope, receive).body()
    await PlainTextResponse(bytes(1_000_000))(scope, receive, send)


def test_a_client_that_does_not_read_its_answers_is_cut_off(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(protocol, "_UNREAD_SECONDS", 0.3)

    async def scene() -> int:
        async with running(much) as server:
            client = server.connect()
            client.sendall(GET * 50)
            await server.accepted()
            await until(lambda: not server.server.server_state.connections)
            return len(await answers(client))

    assert play(scene()) < 50_000_000


@pytest.mark.parametrize("half_closed", [False, True])
def test_a_connection_that_is_closed_does_not_stay_for_a_few_bytes_that_nobody_reads(
    monkeypatch: pytest.MonkeyPatch, half_closed: bool
):
    monkeypatch.setattr(protocol, "_UNREAD_SECONDS", 0.3)
    few = 60_000

    async def answer(scope: Scope, receive: Receive, send: Send) -> None:
        await PlainTextResponse(bytes(few))(scope, receive, send)

    async def scene() -> int:
        async with running(answer) as server:
            client = server.connect(receive_bytes=1024)
            connection = await server.accepted()
            kernel = connection.transport.get_extra_info("socket")
            kernel.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 1024)
            client.sendall(GET if half_closed else CLOSING)
            if half_closed:
                await until(lambda: connection.transport.get_write_buffer_size() > 0)
                client.shutdown(socket.SHUT_WR)
            await until(connection.transport.is_closing)
            unsent = connection.transport.get_write_buffer_size()
            await until(lambda: not server.server.server_state.connections)
            client.close()
            return unsent

    assert 0 < play(scene()) < few


@pytest.mark.parametrize("request_", [GET, CLOSING], ids=["kept", "closed"])
def test_a_client_that_reads_slowly_has_all_of_its_answers(
    monkeypatch: pytest.MonkeyPatch, request_: bytes
):
    monkeypatch.setattr(protocol, "_UNREAD_SECONDS", 0.3)
    length = 10_000_000

    async def many(scope: Scope, receive: Receive, send: Send) -> None:
        await PlainTextResponse(bytes(length))(scope, receive, send)

    async def scene() -> int:
        async with running(many) as server:
            client = server.connect()
            client.sendall(request_)
            got = 0
            while got < length:
                got += len(await asyncio.to_thread(client.recv, 1_000_000))
                await asyncio.sleep(0.05)
            client.close()
            return got

    assert play(scene()) > length


def test_a_head_may_wait_for_the_answers_before_it():
    async def scene() -> bytes:
        held = Held()
        app = Starlette()
        app.state.head_timeout_seconds = 0.05
        lifecycle = Lifecycle()
        app.mount("/", ConnectionLife(held, lifecycle, max_age_seconds=60))
        async with running(app, lifecycle=lifecycle) as server:
            client = server.connect()
            client.sendall(GET * 500 + post(b"", b"Connection: close\r\n"))
            connection = await server.accepted()
            await until(lambda: connection.flow.read_paused)
            await asyncio.sleep(0.1)
            held.go.set()
            return await answers(client)

    assert play(scene()).count(b"<held>") == 501


def test_an_answer_before_the_end_of_the_body_is_read_by_the_client_and_is_the_last():
    async def scene() -> bytes:
        async with running(unread) as server:
            client = server.connect()
            head = b"POST / HTTP/1.1\r\n" + HOST + b"Content-Length: 100000000000\r\n\r\n"
            client.sendall(head)
            first = await asyncio.to_thread(client.recv, 10_000)
            # Until it is too much, or too late.
            await asyncio.to_thread(send_on, client, bytes(1_000_000))
            client.close()
            return first

    said = play(scene())
    assert said.endswith(b"<not read>")
    assert b"connection: close" in said


@pytest.mark.parametrize(
    ("sent", "answered"),
    [(post(b"body"), 1), (GET * 3, 3), (GET + post(b"body")[:-1], 1)],
    ids=["one request", "three", "half of the second"],
)
def test_a_client_that_sends_no_more_is_still_answered(sent: bytes, answered: int):
    async def scene() -> bytes:
        held = Held()
        async with running(held) as server:
            client = server.connect()
            client.sendall(sent)
            client.shutdown(socket.SHUT_WR)
            connection = await server.accepted()
            await until(lambda: connection._half_closed)
            held.go.set()
            return await answers(client)

    assert play(scene()).count(b"<held>") == answered


def test_a_client_that_hangs_up_in_its_body_is_not_waited_for():
    async def scene() -> None:
        async with running(echo) as server:
            client = server.connect()
            client.sendall(post(b"body")[:-1])
            await server.accepted()
            client.close()
            await until(lambda: not server.server.server_state.connections)

    play(scene())


@pytest.mark.parametrize("ending", [False, True])
def test_a_client_that_always_has_one_more_request_behind_is_told_to_close(ending: bool):
    async def scene() -> bytes:
        age = 60 if ending else 0.2
        async with running(echo, max_age_seconds=age) as server:
            client = server.connect()
            sending = asyncio.create_task(asyncio.to_thread(send_on, client, post(b"body") * 50))
            connection = await server.accepted()
            await until(lambda: connection._used)
            if ending:
                server.lifecycle.end(drain=True)
                connection._over_at = connection.loop.time() - 60
            said = await asyncio.to_thread(read_on, client)
            await sending
            return said

    said = play(scene())
    assert said.count(b"connection: close") == 1
    assert said.endswith(b"<body>")
    assert said[said.rindex(b"HTTP/1.1") :].count(b"connection: close") == 1
