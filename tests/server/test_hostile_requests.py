"""Hostile clients against a real server: refused or closed, within memory, and no neighbour's loss.

A well-behaved client asks all the time beside each of them.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import re
import resource
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from random import Random

import pytest

from tests.server.load import FORM_TYPE, Address, form, request, request_head
from tests.server.neighbour import beside
from tests.server.processes import ServerProcess
from tests.server.usage import Usage

MEGABYTE = 1_000_000
PATIENCE_SECONDS = 4
"""How long the server waits for a header, a body, or anything at all."""
MOST_MEGABYTES = 60
"""What one attack may add to the peak; a body may have 10 MiB, and is there twice while parsed."""
IDLE = 1000
"""Connections that say nothing."""
FEW_FILES = 256
"""What the server may have open when it starts."""
SLOWEST_SECONDS = 10.0
"""Of the neighbour's answers, on a machine that does much else."""

HEAD = b"POST /predict HTTP/1.1\r\nHost: server\r\n"
STATUS = re.compile(rb"^HTTP/1\.1 (\d{3}) ", re.MULTILINE)
Attack = Callable[[Address], Awaitable[list[bytes]]]


@dataclass(frozen=True)
class Victim:
    address: Address
    usage: Usage


@pytest.fixture(scope="module")
def victim(artifact: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Victim]:
    environment = {
        "inference_threads": 1,
        "body_timeout_seconds": PATIENCE_SECONDS,
        "keep_alive_seconds": PATIENCE_SECONDS,
    }
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (FEW_FILES, hard))
    server = ServerProcess(artifact, tmp_path_factory.mktemp("victim") / "server", environment)
    resource.setrlimit(resource.RLIMIT_NOFILE, (max(soft, min(hard, 4 * IDLE)), hard))
    try:
        server.wait_ready()
        yield Victim(("127.0.0.1", server.port), Usage(server.process.pid))
        assert server.process.poll() is None, "the server lives on"
    finally:
        server.close()
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


@contextlib.asynccontextmanager
async def connected(
    address: Address,
) -> AsyncIterator[tuple[asyncio.StreamReader, asyncio.StreamWriter]]:
    reader, writer = await asyncio.open_connection(*address)
    try:
        yield reader, writer
    finally:
        writer.close()
        with contextlib.suppress(OSError):
            await writer.wait_closed()


async def exchange(address: Address, *pieces: bytes, pause: float = 0.0) -> bytes:
    """Send the pieces, as far as the server takes them, and return all that it says."""
    async with connected(address) as (reader, writer):
        answering = asyncio.create_task(reader.read())
        with contextlib.suppress(OSError):
            for piece in pieces:
                if answering.done():
                    break
                writer.write(piece)
                await writer.drain()
                if pause:
                    await asyncio.wait([answering], timeout=pause)
            if writer.can_write_eof():
                writer.write_eof()
        with contextlib.suppress(OSError):
            return await answering
        return b""


def posting(body: bytes, content_type: str) -> Attack:
    async def attack(address: Address) -> list[bytes]:
        return [await exchange(address, request(body, content_type))]

    return attack


def sending(*pieces: bytes) -> Attack:
    async def attack(address: Address) -> list[bytes]:
        return [await exchange(address, *pieces)]

    return attack


def chunks(count: int) -> list[bytes]:
    head = HEAD + b"Content-Type: image/jpeg\r\nTransfer-Encoding: chunked\r\n\r\n"
    return [head, *[b"f4240\r\n" + bytes(MEGABYTE) + b"\r\n"] * count, b"0\r\n\r\n"]


def other_parts(count: int) -> bytes:
    boundary = FORM_TYPE.partition("boundary=")[2].encode()
    part = b"--" + boundary + b'\r\nContent-Disposition: form-data; name="a"\r\n\r\nx\r\n'
    return part * count + b"--" + boundary + b"--\r\n"


