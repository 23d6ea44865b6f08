"""How long an HTTP connection lives, so that a switch of revisions reaches every client.

A connection is never closed under a client that may be sending: it is told `Connection: close`
with an answer, either because the process is ending or because the connection has lived long
enough. Only what was idle is closed without an answer, and never over bytes that have arrived.
`serve` gives uvicorn the protocol, `app` puts the middleware around the routes.
"""

from __future__ import annotations

import array
import asyncio
import contextlib
import fcntl
import os
import socket
import termios

from starlette.types import ASGIApp, Message, Receive, Scope, Send
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

from model_server.lifecycle import Lifecycle

_CONNECTION = "connection"
_FIRST_REQUEST_SECONDS = 1.0
"""How long a connection that is new when the process ends has for its first request."""


class TimedProtocol(HttpToolsProtocol):
    """uvicorn's HTTP protocol, which knows its connection's age and what is still to be read."""

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """Start the connection's clock; one that never sends anything is closed as an idle one."""
        super().connection_made(transport)
        self._connected_at = self.loop.time()
        self._used = False
        self._head_begun = False
        self.timeout_keep_alive_task = self.loop.call_later(
            self.timeout_keep_alive, self.timeout_keep_alive_handler
        )

    @property
    def age(self) -> float:
        """Seconds since it was made."""
        return self.loop.time() - self._connected_at

    @property
    def has_more(self) -> bool:
        """Whether the client has already sent another request behind the one being answered."""
        return bool(self.pipeline) or (not self.cycle.more_body and self._has_unread())

    def on_message_begin(self) -> None:
        """Give the request its connection."""
        super().on_message_begin()
        self._used = self._head_begun = True
        self.scope["state"][_CONNECTION] = self

    def on_headers_complete(self) -> None:
        """From here on there is a request to answer."""
        self._head_begun = False
        super().on_headers_complete()

    def connection_lost(self, exc: Exception | None) -> None:
        """Let go of the last request, which holds this connection."""
        super().connection_lost(exc)
        if self._used:
            self.scope["state"].pop(_CONNECTION, None)

    def timeout_keep_alive_handler(self) -> None:
        """Close an idle connection, unless a request has arrived that is not read yet."""
        if not self._has_unread():
            self._close_idle()

    def shutdown(self) -> None:
        """Close an idle connection; leave the others to their last answer.

        uvicorn calls it when listening has ended. A connection that was just made, or whose next
        request has begun to arrive, is not idle.
        """
        new = not self._used and self.age < _FIRST_REQUEST_SECONDS
        if new or self._head_begun or self._has_unread():
            self.loop.call_later(_FIRST_REQUEST_SECONDS, super().shutdown)
        elif self.cycle is None or self.cycle.response_complete:
            self._close_idle()
        else:
            super().shutdown()

    def _close_idle(self) -> None:
        """Close in this very moment: the loop would only do so after all else that it has to do.

        A client that has its next request ready then learns of the end before it sends it.
        """
        if self.transport.is_closing():
            return
        number = os.dup(self.transport.get_extra_info("socket").fileno())
        with contextlib.suppress(OSError), socket.socket(fileno=number) as connection:
            connection.shutdown(socket.SHUT_RDWR)  # fails where the client has closed it already
        self.transport.close()

    def _has_unread(self) -> bool:
        """Whether the kernel holds bytes that the event loop has not come round to."""
        if self.transport.is_closing():
            return False
        count = array.array("i", [0])
        fcntl.ioctl(self.transport.get_extra_info("socket"), termios.FIONREAD, count)
        return count[0] > 0


class ConnectionLife:
    """Adds `Connection: close` to answers; uvicorn then closes once the answer is written."""

    def __init__(self, app: ASGIApp, lifecycle: Lifecycle, max_age_seconds: float) -> None:
        self._app = app
        self._lifecycle = lifecycle
        self._max_age_seconds = max_age_seconds

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request; the decision is made when the answer starts."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return

        async def send_last(message: Message) -> None:
            if message["type"] == "http.response.start" and self._is_last(scope):
                message["headers"] = [*message.get("headers", ()), (b"connection", b"close")]
            await send(message)

        await self._app(scope, receive, send_last)

    def _is_last(self, scope: Scope) -> bool:
        connection: TimedProtocol | None = scope.get("state", {}).get(_CONNECTION)
        if connection is None:
            return self._lifecycle.ending
        over = self._lifecycle.ending or connection.age >= self._max_age_seconds
        return over and not connection.has_more
