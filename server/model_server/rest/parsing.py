"""What a connection sends becomes requests: within limits, at the pace at which they are answered.

`protocol` builds on it. Bytes are parsed only while few requests wait for their answers, and read
only while none are left to parse, so that a client that sends ahead is slowed down by its own TCP
window. What cannot be read becomes a request of its own, which `connections` answers as a problem
in its turn: after the answers that are owed for the good requests before it. Every refusal is an
exception of its own: once raised, it holds the frames that it went through, and their requests.
"""

from __future__ import annotations

import array
import asyncio
import fcntl
import re
import sys
import termios
from collections.abc import Callable

import httptools
from uvicorn.protocols.http.flow_control import HIGH_WATER_LIMIT, FlowControl
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

from model_server.errors import HeadersTimeout, HeadersTooLarge, MalformedRequest, RequestError

REFUSAL = "refusal"
"""The key of a request's state under which lies why it cannot be answered otherwise."""

_MOST_HEAD_BYTES = 64 * 1024
_MOST_HEADERS = 100
_FREE_FRAMING_BYTES = 64 * 1024
_BODY_PER_FRAMING = 4
"""Bytes of a body in chunks for one byte between them, beyond what is free: each takes its time."""
_HEAD_SECONDS = 10.0
_AGAIN_SECONDS = 0.5
_MOST_WAITING = 4
"""Requests of one connection that wait for the answer before them, give or take one piece's."""
_PIECE_BYTES = 512
"""Parsed at a time where a request may begin: the shortest has 18 bytes, and each takes some KB."""
_CHUNKS_PIECE_BYTES = 8 * 1024
"""And of a body in chunks, of which the end is not in it."""
_BODY_PIECE_BYTES = 256 * 1024
"""And of a body of which as much is still to come: no request begins in that."""
_BLANK_LINE = re.compile(rb"\n\r?\n")
"""What every head ends with, and every body in chunks."""
_MOST_DIGITS = 18
_FRAMING = (b"content-length", b"transfer-encoding")


