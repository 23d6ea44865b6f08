"""Clients that send what cannot be read, too much of it or in too small parts: raw sockets.

The server's own loop, protocol and listener, around small apps or around the whole one.
"""

from __future__ import annotations

import asyncio
import gc
import json
import re
import socket
import sys
import weakref
from collections.abc import Awaitable, Callable

import pytest
from fastapi import FastAPI
from structlog.testing import capture_logs

from model_server.app import create_app
from model_server.lifecycle import Lifecycle
from model_server.loading import load_model
from model_server.metrics import Metrics
from model_server.rest.connections import TimedProtocol
from model_server.settings import Settings
from model_server.workers import Workers
from tests.server.loopback import answers, play, running, until
from tests.server.raw_requests import (
    CHUNKED,
    GET,
    HOST,
    echo,
)


async def trickled(client: socket.socket) -> None:
    client.sendall(GET[:-10])


async def too_long(client: socket.socket) -> None:
    client.sendall(GET[:-2] + b"X: " + b"x" * 66_000 + b"\r\n\r\n")


async def too_many(client: socket.socket) -> None:
    client.sendall(GET[:-2] + b"X: xxxxxxxxxxxx\r\n" * 5_000 + b"\r\n")


async def one_too_many(client: socket.socket) -> None:
    client.sendall(GET[:-2] + b"X:\r\n" * 100 + b"\r\n")


async def trailers(client: socket.socket) -> None:
    client.sendall(CHUNKED + b"0\r\n" + b"X:\r\n" * 100 + b"\r\n")


async def endless(client: socket.socket) -> None:
    client.sendall(GET[:-2] + b"X: " + b"x" * 200_000)


async def endless_trailer(client: socket.socket) -> None:
    client.sendall(CHUNKED + b"0\r\nX: " + b"x" * 200_000)


async def garbage(client: socket.socket) -> None:
    client.sendall(b"GARBAGE\r\n\r\n")


async def not_ascii(client: socket.socket) -> None:
    client.sendall("GET /modèle HTTP/1.1\r\nHost: server\r\n\r\n".encode())


async def not_a_port(client: socket.socket) -> None:
    client.sendall(b"CONNECT server:80 HTTP/1.1\r\n" + HOST + b"\r\n")


async def no_length(client: socket.socket) -> None:
    client.sendall(b"POST / HTTP/1.1\r\n" + HOST + b"Content-Length: x\r\n\r\n")


async def no_chunk(client: socket.socket) -> None:
    client.sendall(CHUNKED.replace(b"/", b"/predict", 1) + b"3\r\nabc\r\nGARBAGE\r\n")


async def tiny_chunks(client: socket.socket) -> None:
    client.sendall(CHUNKED + b"1\r\nx\r\n" * 20_000)


async def long_extensions(client: socket.socket) -> None:
    client.sendall(CHUNKED + (b"64;" + b"x" * 500 + b"\r\n" + bytes(100) + b"\r\n") * 200)


UNREADABLE = [
    (trickled, 408, "headers-timeout"),
    (too_long, 431, "headers-too-large"),
    (too_many, 431, "headers-too-large"),
    (one_too_many, 431, "headers-too-large"),
    (trailers, 431, "headers-too-large"),
    (endless, 431, "headers-too-large"),
    (endless_trailer, 431, "headers-too-large"),
    (garbage, 400, "malformed-request"),
    (not_ascii, 400, "malformed-request"),
    (not_a_port, 400, "malformed-request"),
    (no_length, 400, "malformed-request"),
    (no_chunk, 400, "malformed-request"),
    (tiny_chunks, 400, "malformed-request"),
    (long_extensions, 400, "malformed-request"),
]


@pytest.fixture
def whole_app(settings: Settings, workers: Workers) -> tuple[FastAPI, Lifecycle]:
    lifecycle = Lifecycle()
    return create_app(settings, lifecycle, workers, Metrics()), lifecycle


