"""`/health`, `/ready` and `/metrics`: never behind a prediction."""

from __future__ import annotations

from dataclasses import asdict

from fastapi import APIRouter
from prometheus_client import CONTENT_TYPE_LATEST
from starlette.responses import JSONResponse, Response

from model_server.errors import NotReady
from model_server.lifecycle import Phase
from model_server.rest.context import Context


def probe_routes(context: Context) -> APIRouter:
    """Return the routes that the kubelet and Prometheus ask."""
    router = APIRouter()

    @router.get("/health", summary="Whether the process lives")
    async def health() -> dict[str, str]:
        return {"status": "ok"}

    @router.get("/ready", summary="Whether the model is loaded and the process is not ending")
    async def ready() -> JSONResponse:
        model = context.lifecycle.model
        if context.lifecycle.phase is not Phase.READY:
            raise NotReady("The server is draining: it answers what still comes and then ends.")
        return JSONResponse(
            {
                "status": "ready",
                "model": asdict(model.identity),
                "sha256": model.digest,
                "engine": model.engine,
            }
        )

    @router.get("/metrics", summary="Prometheus metrics", response_class=Response)
    async def metrics() -> Response:
        return Response(context.metrics.text(), media_type=CONTENT_TYPE_LATEST)

    return router
