"""How a connection ends: told so with an answer, closed while idle, or left by its client.

`serve` gives it to uvicorn; `connections` asks it at each answer whether that is the last. What
the client may still be sending when the last answer is written is read and thrown away for a
moment, since a reset would take the answer from it.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import socket
from collections.abc import Callable
from typing import TYPE_CHECKING

from model_server.rest.parsing import PacedProtocol
from model_server.rest.waiting import Waiting

if TYPE_CHECKING:
    from uvicorn._types import ASGI3Application
    from uvicorn.protocols.http.httptools_impl import RequestResponseCycle

CONNECTION = "connection"
"""The key of a request's state under which its connection lies."""

_FIRST_REQUEST_SECONDS = 1.0
"""How long a connection that is new when the process ends has for its first request."""
_LINGER_SECONDS = 2.0
_LINGER_BYTES = 16 * 1024 * 1024
_UNREAD_SECONDS = 30.0
"""How long a client may read nothing of what is written, where that is more than can lie unread or
its connection is to be closed.
"""


class TimedProtocol(PacedProtocol):
    """uvicorn's HTTP protocol, which knows its connection's age and what is still to be read."""

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """Start the connection's clock; one that never sends anything is closed as an idle one."""
        super().connection_made(transport)
        self._connected_at = self.loop.time()
        self._over_at: float | None = None
        self._used = False
        self._half_closed = False
        self._listening_ended = False
        self._linger_timer: asyncio.TimerHandle | None = None
        self._unread_timer: asyncio.TimerHandle | None = None
        self._lingered_bytes = 0
        self._when_lost: Callable[[], None] | None = None
        self._answering: RequestResponseCycle | None = None
        # `app` leaves it there, for all connections.
        state = getattr(self.config.app, "state", None)
        self._waiting: Waiting = getattr(state, "waiting", None) or Waiting()
        self._waiting.add(transport)
        self._waiting.make_room(len(self.connections))
        self._await_request()

    @property
    def age(self) -> float:
        """Seconds since it was made."""
        return self.loop.time() - self._connected_at

    @property
    def is_at_end(self) -> bool:
        """Whether the answer being given is the last in any case: no further request is read."""
        if self.pipeline:
            return False
        return self._parsed_all or self._half_closed or self._last_begun or self.cycle.more_body

    def tell_when_lost(self, tell: Callable[[], None]) -> None:
        """Call `tell` where the connection is lost, until `tell_nobody`.

        It is for the request that is being answered. Where nothing is read, nothing is noticed:
        so what the client sends ahead is read, as far as it may be.
        """
        self._when_lost = tell
        if not self.transport.is_closing():
            self.flow.resume_reading()

    def tell_nobody(self) -> None:
        """End what `tell_when_lost` has begun."""
        self._when_lost = None

    def is_last(self, patience_seconds: float) -> bool:
        """Whether the answer being given is the last on a connection whose time is over.

        What the client has sent behind the request is still answered, for so many seconds from
        the first time that this was asked; then no further request is begun.
        """
        now = self.loop.time()
        if self._over_at is None:
            self._over_at = now
        if not self._has_more():
            return True
        if now - self._over_at >= patience_seconds:
            self.stop_parsing()
        return self.is_at_end

    def data_received(self, data: bytes) -> None:
        """Take a part of a request, or throw away what follows the last one."""
        if self._linger_timer is None:
            super().data_received(data)
            return
        self._lingered_bytes += len(data)
        if self._lingered_bytes > _LINGER_BYTES:
            self._close()

    def eof_received(self) -> bool:  # type: ignore[override]
        """Keep the other direction open while answers are owed to a client that sends no more."""
        self._half_closed = True
        if self._owed and self.cycle.more_body:  # this request will never be whole
            if self.pipeline:
                self.pipeline.popleft()
            self._owed -= 1
        stays_open = self._owed > 0 and self._linger_timer is None
        if not stays_open:
            self._close()
        return stays_open

    def on_message_begin(self) -> None:
        """Give the request its connection."""
        super().on_message_begin()
        if not self._muted:
            self._used = True
            self.scope["state"][CONNECTION] = self

    def on_headers_complete(self) -> None:
        """Let the answer's end be this connection's to handle."""
        super().on_headers_complete()
        if self._owed:
            self._waiting.discard(self.transport)
            answer = _Answer(self.cycle, self.transport, self._close_after_answer)
            self.cycle.transport = answer  # type: ignore[assignment]

    def on_response_complete(self) -> None:
        """Close where this was the last answer, though nobody knew when it began."""
        if self._linger_timer is not None:
            self.server_state.total_requests += 1
            return
        super().on_response_complete()
        if not self._owed and not self.transport.is_closing():
            self._waiting.add(self.transport)
        if self._half_closed and not self._owed:
            self._close()
        elif self._listening_ended:
            self._end_if_idle()

    def pause_writing(self) -> None:
        """Wait for the client to read, for a while: nobody else would end what it holds up."""
        super().pause_writing()
        self._await_reader()

    def resume_writing(self) -> None:
        """Go on: it has read."""
        super().resume_writing()
        if not self.transport.is_closing():
            self._end_unread()

    def connection_lost(self, exc: Exception | None) -> None:
        """Tell the request that is being answered, and let go of the last, which holds this."""
        super().connection_lost(exc)  # knows of the last one that was read, and may be behind it
        if self._answering is not None and not self._answering.response_complete:
            self._answering.disconnected = True
            self._answering.message_event.set()
        self._answering = None
        if self._when_lost is not None:
            self._when_lost()
        self._waiting.discard(self.transport)
        self._end_unread()
        self._unset_keepalive_if_required()
        if self._linger_timer is not None:
            self._linger_timer.cancel()
        if self._used:
            self.scope["state"].pop(CONNECTION, None)

    def timeout_keep_alive_handler(self) -> None:
        """Close an idle connection, unless a request has arrived that is not read yet."""
        if self._is_idle():
            self._close_idle()
        elif not self._owed:
            self._await_request()

    def shutdown(self) -> None:
        """Close an idle connection; leave the others to their last answer.

        uvicorn calls it when listening has ended. A connection that was just made, or whose next
        request has begun to arrive, is not idle.
        """
        self._listening_ended = True
        if not self._used and self.age < _FIRST_REQUEST_SECONDS:
            self.loop.call_later(_FIRST_REQUEST_SECONDS, self._end_if_idle)
        else:
            self._end_if_idle()

    def _end_if_idle(self) -> None:
        """Close it once no answer is owed and neither we nor the kernel hold a byte of a request.

        What the kernel holds is looked at again: it need not be a request.
        """
        if self._is_idle():
            self._close_idle()
        elif not self._owed and not self.transport.is_closing():
            self.loop.call_later(_FIRST_REQUEST_SECONDS, self._end_if_idle)

    def _await_request(self) -> None:
        self._unset_keepalive_if_required()
        self.timeout_keep_alive_task = self.loop.call_later(
            self.timeout_keep_alive, self.timeout_keep_alive_handler
        )

    def _is_idle(self) -> bool:
        return not (self._owed or self._head_begun or self._unparsed or self._has_unread())

    def _start_asgi_task(self, cycle: RequestResponseCycle, app: ASGI3Application) -> None:
        self._answering = cycle
        super()._start_asgi_task(cycle, app)

    def _has_more(self) -> bool:
        """Whether the client has already sent another request behind the one being answered."""
        return bool(self.pipeline or self._unparsed or self._head_begun or self._has_unread())

    def _close_idle(self) -> None:
        """Close in this very moment: the loop would only do so after all else that it has to do.

        A client that has its next request ready then learns of the end before it sends it.
        """
        if self.transport.is_closing():
            return
        number = os.dup(self.transport.get_extra_info("socket").fileno())
        with contextlib.suppress(OSError), socket.socket(fileno=number) as connection:
            connection.shutdown(socket.SHUT_RDWR)  # fails where the client has closed it already
        self._close()

    def _close_after_answer(self) -> None:
        """Close; where the client may be sending, only after a moment in which it reads."""
        if self.transport.is_closing() or self._linger_timer is not None:
            return
        sending = self._last_begun or self.cycle.more_body or self._has_more()
        if self._half_closed or not sending:
            self._close()
            return
        self.stop_parsing()
        self._linger_timer = self.loop.call_later(_LINGER_SECONDS, self._close)
        self.transport.write_eof()
        self.flow.resume_reading()

    def _close(self) -> None:
        """Close once what is written was sent, as long as the client reads it."""
        self.transport.close()
        if self._unread_timer is None:
            self._await_reader()

    def _await_reader(self) -> None:
        left = self.transport.get_write_buffer_size()
        self._unread_timer = self.loop.call_later(_UNREAD_SECONDS, self._judge_reader, left)

    def _judge_reader(self, left_before: int) -> None:
        if self.transport.get_write_buffer_size() < left_before:
            self._await_reader()
        else:
            self.transport.abort()

    def _end_unread(self) -> None:
        if self._unread_timer is not None:
            self._unread_timer.cancel()
            self._unread_timer = None

    def _may_read(self) -> bool:
        return self._linger_timer is not None or super()._may_read()


class _Answer:
    """The transport as one answer sees it: its head is written with the first part of its body, as
    one packet where they are small, and to close it is the connection's own affair.
    """

    def __init__(
        self, cycle: RequestResponseCycle, transport: asyncio.Transport, close: Callable[[], None]
    ) -> None:
        self.is_closing = transport.is_closing
        self._cycle = cycle
        self._transport = transport
        self._close = close
        self._is_begun = cycle.scope["method"] == "HEAD"  # nothing would follow the head
        self._head = b""

    def write(self, data: bytes) -> None:
        """Write it, unless it is the head."""
        if self._is_begun or not self._cycle.response_started:  # before it, 100 Continue
            self._transport.write(data)
        elif not self._head:
            self._head = data
        else:
            self._write_head(data)

    def close(self) -> None:
        """End the answer, be it broken off."""
        if self._head:
            self._write_head(b"")
        self._close()

    def _write_head(self, data: bytes) -> None:
        self._transport.write(self._head + data)
        self._is_begun, self._head = True, b""
