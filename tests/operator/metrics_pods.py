"""Pods that answer `/metrics` on the loopback, each a real HTTP server, well or not."""

from __future__ import annotations

import asyncio
import itertools
from collections.abc import Awaitable, Callable
from contextlib import AsyncExitStack
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import urlsplit

from aiohttp import web

from tests.operator.loopback import serving

EDGES = ("0.1", "0.3", "1.0", "+Inf")
_uids = itertools.count()


@dataclass
class MetricsPod:
    """One pod, as its server and as the API server shows it."""

    name: str
    body: dict[str, Any]
    requests: int = 0
    errors: int = 0
    started_at: float = 1000.0
    overdue: int = 0
    agreed: int = 0
    differed: int = 0
    seconds: float = 0.05
    """How long each request took."""
    classes: tuple[str, ...] = ("cat", "dog")
    """It only ever predicts the first."""
    answer: Callable[[], Awaitable[web.StreamResponse]] | None = None
    """Instead of its metrics."""
    reads: int = field(default=0, init=False)

    def text(self) -> str:
        good = self.requests - self.errors
        path = 'path="/predict"'
        return "\n".join(
            [
                f'http_requests_total{{revision="r",{path},status="200"}} {good}',
                f'http_requests_total{{revision="r",{path},status="503"}} {self.errors}',
                'http_requests_total{method="GET",path="/ready",status="503"} 4711',
                *(
                    f'http_request_duration_seconds_bucket{{{path},le="{edge}"}} '
                    f"{self.requests if self.seconds <= float(edge) else 0}"
                    for edge in EDGES
                ),
                *(f'predictions_overdue{{seconds="{s}"}} {self.overdue}' for s in ("1", "3")),
                *(
                    f'prediction_class_total{{class="{name}"}} {good * (name == self.classes[0])}'
                    for name in self.classes
                ),
                f'shadow_predictions_total{{class="cat",agreement="agree"}} {self.agreed}',
                f'shadow_predictions_total{{class="cat",agreement="differ"}} {self.differed}',
                f"process_start_time_seconds {self.started_at}",
                "",
            ]
        )

    def restart(self) -> None:
        self.started_at += 10
        self.requests = self.errors = 0

    async def handle(self, request: web.BaseRequest) -> web.StreamResponse:
        self.reads += 1
        if request.path != "/metrics":
            return web.Response(status=404)
        if self.answer is not None:
            return await self.answer()
        return web.Response(text=self.text())


class Pods:
    """Makes pods, and stops their servers at the end."""

    def __init__(self, stack: AsyncExitStack) -> None:
        self._stack = stack

    async def start(self, name: str, **fields: Any) -> MetricsPod:
        pod = MetricsPod(name, {}, **fields)
        url = urlsplit(await self._stack.enter_async_context(serving(pod.handle)))
        ready = {"type": "Ready", "status": "True"}
        pod.body = {
            "metadata": {"name": name, "uid": f"uid-{next(_uids)}"},
            "spec": {"containers": [{"ports": [{"name": "http", "containerPort": url.port}]}]},
            "status": {"phase": "Running", "podIP": url.hostname, "conditions": [ready]},
        }
        return pod


async def hang() -> web.StreamResponse:
    """Accepts, and never answers."""
    await asyncio.Event().wait()
    raise AssertionError
