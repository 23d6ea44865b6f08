"""How long an HTTP connection lives, so that a switch of revisions reaches every client.

A connection is never closed under a client that may be sending: it is told `Connection: close`
with an answer, either because the process is ending or because the connection has lived long
enough. `serve` gives uvicorn the protocol, `app` puts the middleware around the routes.
"""

from __future__ import annotations

import asyncio

from starlette.types import ASGIApp, Message, Receive, Scope, Send
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

from model_server.lifecycle import Lifecycle

_CONNECTED_AT = "connected_at"


class TimedProtocol(HttpToolsProtocol):
    """uvicorn's HTTP protocol, which also remembers when its connection was made."""

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """Start the connection's clock; one that never sends anything is closed as an idle one."""
        super().connection_made(transport)
        self._connected_at = self.loop.time()
        self.timeout_keep_alive_task = self.loop.call_later(
            self.timeout_keep_alive, self.timeout_keep_alive_handler
        )

    def on_message_begin(self) -> None:
        """Give the request the time of its connection."""
        super().on_message_begin()
        self.scope["state"][_CONNECTED_AT] = self._connected_at


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
        if self._lifecycle.ending:
            return True
        connected_at = scope.get("state", {}).get(_CONNECTED_AT)
        if connected_at is None:
            return False
        age: float = asyncio.get_running_loop().time() - connected_at
        return age >= self._max_age_seconds
