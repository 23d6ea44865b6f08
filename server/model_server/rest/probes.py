"""`/health`, `/ready` and `/metrics`: never behind a prediction."""

from __future__ import annotations

from dataclasses import asdict

from fastapi import APIRouter
from prometheus_client import CONTENT_TYPE_LATEST
from starlette.responses import JSONResponse, Response

from model_server.errors import NotReady
from model_server.lifecycle import Phase
from model_server.rest import openapi
from model_server.rest.answers import ModelIdentity
from model_server.rest.context import Context
from model_server.rest.one_at_a_time import OneAtATime

_HEALTH = {"type": "object", "required": ["status"], "properties": {"status": {"enum": ["ok"]}}}
_READY = {
    "type": "object",
    "required": ["status", "model", "sha256", "engine"],
    "properties": {
        "status": {"enum": ["ready"]},
        "model": openapi.ref(ModelIdentity),
        "sha256": {"type": "string", "pattern": "^[0-9a-f]{64}$"},
        "engine": {"type": "string"},
    },
}


def probe_routes(context: Context) -> APIRouter:
    """Return the routes that the kubelet and Prometheus ask."""
    router = APIRouter(tags=["Probes"])

    @router.get(
        "/health",
        summary="Whether the process lives",
        **openapi.route({200: openapi.answer_json("It does", _HEALTH)}),
    )
    async def health() -> JSONResponse:
        return JSONResponse({"status": "ok"})

    @router.get(
        "/ready",
        summary="Whether the model is loaded and the process is not ending",
        **openapi.route({200: openapi.answer_json("It is", _READY), **openapi.refusals(503)}),
    )
    async def ready() -> JSONResponse:
        model = context.lifecycle.model
        require_ready(context)
        return JSONResponse(
            {
                "status": "ready",
                "model": asdict(model.identity),
                "sha256": model.digest,
                "engine": model.engine,
            }
        )

    text = {CONTENT_TYPE_LATEST: {"schema": {"type": "string"}}}
    # With a thousand classes that is tens of milliseconds, which no prediction shall wait for.
    write = OneAtATime("metrics", context.metrics.text)

    @router.get(
        "/metrics",
        summary="Prometheus metrics",
        **openapi.route({200: openapi.answer("All samples", text)}),
    )
    async def metrics() -> Response:
        return Response(await write(), media_type=CONTENT_TYPE_LATEST)

    return router


def require_ready(context: Context) -> None:
    """Go on only while the server is ready.

    Raises:
        NotReady: the model is not loaded yet, or the process is ending.

    """
    if context.lifecycle.ending:
        raise NotReady("The server is draining: it answers what still comes and then ends.")
    if context.lifecycle.phase is not Phase.READY:
        raise NotReady("The model is still being verified and loaded: try again in a second.")