NOISE = Random(3).randbytes(MEGABYTE)
JSON = "application/json"
IN_TIME = "413|408"  # a body that is too long is read, for as long as any other
ATTACKS: list[tuple[str, Attack, str]] = [
    ("10,000 files in a form", posting(form([b"x"] * 10_000), FORM_TYPE), "413"),
    ("10,000 other parts in a form", posting(other_parts(10_000), FORM_TYPE), "400"),
    ("a form that is one long boundary", posting(b"--" + b"a" * 9 * MEGABYTE, FORM_TYPE), "400"),
    ("100 MB, announced", sending(request_head(100 * MEGABYTE), *[bytes(MEGABYTE)] * 100), IN_TIME),
    ("100 MB in chunks", sending(*chunks(100)), IN_TIME),
    ("100 MB that wait to be asked for",
     sending(HEAD + b"Content-Length: 100000000\r\nExpect: 100-continue\r\n\r\n"), "413"),
    ("a length of 100 digits", sending(HEAD + b"Content-Length: " + b"9" * 100 + b"\r\n\r\n"),
     "400"),
    ("two lengths", sending(HEAD + b"Content-Length: 1\r\nContent-Length: 2\r\n\r\nxx"), "400"),
    ("a length and chunks",
     sending(HEAD + b"Content-Length: 3\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n"), "400"),
    ("broken JSON", posting(b'{"image": "' + b"A" * 9 * MEGABYTE, JSON), "400"),
    ("deep JSON", posting(b'{"a":' * 90_000, JSON), "400"),
    ("9 MB of brackets", posting(b"[" * 9 * MEGABYTE, JSON), "400"),
    ("9 MB of digits", posting(b'{"image": ' + b"9" * 9 * MEGABYTE + b"}", JSON), "400"),
    ("2 MB of numbers",
     posting(b'{"image": [' + b"1," * MEGABYTE + b"1]}", JSON), "422"),
    ("a header of 10 MB", sending(HEAD + b"X: ", *[b"x" * MEGABYTE] * 10), "431"),
    ("100,000 headers", sending(HEAD, *[b"X-Y: z\r\n" * 10_000] * 10), "431"),
    ("a million chunks of a byte",
     sending(HEAD + b"Transfer-Encoding: chunked\r\n\r\n", *[b"1\r\nx\r\n" * 10_000] * 100), "400"),
    ("a path of 10 MB", sending(b"GET /", *[b"x" * MEGABYTE] * 10), "431"),
    ("a method of 1 MB", sending(b"G" * MEGABYTE), "400"),
    ("noise", sending(NOISE), "400"),
    ("TLS", sending(b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + NOISE[:512]), "400"),
    ("HTTP/2", sending(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + bytes(100)), "400"),
]  # fmt: skip


def play(victim: Victim, attack: Attack) -> tuple[list[bytes], float]:
    """What the attacker heard, and what the peak grew by; the neighbour must notice nothing."""

    async def scene() -> list[bytes]:
        async with asyncio.timeout(240), beside(victim.address) as neighbour:
            while not neighbour.seconds:  # noqa: ASYNC110 - nobody tells
                await asyncio.sleep(0.01)
            heard = await attack(victim.address)
            asked = len(neighbour.seconds)
            while len(neighbour.seconds) < asked + 5:  # noqa: ASYNC110 - and still does
                await asyncio.sleep(0.01)
        assert neighbour.refused == []
        assert max(neighbour.seconds) < SLOWEST_SECONDS
        return heard

    before = victim.usage.forget_peak()
    heard = asyncio.run(scene())
    return heard, victim.usage.peak_megabytes - before


@pytest.mark.parametrize(
    ("attack", "status"), [x[1:] for x in ATTACKS], ids=[x[0] for x in ATTACKS]
)
def test_a_hostile_request_is_answered_with_a_problem_and_its_connection_ends(
    victim: Victim, attack: Attack, status: str
):
    [heard], megabytes = play(victim, attack)
    [answered] = STATUS.findall(heard)
    assert answered.decode() in status.split("|"), heard[:300]
    problem = json.loads(heard.partition(b"\r\n\r\n")[2])
    assert problem["detail"]
    assert megabytes < MOST_MEGABYTES


def test_slow_headers_slow_bodies_and_a_thousand_idle_connections_are_ended_in_time(
    victim: Victim,
):
    async def idle(address: Address) -> bytes:
        async with connected(address) as (reader, _):
            return await reader.read()

    async def attack(address: Address) -> list[bytes]:
        body = [request_head(1000), *[b"x"] * 1000]
        head = [HEAD, *[b"X"] * 1000]
        async with asyncio.TaskGroup() as group:
            bodies = [group.create_task(exchange(address, *body, pause=0.1)) for _ in range(50)]
            heads = [group.create_task(exchange(address, *head, pause=0.1)) for _ in range(50)]
            silent = [group.create_task(idle(address)) for _ in range(IDLE)]
        assert {task.result() for task in silent} == {b""}
        return [task.result() for task in (*bodies, *heads)]

    heard, megabytes = play(victim, attack)
    assert [STATUS.findall(text) for text in heard] == [[b"408"]] * 100
    kinds = [re.findall(rb"problem:([a-z-]+)", text) for text in heard]
    assert kinds == [[b"body-timeout"]] * 50 + [[b"headers-timeout"]] * 50
    assert megabytes < MOST_MEGABYTES


def test_a_client_that_asks_and_never_reads_is_not_answered_into_memory(victim: Victim):
    async def attack(address: Address) -> list[bytes]:
        asking = b"GET /openapi.json HTTP/1.1\r\nHost: server\r\n\r\n" * 100
        async with connected(address) as (_, writer):
            writer.transport.pause_reading()  # type: ignore[attr-defined]
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(PATIENCE_SECONDS):
                    while True:
                        writer.write(asking)
                        await writer.drain()
            writer.transport.abort()
        return []

    _, megabytes = play(victim, attack)
    assert megabytes < MOST_MEGABYTES
