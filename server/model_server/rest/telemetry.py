"""What is known of every request: its id, its trace, one log line, its metrics. ASGI middleware.

`app` puts it around the routes, so that what fails unforeseen is still answered as a problem,
counted and logged once. Routes add what they know to `request.state.log`, and what is to be done
once the client has a good answer to `request.state.after_answer`.
"""

from __future__ import annotations

import asyncio
import re
import secrets
import time
from collections.abc import Callable, Collection, MutableMapping
from typing import Any

import structlog
from starlette.datastructures import Headers
from starlette.requests import ClientDisconnect
from starlette.responses import Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from model_server import tracing
from model_server.errors import CutOff
from model_server.lifecycle import Lifecycle
from model_server.metrics import OTHER, Metrics
from model_server.rest.problems import problem, refusal
from model_server.sampling import Sampler

PROBES = frozenset({"/health", "/ready", "/metrics", "/v2/health/live", "/v2/health/ready"})
_METHODS = frozenset({"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"})
_REQUEST_ID = re.compile(r"[A-Za-z0-9._-]{1,128}")
_CLIENT_WENT_AWAY = 499  # as nginx logs it; no client sees it
_MOST_LOGGED = 256  # characters of a path

log = structlog.get_logger()


class Telemetry:
    """Wraps an ASGI application; `paths` are the routes' templates that metrics tell apart."""

    def __init__(
        self,
        app: ASGIApp,
        metrics: Metrics,
        lifecycle: Lifecycle,
        paths: Collection[str],
        log_lines_per_second: int,
    ) -> None:
        self._app = app
        self._lifecycle = lifecycle
        self._metrics = metrics
        self._paths = frozenset(paths)
        self._answers = Sampler(log_lines_per_second)
        self._refusals = Sampler(log_lines_per_second)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request and record it."""
        if scope["type"] == "http":
            await self._record(scope, receive, send)
        else:
            await self._app(scope, receive, send)

    async def _record(self, scope: Scope, receive: Receive, send: Send) -> None:
        started = time.perf_counter()
        headers = Headers(scope=scope)
        request_id = _request_id(headers.get("x-request-id"))
        id_header = (b"x-request-id", request_id.encode())
        trace = tracing.parse(headers.getlist("traceparent"), headers.getlist("tracestate"))
        fields: dict[str, Any] = trace.fields() if trace else {}
        after_answer: list[Callable[[], None]] = []
        state: MutableMapping[str, Any] = scope.setdefault("state", {})
        state.update(request_id=request_id, trace=trace, log=fields, after_answer=after_answer)
        status = 0

        async def send_with_id(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
                message["headers"] = [*message.get("headers", ()), id_header]
            await send(message)

        self._metrics.in_progress.inc()
        try:
            await self._app(scope, receive, send_with_id)
        except ClientDisconnect:
            status = status or _CLIENT_WENT_AWAY
        except asyncio.CancelledError:
            # Only the end of the process cancels, and nothing is left for it to do here; passed
            # on, uvicorn would log a trace and answer in words of its own.
            fields["problem"] = CutOff.slug
            if not status:
                error = CutOff(
                    "The server has ended and cannot wait for this request: send it again."
                )
                await refusal(scope["path"], error, request_id)(scope, receive, send_with_id)
        except Exception:
            log.exception("the request failed unforeseen", request_id=request_id)
            fields["problem"] = "internal-error"
            if status:
                raise
            await _bug(scope["path"], request_id)(scope, receive, send_with_id)
        finally:
            self._metrics.in_progress.dec()
            self._count(scope, status, time.perf_counter() - started, fields)
            self._write(scope, request_id, status, time.perf_counter() - started, fields)
        if status == 200:
            for follow_up in after_answer:
                follow_up()
        after_answer.clear()  # the connection keeps the request's state until the next one

    def _count(self, scope: Scope, status: int, seconds: float, fields: dict[str, Any]) -> None:
        method, path = scope["method"], self._template(scope)
        verb = method if method in _METHODS else OTHER
        self._metrics.answered(verb, path, status, seconds)
        if "problem" in fields:
            self._metrics.reject(fields["problem"])

    def _template(self, scope: Scope) -> str:
        """Return the path as its route has it: what a client writes into it makes no series."""
        for path in (getattr(scope.get("route"), "path", None), scope["path"]):
            if path in self._paths:
                return str(path)
        return OTHER

    def _write(
        self, scope: Scope, request_id: str, status: int, seconds: float, fields: dict[str, Any]
    ) -> None:
        probe = scope["path"] in PROBES
        if not probe:
            sampler = self._answers if status < 400 else self._refusals
            standing_for = sampler.take(time.monotonic())
            if standing_for is None:
                return
            fields["sampled"] = standing_for
        identity = self._lifecycle.identity
        write = log.debug if probe else log.info
        write(
            "request",
            request_id=request_id,
            method=scope["method"],
            path=scope["path"][:_MOST_LOGGED],
            status=status,
            duration=round(seconds, 6),
            **(identity.labels() if identity else {}),
            **fields,
        )


def _bug(path: str, request_id: str) -> Response:
    return problem(
        path,
        500,
        "internal-error",
        "Internal server error",
        "The server failed on this request: its log has the cause under this request_id.",
        request_id,
    )


def _request_id(sent: str | None) -> str:
    """Keep the client's id where it is fit for a header and a log, else make one."""
    if sent is not None and _REQUEST_ID.fullmatch(sent):
        return sent
    return secrets.token_hex(16)