class PacedProtocol(HttpToolsProtocol):
    """uvicorn's HTTP protocol with limits on what is read, and without upgrades."""

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """Start with nothing read."""
        super().connection_made(transport)
        self.flow = _PacedReading(transport, self._may_read)
        # `app` leaves it there: before a connection's first request there is nothing else to ask.
        state = getattr(self.config.app, "state", None)
        self._head_seconds: float = getattr(state, "head_timeout_seconds", _HEAD_SECONDS)
        self._head_timer: asyncio.TimerHandle | None = None
        self._head_begun = False
        self._unparsed = memoryview(b"")
        self._body_left = 0  # of the body that is being read, where its length was announced
        self._in_chunks = False  # is the body that is being read, where it was not
        self._framing_bytes = 0  # between its chunks, beyond those that may be
        self._quiet_bytes = 0  # without a request's beginning, its body or its end in them
        self._moved = False
        self._upgrading = False
        self._muted = False
        self._last_begun = False
        self._parsed_all = False
        self._owed = 0

    def data_received(self, data: bytes) -> None:
        """Parse it now, or once answers have been given."""
        if not self._parsed_all:
            self._unparsed = memoryview(
                b"".join((self._unparsed, data)) if self._unparsed else data
            )
            self._parse()

    def stop_parsing(self) -> None:
        """Begin no further request; the body of the one that has begun is still read."""
        self._last_begun = True
        if self._head_begun or not (self._owed and self.cycle.more_body):
            self._stop()

    def on_message_begin(self) -> None:
        """Start the clock of the request's head."""
        if self._muted:
            return
        if self._last_begun:
            raise _NoMoreError
        self._moved = self._head_begun = True
        self._head_bytes = 0
        self._unset_keepalive_if_required()
        super().on_message_begin()
        self._head_timer = self.loop.call_later(self._head_seconds, self._head_is_late)

    def on_url(self, url: bytes) -> None:
        """Take a part of the URL."""
        if not self._muted:
            super().on_url(url)
            self._count_of_head(len(url))

    def on_header(self, name: bytes, value: bytes) -> None:
        """Take a header, or a trailer."""
        if not self._muted:
            super().on_header(name, value)
            self._count_of_head(len(name) + len(value) + 4)

    def on_headers_complete(self) -> None:
        """From here on there is a request to answer."""
        if self._muted:
            self._muted = False
            return
        self._end_head()
        super().on_headers_complete()
        length = next((value for name, value in self.headers if name == b"content-length"), b"")
        self._body_left = announced_length(length)
        self._in_chunks = any(name == b"transfer-encoding" for name, _ in self.headers)
        self._framing_bytes = -_FREE_FRAMING_BYTES
        self._moved = True
        self._upgrading = self.parser.should_upgrade()
        self._owed += 1

    def on_body(self, body: bytes) -> None:
        """Take a part of the body."""
        self._moved = True
        self._body_left -= len(body)
        self._framing_bytes -= len(body) + len(body) // _BODY_PER_FRAMING
        super().on_body(body)

    def on_message_complete(self) -> None:
        """The body is whole; of a request to upgrade the parser has not read it yet."""
        self._moved = True
        if not self._upgrading:
            self._in_chunks = False
            super().on_message_complete()

    def on_response_complete(self) -> None:
        """Go on with what was left for later."""
        self._owed -= 1
        super().on_response_complete()
        if not self.transport.is_closing():
            self._parse()

    def connection_lost(self, exc: Exception | None) -> None:
        """Forget what waits."""
        self._stop()
        self.pipeline.clear()
        super().connection_lost(exc)

    def _may_read(self) -> bool:
        if self._unparsed or self._parsed_all:
            return False
        few = len(self.pipeline) < _MOST_WAITING
        return not self.pipeline or (few and len(self.cycle.body) <= HIGH_WATER_LIMIT)

    def _parse(self) -> None:
        while self._unparsed and len(self.pipeline) < _MOST_WAITING:
            size = self._next_size()
            piece, self._unparsed = self._unparsed[:size], self._unparsed[size:]
            self._parse_piece(piece)
        if self._unparsed:
            self.flow.pause_reading()
            return
        self._unparsed = memoryview(b"")  # an empty part would hold the whole of what it is of
        if self.cycle is None or len(self.cycle.body) <= HIGH_WATER_LIMIT:
            self.flow.resume_reading()

    def _next_size(self) -> int:
        """How much to parse next: few bytes, but for those in which no request can begin."""
        if self._in_chunks and not _BLANK_LINE.search(self._unparsed, 0, _CHUNKS_PIECE_BYTES):
            return _CHUNKS_PIECE_BYTES
        return max(_PIECE_BYTES, min(self._body_left, _BODY_PIECE_BYTES))

    def _parse_piece(self, piece: memoryview) -> None:
        self._moved = False
        try:
            self.parser.feed_data(piece)
        except httptools.HttpParserUpgrade as upgrade:
            rest = b"".join((piece[upgrade.args[0] :], self._unparsed))
            self._unparsed = memoryview(rest)
            self._ignore_upgrade()
        except httptools.HttpParserError as error:
            cause = error.__context__
            if isinstance(cause, _NoMoreError):
                self._stop()
            else:
                self._refuse(cause if isinstance(cause, RequestError) else _malformed())
            return
        if self._moved:
            self._quiet_bytes = 0
            self._framing_bytes += len(piece)
        else:
            self._quiet_bytes += len(piece)
        if self._quiet_bytes > _MOST_HEAD_BYTES:
            self._refuse(_too_large())
        elif self._in_chunks and self._framing_bytes > 0:
            self._refuse(_too_fragmented())

    def _ignore_upgrade(self) -> None:
        """Read the body as if the upgrade had not been offered.

        httptools ends a request that offers one after its head. A parser that has read a head
        with the same framing goes on where it ended.
        """
        self._upgrading = False
        self._muted = True
        framing = [b"%s: %s\r\n" % item for item in self.headers if item[0] in _FRAMING]
        self._start_parser(b"POST / HTTP/1.1\r\n" + b"".join(framing) + b"\r\n")

    def _refuse(self, refusal: RequestError) -> None:
        """Make an answer of `refusal` the connection's last."""
        self._stop()
        if self._owed and self.cycle.more_body:
            # It broke off in the body of a request that is being answered, or waits for that.
            self.cycle.scope["state"][REFUSAL] = refusal
            self.cycle.message_event.set()
            return
        self._last_begun = False
        self._start_parser(b"GET / HTTP/1.0\r\n\r\n")
        self._last_begun = True
        # Nothing of the request is certain. Its task has not begun to run.
        self.scope["method"] = self.scope["path"] = ""
        self.scope["state"][REFUSAL] = refusal

    def _start_parser(self, data: bytes) -> None:
        self.parser = httptools.HttpRequestParser(self)
        self.parser.set_dangerous_leniencies(lenient_data_after_close=True)
        self.parser.feed_data(data)

    def _stop(self) -> None:
        self._end_head()
        self._unparsed = memoryview(b"")
        self._parsed_all = self._last_begun = True
        if not self.transport.is_closing():
            self.flow.pause_reading()

    def _count_of_head(self, size: int) -> None:
        self._head_bytes += size
        if self._head_bytes > _MOST_HEAD_BYTES or len(self.headers) > _MOST_HEADERS:
            raise _too_large()

    def _end_head(self) -> None:
        self._head_begun = False
        if self._head_timer is not None:
            self._head_timer.cancel()
            self._head_timer = None

    def _has_unread(self) -> bool:
        """Whether the kernel holds bytes that the event loop has not come round to."""
        if self.transport.is_closing():
            return False
        count = array.array("i", [0])
        fcntl.ioctl(self.transport.get_extra_info("socket"), termios.FIONREAD, count)
        return count[0] > 0

    def _head_is_late(self) -> None:
        """Refuse it, unless it is here and only waits for the answers before it."""
        if self.flow.read_paused or self._has_unread():
            self._head_timer = self.loop.call_later(_AGAIN_SECONDS, self._head_is_late)
            return
        self._refuse(
            HeadersTimeout(
                f"The request's headers did not arrive within {self._head_seconds:g} s: send them"
                " at once."
            )
        )


