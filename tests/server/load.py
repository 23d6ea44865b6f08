"""A client that notices every lost request: no retries, no pool, no hidden reconnects.

It speaks HTTP/1.1 over plain streams, so that a refused, reset or unanswered request cannot be
hidden by a library. Requests are due by the clock. Some workers keep their connection until the
server says `Connection: close`; others make a fresh one for every request.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
from collections import Counter
from dataclasses import dataclass, field
from types import TracebackType
from typing import Self

Address = tuple[str, int]
ANSWER_SECONDS = 20.0


@dataclass(frozen=True)
class Answer:
    status: int
    body: bytes
    closing: bool


class Connection:
    """One HTTP/1.1 connection."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader = reader
        self.writer = writer

    @classmethod
    async def to(cls, address: Address) -> Connection:
        return cls(*await asyncio.open_connection(*address))

    async def post(self, body: bytes) -> Answer:
        self.writer.write(request_head(len(body)) + body)
        return await self.answer()

    async def answer(self) -> Answer:
        async with asyncio.timeout(ANSWER_SECONDS):
            return await self._answer()

    async def _answer(self) -> Answer:
        head = (await self._reader.readuntil(b"\r\n\r\n")).decode("latin-1")
        status_line, *lines = head.rstrip().split("\r\n")
        headers = {name.lower(): value for name, _, value in (x.partition(": ") for x in lines)}
        body = await self._reader.readexactly(int(headers["content-length"]))
        return Answer(int(status_line.split()[1]), body, headers.get("connection") == "close")

    async def wait_closed_by_server(self) -> None:
        async with asyncio.timeout(ANSWER_SECONDS):
            assert await self._reader.read() == b""

    async def close(self) -> None:
        self.writer.close()
        with contextlib.suppress(ConnectionError):  # the other side was first
            await self.writer.wait_closed()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        await self.close()


def request_head(length: int) -> bytes:
    return (
        b"POST /predict HTTP/1.1\r\nHost: server\r\nContent-Type: image/jpeg\r\n"
        b"Content-Length: %d\r\n\r\n" % length
    )


@dataclass
class Load:
    """Requests by the clock to `target`, which may be changed while it runs."""

    target: Address
    body: bytes
    interval_seconds: float = 0.02
    answered: Counter[str] = field(default_factory=Counter)
    """Good answers by the version that gave them."""
    failures: list[str] = field(default_factory=list)
    stopped: bool = False

    async def run(self, *, kept_alive: int, fresh: int) -> None:
        async with asyncio.TaskGroup() as group:
            for _ in range(kept_alive):
                group.create_task(self._worker(keeps=True))
            for _ in range(fresh):
                group.create_task(self._worker(keeps=False))

    async def _worker(self, *, keeps: bool) -> None:
        loop = asyncio.get_running_loop()
        due = loop.time()
        connection: Connection | None = None
        while not self.stopped:
            due += self.interval_seconds
            try:
                if connection is None:
                    connection = await Connection.to(self.target)
                answer = await connection.post(self.body)
                closing = answer.closing
                self._count(answer)
            except (OSError, asyncio.IncompleteReadError) as error:  # a timeout is an OSError
                self.failures.append(repr(error))
                closing = True
            if connection is not None and (closing or not keeps):
                await connection.close()
                connection = None
            await asyncio.sleep(max(0.0, due - loop.time()))
        if connection is not None:
            await connection.close()

    def _count(self, answer: Answer) -> None:
        if answer.status == 200:
            self.answered[json.loads(answer.body)["model"]["version"]] += 1
        else:
            self.failures.append(f"status {answer.status}")
