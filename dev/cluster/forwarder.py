"""Joins ports of this machine's loopback to addresses inside the cluster's network namespace.

Started by the local cluster as a process of its own, as a script: it gets its listening sockets
from the host's namespace as inherited file descriptors and is then executed inside the cluster's
namespace, so it accepts on the host and connects inside.

    forwarder.py 5=172.30.0.1:6443 6=@/path/of/a/file/that/holds/the/target

A target file is read at each new connection, so the target can change under living ones.
"""

from __future__ import annotations

import asyncio
import contextlib
import socket
import struct
import sys
from collections.abc import Sequence
from pathlib import Path

CHUNK = 256 * 1024
CONNECT_TIMEOUT = 5.0  # seconds
BACKLOG = 1024


class NoTarget(Exception):
    """There is no target (yet), or what the file holds is none."""


def parse_target(text: str) -> tuple[str, int]:
    """'10.96.3.4:80' -> ('10.96.3.4', 80). Raises NoTarget."""
    host, separator, port = text.strip().rpartition(":")
    if not separator or not host or not port.isdigit() or not 0 < int(port) < 65536:
        raise NoTarget(f"{text.strip()!r} is no HOST:PORT")
    return host.strip("[]"), int(port)


def resolve(target: str) -> tuple[str, int]:
    """A target as given on the command line -> where to connect now. Raises NoTarget."""
    if not target.startswith("@"):
        return parse_target(target)
    try:
        return parse_target(Path(target[1:]).read_text())
    except FileNotFoundError:
        raise NoTarget(f"{target[1:]} does not exist yet") from None


async def serve(listener: socket.socket, target: str) -> None:
    """Accepts on `listener` for ever; each connection is joined to the target of that moment."""

    async def joined(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            address = resolve(target)
            async with asyncio.timeout(CONNECT_TIMEOUT):
                far_reader, far_writer = await asyncio.open_connection(*address, limit=CHUNK)
        except (NoTarget, OSError) as problem:  # TimeoutError is an OSError
            print(f"{target}: {problem}", file=sys.stderr, flush=True)
            reset(writer)
            return
        await join(reader, writer, far_reader, far_writer)

    server = await asyncio.start_server(joined, sock=listener, limit=CHUNK, backlog=BACKLOG)
    async with server:
        await server.serve_forever()


async def join(
    near_reader: asyncio.StreamReader,
    near_writer: asyncio.StreamWriter,
    far_reader: asyncio.StreamReader,
    far_writer: asyncio.StreamWriter,
) -> None:
    """Copies both ways until both sides have ended. An end of one direction is passed on alone
    (half-close); when a side breaks, the other one gets what was read and is then broken too.
    """
    try:
        async with asyncio.TaskGroup() as both:
            both.create_task(pump(near_reader, far_writer))
            both.create_task(pump(far_reader, near_writer))
    except* OSError:
        for writer in (near_writer, far_writer):
            with contextlib.suppress(OSError):
                async with asyncio.timeout(CONNECT_TIMEOUT):
                    await writer.drain()
            reset(writer)
    finally:
        for writer in (near_writer, far_writer):
            writer.close()


async def pump(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """Copies one direction until its end, no faster than the receiver takes it."""
    while data := await reader.read(CHUNK):
        writer.write(data)
        await writer.drain()
    if writer.can_write_eof():
        writer.write_eof()


def reset(writer: asyncio.StreamWriter) -> None:
    """Ends a connection so that its peer sees that it broke, not that it ended well."""
    connected = writer.get_extra_info("socket")
    if connected is not None and connected.fileno() >= 0:
        connected.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    writer.transport.abort()


async def main(arguments: Sequence[str]) -> None:
    """Serves every DESCRIPTOR=TARGET of the command line."""
    async with asyncio.TaskGroup() as servers:
        for argument in arguments:
            descriptor, _, target = argument.partition("=")
            listener = socket.socket(fileno=int(descriptor))
            listener.setblocking(False)
            servers.create_task(serve(listener, target))


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1:]))
