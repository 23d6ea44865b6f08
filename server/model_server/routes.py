"""The HTTP routes: `/predict`, the probes, `/metrics`, the documentation and the index.

`app` includes them. A route only moves data: bodies are read by `bodies`, predictions are computed
by the model in an inference thread of `workers`.
"""

from __future__ import annotations

import asyncio
from dataclasses import asdict, dataclass
from typing import Any

from fastapi import APIRouter
from fastapi.openapi.docs import get_swagger_ui_html
from prometheus_client import CONTENT_TYPE_LATEST
from pydantic import BaseModel, TypeAdapter
from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from model_server import bodies
from model_server.errors import NotReady, PredictionTimeout
from model_server.lifecycle import Lifecycle, Phase
from model_server.metrics import Metrics
from model_server.model import Model
from model_server.prediction import Prediction, Predictions
from model_server.problems import MEDIA_TYPE, Problem
from model_server.settings import Settings
from model_server.workers import Workers

DOCS_ASSETS = "/docs/assets"


class ModelIdentity(BaseModel):
    """Which model answered."""

    name: str
    version: str
    revision: str


class Answer(BaseModel):
    """The prediction for one picture."""

    label: str
    confidence: float
    probabilities: dict[str, float]
    model: ModelIdentity
    request_id: str
    inference_time_ms: float


_ONE = TypeAdapter(Answer)
_MANY = TypeAdapter(list[Answer])


@dataclass(frozen=True, slots=True)
class Context:
    """What the routes stand on."""

    settings: Settings
    lifecycle: Lifecycle
    workers: Workers
    metrics: Metrics


def make_router(context: Context) -> APIRouter:
    """Return the routes over `context`."""
    router = APIRouter()
    router.include_router(_predict_routes(context))
    router.include_router(_probe_routes(context))
    router.include_router(_page_routes())
    return router


def _predict_routes(context: Context) -> APIRouter:
    router = APIRouter()

    @router.post(
        "/predict",
        summary="Classify one picture, or several",
        response_model=None,
        responses=_predict_responses(),
        openapi_extra={"requestBody": _predict_body()},
    )
    async def predict(request: Request) -> Response:
        """Classify a JPEG, PNG or WebP picture.

        Send it as the raw body, or in a form as `file`; several files are answered by a list in
        their order.
        """
        model = context.lifecycle.model
        settings = context.settings
        body = await bodies.read(
            request.receive,
            request.headers,
            max_bytes=settings.max_body_bytes,
            timeout_seconds=min(settings.body_timeout_seconds, settings.request_timeout_seconds),
        )

        def job() -> Predictions:
            return model.predict(
                bodies.images(body, request.headers, max_images=settings.max_images_per_request)
            )

        try:
            async with asyncio.timeout(settings.request_timeout_seconds):
                predictions = await context.workers.run(job)
        except TimeoutError as error:
            raise PredictionTimeout(
                f"The prediction took longer than {settings.request_timeout_seconds:g} s: send it"
                " again later."
            ) from error
        _record(context.metrics, request, predictions)
        return _answer(model, predictions, request.state.request_id)

    return router


def _record(metrics: Metrics, request: Request, predictions: Predictions) -> None:
    metrics.inference.observe(predictions.inference_seconds)
    for item in predictions.items:
        metrics.classes.labels(item.label).inc()
    labels = [item.label for item in predictions.items]
    confidences = [item.confidence for item in predictions.items]
    single = len(labels) == 1
    request.state.log.update(
        inference_time=round(predictions.inference_seconds, 6),
        prediction=labels[0] if single else labels,
        confidence=confidences[0] if single else confidences,
    )


def _answer(model: Model, predictions: Predictions, request_id: str) -> Response:
    identity = ModelIdentity(**asdict(model.identity))
    milliseconds = round(predictions.inference_seconds * 1000, 3)

    def answer(item: Prediction) -> Answer:
        return Answer(
            label=item.label,
            confidence=item.confidence,
            probabilities=item.probabilities,
            model=identity,
            request_id=request_id,
            inference_time_ms=milliseconds,
        )

    answers = [answer(item) for item in predictions.items]
    content = _ONE.dump_json(answers[0]) if len(answers) == 1 else _MANY.dump_json(answers)
    return Response(content, media_type="application/json")


def _predict_body() -> dict[str, Any]:
    picture = {"type": "string", "format": "binary"}
    form = {
        "type": "object",
        "required": [bodies.FORM_FIELD],
        "properties": {bodies.FORM_FIELD: {"type": "array", "items": picture, "minItems": 1}},
    }
    content = {media_type: {"schema": picture} for media_type in bodies.IMAGE_TYPES}
    return {"required": True, "content": {bodies.FORM_TYPE: {"schema": form}, **content}}


def _predict_responses() -> dict[int | str, dict[str, Any]]:
    explanations = {
        400: "Not an image, or a malformed form",
        408: "The body did not arrive in time",
        413: "Too many bytes, pixels or pictures",
        415: "Another Content-Type than a picture or a form",
        422: "The form has no picture",
        503: "Not ready or overloaded: send it again after Retry-After seconds",
    }
    schema = {"schema": {"$ref": "#/components/schemas/Problem"}}
    problems: dict[int | str, dict[str, Any]] = {
        status: {"model": Problem, "description": text, "content": {MEDIA_TYPE: schema}}
        for status, text in explanations.items()
    }
    return {200: {"model": Answer | list[Answer], "description": "The prediction"}, **problems}


def _probe_routes(context: Context) -> APIRouter:
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


def _page_routes() -> APIRouter:
    router = APIRouter(include_in_schema=False)

    @router.get("/")
    async def index() -> dict[str, dict[str, str]]:
        paths = ("predict", "health", "ready", "metrics", "docs", "openapi.json")
        return {"links": {path.removesuffix(".json"): f"/{path}" for path in paths}}

    @router.get("/docs")
    async def docs() -> Response:
        return get_swagger_ui_html(
            openapi_url="openapi.json",
            title="CV Factory model server",
            swagger_js_url=f".{DOCS_ASSETS}/swagger-ui-bundle.js",
            swagger_css_url=f".{DOCS_ASSETS}/swagger-ui.css",
            swagger_favicon_url=f".{DOCS_ASSETS}/favicon-32x32.png",
            swagger_ui_parameters={"validatorUrl": None},
        )

    return router