def _malformed() -> MalformedRequest:
    return MalformedRequest(
        "This is not an HTTP/1.1 request: its first line, a header or the framing of its body"
        " cannot be read. Percent-encode what is not ASCII in the path."
    )


def _too_large() -> HeadersTooLarge:
    return HeadersTooLarge(
        f"The request has more than {_MOST_HEADERS} headers, or more than {_MOST_HEAD_BYTES} bytes"
        " of them: send fewer or shorter ones."
    )


def _too_fragmented() -> MalformedRequest:
    return MalformedRequest(
        "The body comes in chunks so small that what is between them is more than a quarter of it:"
        " send larger chunks, or a Content-Length."
    )


def announced_length(value: bytes) -> int:
    """The length that a Content-Length says; 0 where it says nothing, or nonsense."""
    if not value.isdigit():
        return 0
    digits = value.lstrip(b"0")
    return int(digits or b"0") if len(digits) <= _MOST_DIGITS else sys.maxsize


class _NoMoreError(Exception):
    """Ends the parsing where a request begins that is not to be read."""


class _PacedReading(FlowControl):
    """Reads on only where that is wanted."""

    def __init__(self, transport: asyncio.Transport, wanted: Callable[[], bool]) -> None:
        super().__init__(transport)
        self._wanted = wanted

    def resume_reading(self) -> None:
        if self._wanted():
            super().resume_reading()
