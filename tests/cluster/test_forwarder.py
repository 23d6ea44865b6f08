"""The forwarder between real sockets: every byte arrives, and ends are passed on as they are."""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import os
import socket
import sys
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path

import pytest

from dev.cluster import forwarder
from tests.deadlines import within

DEADLINE = 20.0
Handler = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]


@contextlib.asynccontextmanager
async def server(handler: Handler) -> AsyncIterator[str]:
    """A server on the loopback; yields its HOST:PORT."""
    listening = await asyncio.start_server(handler, "127.0.0.1", 0, limit=forwarder.CHUNK)
    async with listening:
        yield f"127.0.0.1:{listening.sockets[0].getsockname()[1]}"


@contextlib.asynccontextmanager
async def forwarding(target: str) -> AsyncIterator[int]:
    """The forwarder in this process; yields the port that it listens on."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        listener.setblocking(False)
        task = asyncio.create_task(forwarder.serve(listener, target))
        yield listener.getsockname()[1]
        task.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await task


async def ask(port: int, data: bytes = b"") -> bytes:
    """Sends, ends the own direction, and reads to the end."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    writer.write(data)
    writer.write_eof()
    answer = await within(DEADLINE, reader.read())
    writer.close()
    return answer


def says(name: bytes) -> Handler:
    async def handler(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read()
        writer.write(name)
        writer.close()

    return handler


async def test_the_answer_comes_after_the_client_has_ended_its_direction():
    async def digests(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        received = await reader.read()  # until the end, which must arrive alone
        writer.write(hashlib.sha256(received).hexdigest().encode())
        writer.close()

    data = os.urandom(9_000_000)
    async with server(digests) as target, forwarding(target) as port:
        answer = await ask(port, data)

    assert answer.decode() == hashlib.sha256(data).hexdigest()


async def test_the_client_goes_on_after_the_server_has_ended_its_direction():
    received = asyncio.get_running_loop().create_future()

    async def ends_first(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"all that I have to say")
        writer.write_eof()
        received.set_result(await reader.read())
        writer.close()

    async with server(ends_first) as target, forwarding(target) as port:
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        assert await within(DEADLINE, reader.read()) == b"all that I have to say"
        writer.write(b"and still I speak")
        writer.write_eof()
        assert await within(DEADLINE, received) == b"and still I speak"
        writer.close()


async def test_a_slow_reader_loses_nothing():
    data = os.urandom(20_000_000)

    async def floods(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(data)
        writer.close()

    async with server(floods) as target, forwarding(target) as port:
        reader, writer = await asyncio.open_connection("127.0.0.1", port, limit=1024)
        received = bytearray()
        while part := await within(DEADLINE, reader.read(65536)):
            received += part
        writer.close()

    assert bytes(received) == data


async def test_a_new_target_holds_for_new_connections_and_leaves_living_ones(tmp_path: Path):
    file = tmp_path / "target"
    async with server(says(b"old")) as old, server(says(b"new")) as new:
        file.write_text(old + "\n")
        async with forwarding(f"@{file}") as port:
            reader, writer = await asyncio.open_connection("127.0.0.1", port)
            writer.write(b"begun")
            assert await ask(port) == b"old"
            file.write_text(new + "\n")
            assert await ask(port) == b"new"
            writer.write_eof()
            assert await within(DEADLINE, reader.read()) == b"old"
            writer.close()


async def test_without_a_target_the_client_sees_that_the_connection_broke(tmp_path: Path):
    async with forwarding(f"@{tmp_path / 'nothing'}") as port:
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        with pytest.raises(ConnectionResetError):
            await within(DEADLINE, reader.read())
        writer.close()


async def test_a_server_that_breaks_the_connection_is_seen_to_break_it():
    async def breaks(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readexactly(4)
        forwarder.reset(writer)

    async with server(breaks) as target, forwarding(target) as port:
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        writer.write(b"ping")
        with pytest.raises(ConnectionResetError):
            await within(DEADLINE, reader.read())
        writer.close()


async def test_many_connections_at_once_all_get_their_own_answer():
    async def echoes(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(await reader.read())
        writer.close()

    async with server(echoes) as target, forwarding(target) as port:
        sent = [os.urandom(1000) for _ in range(300)]
        answers = await asyncio.gather(*(ask(port, data) for data in sent))

    assert answers == sent


async def test_as_a_process_it_serves_the_sockets_that_it_inherits():
    async with server(says(b"hello")) as target:
        with socket.create_server(("127.0.0.1", 0)) as listener:
            number = listener.fileno()
            process = await asyncio.create_subprocess_exec(
                sys.executable, "-I", forwarder.__file__, f"{number}={target}", pass_fds=[number]
            )
            port = listener.getsockname()[1]
        try:
            assert await ask(port) == b"hello"
        finally:
            process.terminate()
            await within(DEADLINE, process.wait())


@pytest.mark.parametrize("text", ["", "10.0.0.1", "10.0.0.1:", ":80", "10.0.0.1:0", "a:70000"])
def test_what_is_no_address_is_no_target(text: str):
    with pytest.raises(forwarder.NoTarget):
        forwarder.parse_target(text)
