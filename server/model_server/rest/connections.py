"""How long an HTTP connection lives, so that a switch of revisions reaches every client.

A connection is never closed under a client that may be sending: it is told `Connection: close`
with an answer, either because the process is ending or because the connection has lived long
enough. Only what was idle is closed without an answer, and never over bytes that have arrived.
`app` puts the middleware around the routes; `protocol` is what closes.
"""

from __future__ import annotations

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from model_server.errors import RequestError
from model_server.lifecycle import Lifecycle
from model_server.rest import problems
from model_server.rest.parsing import REFUSAL
from model_server.rest.protocol import CONNECTION, TimedProtocol

__all__ = ["ConnectionLife", "Refusals", "TimedProtocol"]

_LEAST_PATIENCE_SECONDS = 1.0


class ConnectionLife:
    """Adds `Connection: close` to answers; the connection closes once the answer is written.

    A connection whose time is over is given as long again where its client always has another
    request behind the one that is answered.
    """

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
        connection: TimedProtocol | None = scope.get("state", {}).get(CONNECTION)
        if connection is None:
            return self._lifecycle.ending
        if connection.is_at_end:
            return True
        over = self._lifecycle.ending or connection.age >= self._max_age_seconds
        patience = max(self._max_age_seconds, _LEAST_PATIENCE_SECONDS)
        return over and connection.is_last(patience)


class Refusals:
    """Answers what the protocol could not read as a problem; inside of `Telemetry`."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer at once, or when the app reads on in a body that broke off."""
        state = scope.get("state", {})
        refusal: RequestError | None = state.get(REFUSAL)
        if refusal is not None:
            await problems.answer(scope, refusal)(scope, receive, send)
            return

        async def receive_whole() -> Message:
            message = await receive()
            if REFUSAL in state:
                raise state.pop(REFUSAL)  # which holds this frame, which holds the state
            return message

        await self._app(scope, receive_whole, send)
