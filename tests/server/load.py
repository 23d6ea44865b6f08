"""One HTTP/1.1 connection that hides nothing: no retries, no pool, no reconnecting.

It speaks over a plain socket, so that a refused, reset or unanswered request cannot be hidden by a
library. The tests of single connections use it, and `tests.drain` makes its clients of it.
"""

from __future__ import annotations

import asyncio
import contextlib
import select
from collections.abc import Sequence
from dataclasses import dataclass
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

    def ended_by_server(self) -> bool:
        """Whether the server has closed it while it was idle; what clients ask before reuse."""
        if self._reader.at_eof() or self._reader.exception() is not None:
            return True
        sock = self.writer.get_extra_info("socket")
        return sock.fileno() < 0 or bool(select.select([sock], [], [], 0)[0])

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


def request_head(length: int, content_type: str = "image/jpeg") -> bytes:
    return (
        "POST /predict HTTP/1.1\r\nHost: server\r\n"
        f"Content-Type: {content_type}\r\nContent-Length: {length}\r\n\r\n"
    ).encode()


def request(body: bytes, content_type: str = "image/jpeg") -> bytes:
    return request_head(len(body), content_type) + body


BOUNDARY = "a-boundary-that-no-picture-has"
FORM_TYPE = f"multipart/form-data; boundary={BOUNDARY}"


def form(pictures: Sequence[bytes], content_type: str = "image/jpeg") -> bytes:
    """The body of a form with these pictures, in their order."""
    disposition = 'Content-Disposition: form-data; name="file"; filename="picture"'
    head = f"--{BOUNDARY}\r\n{disposition}\r\nContent-Type: {content_type}\r\n\r\n".encode()
    parts = b"".join(head + picture + b"\r\n" for picture in pictures)
    return parts + f"--{BOUNDARY}--\r\n".encode()
