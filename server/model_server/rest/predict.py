"""`POST /predict`: one picture or several, as a raw body, in a form, or in JSON."""

from __future__ import annotations

from typing import Any

from fastapi import APIRouter
from pydantic import TypeAdapter
from starlette.requests import Request
from starlette.responses import Response

from model_server.model import Model
from model_server.prediction import IsWanted, Prediction, Predictions
from model_server.rest import forms, openapi, pictures, strict_json
from model_server.rest.answers import Answer, ModelIdentity
from model_server.rest.context import Context

_ONE = TypeAdapter(Answer)
_MANY = TypeAdapter(list[Answer])


def predict_routes(context: Context) -> APIRouter:
    """Return the route of this server's own protocol."""
    router = APIRouter()

    @router.post(
        "/predict",
        summary="Classify one picture, or several",
        **openapi.route(
            _predict_responses(), openapi.CONTENT_ENCODING, requestBody=_predict_body()
        ),
    )
    async def predict(request: Request) -> Response:
        """Classify a JPEG, PNG or WebP picture.

        Send it as the raw body, in a form as `file`, or in JSON as base64. Several files of a
        form, and a list `images` in JSON, are answered by a list in their order.
        """
        limit, request_id = context.settings.max_images_per_request, request.state.request_id

        def job(model: Model, body: bytes, is_wanted: IsWanted) -> tuple[Predictions, bytes]:
            sent = pictures.find(body, request.headers, max_images=limit)
            predictions = model.predict(sent.encoded, is_wanted)
            answers = _answers(model, predictions, request_id)
            return predictions, (
                _MANY.dump_json(answers) if sent.as_list else _ONE.dump_json(answers[0])
            )

        content = await context.dataplane.predict(request, job)
        return Response(content, media_type=strict_json.MEDIA_TYPE)

    return router


def _answers(model: Model, predictions: Predictions, request_id: str) -> list[Answer]:
    name, version, revision = model.identity.name, model.identity.version, model.identity.revision
    identity = ModelIdentity(name=name, version=version, revision=revision)
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

    return [answer(item) for item in predictions.items]


def _predict_body() -> dict[str, Any]:
    file = {"type": "string", "format": "binary"}
    form = {
        "type": "object",
        "required": [forms.FORM_FIELD],
        "properties": {forms.FORM_FIELD: {"type": "array", "items": file, "minItems": 1}},
    }
    text = {"type": "string", "format": "byte"}
    one = {"image": text}
    several = {"images": {"type": "array", "items": text, "minItems": 1}}
    in_json = {
        "oneOf": [
            {
                "type": "object",
                "required": list(properties),
                "properties": properties,
                "additionalProperties": False,
            }
            for properties in (one, several)
        ]
    }
    content = {media_type: {"schema": file} for media_type in pictures.IMAGE_TYPES}
    return {
        "required": True,
        "content": {
            forms.MEDIA_TYPE: {"schema": form},
            strict_json.MEDIA_TYPE: {"schema": in_json},
            **content,
        },
    }


def _predict_responses() -> openapi.Responses:
    one = openapi.ref(Answer)
    schema = {"oneOf": [one, {"type": "array", "items": one, "minItems": 1}]}
    return {
        200: openapi.answer_json("The prediction, or a list of them", schema),
        **openapi.refusals(400, 408, 413, 415, 422, 500, 503),
    }
