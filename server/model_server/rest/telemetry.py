"""What is known of every request: its id, one log line, its metrics. An ASGI middleware.

`app` puts it around the routes, so that what fails unforeseen is still answered as a problem,
counted and logged once. Routes add what they know to `request.state.log`.
"""

from __future__ import annotations

import re
import time
import uuid
from collections.abc import Collection, MutableMapping
from typing import Any

import structlog
from starlette.datastructures import Headers, MutableHeaders
from starlette.requests import ClientDisconnect
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from model_server.lifecycle import Lifecycle
from model_server.metrics import Metrics
from model_server.rest.problems import problem

PROBES = frozenset({"/health", "/ready", "/metrics"})
_METHODS = frozenset({"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"})
_REQUEST_ID = re.compile(r"[A-Za-z0-9._-]{1,128}")
_CLIENT_WENT_AWAY = 499  # as nginx logs it; no client sees it

log = structlog.get_logger()


class Telemetry:
    """Wraps an ASGI application; `paths` are the ones that metrics tell apart."""

    def __init__(
        self, app: ASGIApp, metrics: Metrics, lifecycle: Lifecycle, paths: Collection[str]
    ) -> None:
        self._app = app
        self._lifecycle = lifecycle
        self._metrics = metrics
        self._paths = frozenset(paths)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request and record it."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        started = time.perf_counter()
        request_id = _request_id(Headers(scope=scope).get("x-request-id"))
        fields: dict[str, Any] = {}
        state: MutableMapping[str, Any] = scope.setdefault("state", {})
        state["request_id"], state["log"] = request_id, fields
        status = 0

        async def send_with_id(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
                MutableHeaders(scope=message)["x-request-id"] = request_id
            await send(message)

        self._metrics.in_progress.inc()
        try:
            await self._app(scope, receive, send_with_id)
        except ClientDisconnect:
            status = status or _CLIENT_WENT_AWAY
        except Exception:
            log.exception("the request failed unforeseen", request_id=request_id)
            if status:
                raise
            answer = problem(
                scope["path"],
                500,
                "internal-error",
                "Internal server error",
                "The server failed on this request: its log has the cause under this request_id.",
                request_id,
            )
            await answer(scope, receive, send_with_id)
        finally:
            self._metrics.in_progress.dec()
            self._record(scope, request_id, status, time.perf_counter() - started, fields)

    def _record(
        self, scope: Scope, request_id: str, status: int, seconds: float, fields: dict[str, Any]
    ) -> None:
        method, path = scope["method"], scope["path"]
        label = path if path in self._paths else "other"
        verb = method if method in _METHODS else "other"
        self._metrics.requests.labels(verb, label, str(status)).inc()
        self._metrics.duration.labels(label).observe(seconds)
        identity = self._lifecycle.identity
        write = log.debug if path in PROBES else log.info
        write(
            "request",
            request_id=request_id,
            method=method,
            path=path,
            status=status,
            duration=round(seconds, 6),
            **(identity.labels() if identity else {}),
            **fields,
        )


def _request_id(sent: str | None) -> str:
    """Keep the client's id where it is fit for a header and a log, else make one."""
    if sent is not None and _REQUEST_ID.fullmatch(sent):
        return sent
    return uuid.uuid4().hex