@pytest.mark.parametrize("good_before", [0, 2])
@pytest.mark.parametrize(("send", "status", "slug"), UNREADABLE)
def test_what_cannot_be_read_is_answered_in_its_turn_as_a_problem_that_is_counted(
    whole_app: tuple[FastAPI, Lifecycle],
    send: Callable[[socket.socket], Awaitable[None]],
    status: int,
    slug: str,
    good_before: int,
    caplog: pytest.LogCaptureFixture,
):
    app, lifecycle = whole_app

    async def scene() -> tuple[bytes, bytes]:
        async with running(app, lifecycle=lifecycle) as server:
            client = server.connect()
            client.sendall(b"GET /health HTTP/1.1\r\nHost: server\r\n\r\n" * good_before)
            await send(client)
            said = await answers(client)
            reader = server.connect()
            reader.sendall(b"GET /metrics HTTP/1.1\r\nConnection: close\r\n\r\n")
            return said, await answers(reader)

    with capture_logs() as lines:
        said, metrics = play(scene())
    assert said.count(b"HTTP/1.1 200 OK") == good_before
    last = said[said.rindex(b"HTTP/1.1 4") :]
    head, body = last.split(b"\r\n\r\n", 1)
    assert head.startswith(b"HTTP/1.1 %d " % status)
    assert b"content-type: application/problem+json" in head
    assert b"connection: close" in head
    problem = json.loads(body)
    assert problem["type"] == f"urn:cv-factory:problem:{slug}"
    assert b"x-request-id: %s" % problem["request_id"].encode() in head
    assert re.search(rb'rejected_total\{[^}]*reason="%s"\} 1.0' % slug.encode(), metrics)
    counted = rb'http_requests_total\{[^}]*path="(other|/predict|/)",status="%d"\} 1.0' % status
    assert re.search(counted, metrics)
    requests = [line for line in lines if line["event"] == "request" and line["status"] == status]
    assert [line["problem"] for line in requests] == [slug]
    assert caplog.records == []


@pytest.mark.parametrize(
    ("request_", "body"),
    [
        (GET[:-2] + b"X:\r\n" * 98 + b"Connection: close\r\n\r\n", 0),
        (
            CHUNKED[:-2] + b"Connection: close\r\n\r\n" + b"1\r\nx\r\n" * 10_000 + b"0\r\n\r\n",
            10_000,
        ),
        (
            CHUNKED[:-2]
            + b"Connection: close\r\n\r\n"
            + (b"40\r\n" + bytes(64) + b"\r\n") * 20_000
            + b"0\r\n\r\n",
            1_280_000,
        ),
    ],
    ids=["100 headers", "10,000 chunks of a byte", "20,000 chunks of 64"],
)
def test_many_headers_and_small_chunks_are_read_up_to_their_limits(request_: bytes, body: int):
    async def scene() -> bytes:
        async with running(echo) as server:
            client = server.connect()
            sending = asyncio.create_task(asyncio.to_thread(client.sendall, request_))
            said = await answers(client)
            await sending
            return said

    assert len(play(scene()).partition(b"\r\n\r\n<")[2]) == body + 1


@pytest.mark.parametrize("send", [garbage, too_many, endless, no_chunk])
def test_nothing_is_held_of_a_connection_whose_request_could_not_be_read(
    whole_app: tuple[FastAPI, Lifecycle], send: Callable[[socket.socket], Awaitable[None]]
):
    async def break_off(client: socket.socket, _: TimedProtocol) -> None:
        await send(client)

    assert held_of_connections(whole_app, break_off) == []


def test_nothing_is_held_of_a_connection_whose_body_broke_off_while_it_was_awaited(
    whole_app: tuple[FastAPI, Lifecycle], settings: Settings, workers: Workers
):
    _, lifecycle = whole_app
    lifecycle.loaded(load_model(settings, workers))

    async def break_off(client: socket.socket, connection: TimedProtocol) -> None:
        client.sendall(CHUNKED.replace(b"/", b"/predict", 1) + b"3\r\nabc\r\n")
        await until(lambda: connection._body_left == -3 and not connection.cycle.body)
        client.sendall(b"GARBAGE\r\n")

    assert held_of_connections(whole_app, break_off) == []


def held_of_connections(
    whole_app: tuple[FastAPI, Lifecycle],
    break_off: Callable[[socket.socket, TimedProtocol], Awaitable[None]],
) -> list[TimedProtocol]:
    """Break some requests off, and return the connections that are still there afterwards."""
    app, lifecycle = whole_app

    async def scene() -> list[weakref.ref[TimedProtocol]]:
        seen = []
        async with running(app, lifecycle=lifecycle) as server:
            for _ in range(20):
                client = server.connect()
                connection = await server.accepted()
                seen.append(weakref.ref(connection))
                await break_off(client, connection)
                assert b" 4" in (await answers(client))[:12]
                await until(lambda: not server.server.server_state.connections)
        return seen

    seen = play(scene())
    gc.collect()
    return [connection for reference in seen if (connection := reference()) is not None]


def test_no_refusal_is_made_once_for_all_who_are_refused():
    modules = [module for name, module in sys.modules.items() if name.startswith("model_server")]
    held = [value for module in modules for value in vars(module).values()]
    assert [value for value in held if isinstance(value, BaseException)] == []
