"""`POST /predict`: one picture or several, as a raw body or in a form."""

from __future__ import annotations

from dataclasses import asdict
from typing import Any

from fastapi import APIRouter
from pydantic import BaseModel, TypeAdapter
from starlette.requests import Request
from starlette.responses import Response

from model_server.model import Model
from model_server.prediction import Prediction, Predictions
from model_server.rest import bodies
from model_server.rest.context import Context
from model_server.rest.problems import MEDIA_TYPE, Problem


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


def predict_routes(context: Context) -> APIRouter:
    """Return the route of this server's own protocol."""
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

        def job(model: Model, body: bytes) -> Predictions:
            limit = context.settings.max_images_per_request
            return model.predict(bodies.images(body, request.headers, max_images=limit))

        model, predictions = await context.dataplane.predict(request, job)
        return _answer(model, predictions, request.state.request_id)

    return router


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
