"""A model's pods as a router sees them: HTTP servers on the loopback that say who they are."""

from __future__ import annotations

import asyncio
import json
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager


class Backend:
    """Answers every request with its revision, until a test lets it misbehave."""

    def __init__(self, revision: str) -> None:
        self.revision = revision
        self.status = 200
        self.seconds = 0.0
        """How long an answer takes."""
        self.cuts_off = False
        """Closes the connection instead of answering."""
        self.requests = 0
        self.bytes = 0
        self.last_head: dict[str, str] = {}
        self.port = 0
        self._server: asyncio.Server | None = None
        self._open: set[asyncio.StreamWriter] = set()
        self._deaf: socket.socket | None = None
        self._waiting: list[socket.socket] = []

    @property
    def address(self) -> str:
        return f"127.0.0.1:{self.port}"

    async def listen(self) -> None:
        """On the port that it had before, if it had one."""
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", self.port, backlog=512)
        self.port = self._server.sockets[0].getsockname()[1]

    async def die(self) -> None:
        """Refuses connections from now on, and resets those that are open."""
        if self._server is not None:
            await _stop_accepting(self._server)
            self._server.close()
            for writer in list(self._open):
                writer.transport.abort()
            await self._server.wait_closed()
            self._server = None
        if self._deaf is not None:
            for held in (self._deaf, *self._waiting):
                held.close()
            self._deaf = None

    async def swallow(self) -> None:
        """Leaves every connection unanswered, as the address of a Service without pods does."""
        await self.die()
        self._deaf = socket.create_server(("127.0.0.1", self.port), backlog=0)
        for _ in range(2):  # what the kernel still takes where nobody accepts
            waiting = socket.socket()
            waiting.setblocking(False)
            waiting.connect_ex(("127.0.0.1", self.port))
            self._waiting.append(waiting)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._open.add(writer)
        try:
            while await self._answer_one(reader, writer):
                pass
        except (ConnectionError, asyncio.IncompleteReadError):
            pass
        finally:
            self._open.discard(writer)
            writer.close()

    async def _answer_one(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> bool:
        head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1").lower()
        fields = dict(line.split(": ", 1) for line in head.split("\r\n")[1:] if ": " in line)
        self.last_head = fields
        left = int(fields.get("content-length", "0"))
        while left:
            part = await reader.read(min(left, 1 << 20))
            if not part:
                return False
            left -= len(part)
            self.bytes += len(part)
        self.requests += 1
        if self.seconds:
            await asyncio.sleep(self.seconds)
        if self.cuts_off:
            return False
        status = self.status
        body = json.dumps({"model": {"version": self.revision, "revision": self.revision}})
        stays = fields.get("connection") != "close"
        writer.write(
            f"HTTP/1.1 {status} X\r\nContent-Type: application/json\r\n"
            f"Content-Length: {len(body)}\r\n{'' if stays else 'Connection: close'}"
            f"{'' if stays else chr(13) + chr(10)}\r\n{body}".encode()
        )
        await writer.drain()
        return stays


async def _stop_accepting(server: asyncio.Server) -> None:
    """Let what was accepted just now become a connection: asyncio loses its socket otherwise.

    That takes a turn of the loop each for its transport, its protocol and its task.
    """
    for listener in server.sockets:
        asyncio.get_running_loop().remove_reader(listener.fileno())
    for _ in range(3):
        await asyncio.sleep(0)


@asynccontextmanager
async def backends(*revisions: str) -> AsyncIterator[dict[str, Backend]]:
    """One backend for each revision, listening."""
    made = {revision: Backend(revision) for revision in revisions}
    try:
        for backend in made.values():
            await backend.listen()
        yield made
    finally:
        for backend in made.values():
            await backend.die()
