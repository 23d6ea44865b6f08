"""Reading a request's body within limits of size and time, and what its headers say of it.

`dataplane` makes the one Room of a process, and calls `read` on the event loop; `pictures` and `v2`
ask for the media type.
"""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Mapping
from typing import TypeAlias

from python_multipart.multipart import parse_options_header
from starlette.requests import ClientDisconnect
from starlette.types import Receive

from model_server.errors import BodyTimeout, BodyTooLarge, Overloaded, UnsupportedEncoding
from model_server.rest.parsing import announced_length

Headers: TypeAlias = Mapping[str, str]

_SHOWN_LENGTH = 60
SMALL_BYTES = 1024 * 1024
"""Bodies up to this have a part of the room for themselves."""
_LARGE_SHARE = 0.75


class Room:
    """The bytes of bodies that may be held at a time, in all requests together.

    A quarter is for small bodies alone: else few clients that send the largest, and slowly, would
    have everybody refused.
    """

    def __init__(self, max_bytes: int, largest_body: int) -> None:
        self._max_bytes = max(max_bytes, largest_body)
        self._max_with_large = max(int(_LARGE_SHARE * max_bytes), largest_body)
        self._lock = threading.Lock()
        self.held_bytes = 0

    def take(self, count: int, body_bytes: int) -> bool:
        """Hold so many more bytes, or return False where there is no room for them.

        With them the body has `body_bytes`.
        """
        most = self._max_bytes if body_bytes <= SMALL_BYTES else self._max_with_large
        with self._lock:
            if self.held_bytes + count > most:
                return False
            self.held_bytes += count
            return True

    def give_back(self, count: int) -> None:
        """Hold so many bytes less; safe to call in any thread."""
        with self._lock:
            self.held_bytes -= count


async def read(
    receive: Receive, headers: Headers, room: Room, *, max_bytes: int, timeout_seconds: float
) -> bytes:
    """Return the whole body; it takes its length of `room`, which the caller gives back.

    A body that is too long is read to its end and thrown away, within the same time, for the
    answer to reach a client that writes before it reads.

    Raises:
        BodyTooLarge: it has more than `max_bytes`.
        BodyTimeout: it did not arrive within `timeout_seconds`.
        Overloaded: there is no room for what has arrived.
        UnsupportedEncoding: it is compressed.
        ClientDisconnect: the client went away.

    """
    if headers.get("expect", "").lower() == "100-continue":
        length = headers.get("content-length", "").encode("latin-1")
        if announced_length(length) > max_bytes:
            raise _too_large(max_bytes)
    arriving = _Arriving(room, max_bytes)
    try:
        async with asyncio.timeout(timeout_seconds):
            await arriving.read(receive)
        _check_encoding(headers)
    except TimeoutError as error:
        arriving.drop()
        raise BodyTimeout(
            f"The body did not arrive within {timeout_seconds:g} s: send it faster, or a smaller"
            " picture."
        ) from error
    except BaseException:
        arriving.drop()
        raise
    return arriving.whole()


class _Arriving:
    """A body of which some has arrived."""

    def __init__(self, room: Room, max_bytes: int) -> None:
        self._room = room
        self._max_bytes = max_bytes
        self._chunks: list[bytes] = []
        self._held_bytes = 0
        self._is_too_large = False

    async def read(self, receive: Receive) -> None:
        """Take it in to its end."""
        more = True
        while more:
            message = await receive()
            if message["type"] == "http.disconnect":
                raise ClientDisconnect
            self._take(message.get("body", b""))
            more = message.get("more_body", False)
        if self._is_too_large:
            raise _too_large(self._max_bytes)

    def drop(self) -> None:
        """Throw away what has arrived."""
        self._room.give_back(self._held_bytes)
        self._chunks.clear()
        self._held_bytes = 0

    def whole(self) -> bytes:
        """Return all of it."""
        return self._chunks[0] if len(self._chunks) == 1 else b"".join(self._chunks)

    def _take(self, chunk: bytes) -> None:
        if self._is_too_large or self._held_bytes + len(chunk) > self._max_bytes:
            self._is_too_large = True
            self.drop()
        elif self._room.take(len(chunk), self._held_bytes + len(chunk)):
            self._chunks.append(chunk)
            self._held_bytes += len(chunk)
        else:
            raise Overloaded(
                "More bytes of requests arrive than are held: send it again after Retry-After"
                " seconds."
            )


def _too_large(max_bytes: int) -> BodyTooLarge:
    return BodyTooLarge(f"The body is longer than {max_bytes} bytes: send a smaller picture.")


def _check_encoding(headers: Headers) -> None:
    encoding = headers.get("content-encoding", "").strip().lower()
    if encoding not in {"", "identity"}:
        raise UnsupportedEncoding(
            f"The Content-Encoding is {encoding[:_SHOWN_LENGTH]}: send the body as it is; pictures"
            " are compressed already."
        )


def media_type(headers: Headers) -> tuple[str, dict[bytes, bytes]]:
    """Return the Content-Type in lower case, "" where there is none, and its parameters."""
    kind, options = parse_options_header(headers.get("content-type"))
    return kind.decode("latin-1").lower(), options
