"""The Open Inference Protocol, version 2, over REST: its routes.

`v2_protocol` has the protocol's data; `dataplane` what these share with `/predict`.
"""

from __future__ import annotations

from fastapi import APIRouter
from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from model_server import __version__
from model_server.errors import MalformedRequest, UnknownModel, UnsupportedMediaType
from model_server.model import Model
from model_server.prediction import IsWanted, Predictions
from model_server.rest import bodies, strict_json, v2_binary, v2_openapi, v2_protocol
from model_server.rest.context import Context
from model_server.rest.probes import require_ready
from model_server.rest.v2_protocol import Body, InferenceRequest
from model_server.rest.v2_tensors import Limits

_MODEL = "/v2/models/{model}"
_VERSION = "/v2/models/{model}/versions/{version}"


def v2_routes(context: Context) -> APIRouter:
    """Return the protocol's routes."""
    router = APIRouter(tags=["Open Inference Protocol"])
    _add_server_routes(router, context)
    for prefix in (_MODEL, _VERSION):
        _add_metadata_routes(router, context, prefix)
        _add_inference_route(router, context, prefix)
    return router


def _add_server_routes(router: APIRouter, context: Context) -> None:
    @router.get("/v2", summary="What this server is", **v2_openapi.server())
    async def server() -> JSONResponse:
        return JSONResponse(
            {
                "name": "cv-factory-model-server",
                "version": __version__,
                "extensions": ["binary_tensor_data"],
            }
        )

    @router.get("/v2/health/live", summary="Whether the process lives", **v2_openapi.live())
    async def live() -> JSONResponse:
        return JSONResponse({"live": True})

    @router.get("/v2/health/ready", summary="As /ready", **v2_openapi.ready())
    async def ready() -> JSONResponse:
        require_ready(context)
        return JSONResponse({"ready": True})


def _add_metadata_routes(router: APIRouter, context: Context, prefix: str) -> None:
    @router.get(
        prefix, summary="What the model takes and gives", **v2_openapi.model_metadata(prefix)
    )
    async def metadata(request: Request) -> JSONResponse:
        model = _served(context, request)
        network = model.predict
        return JSONResponse(
            v2_protocol.model_metadata(model.identity, model.engine, network.classes, network.input)
        )

    @router.get(
        f"{prefix}/ready", summary="Whether the model is ready", **v2_openapi.model_ready(prefix)
    )
    async def ready(request: Request) -> JSONResponse:
        model = _served(context, request)
        require_ready(context)
        return JSONResponse({"name": model.identity.name, "ready": True})


def _add_inference_route(router: APIRouter, context: Context, prefix: str) -> None:
    max_images = context.settings.max_images_per_request

    @router.post(f"{prefix}/infer", summary="Classify", **v2_openapi.infer(prefix))
    async def infer(request: Request) -> Response:
        """Classify encoded pictures, the input `image`, or a ready tensor, the input `input`.

        With `Inference-Header-Content-Length` the tensor's data follows the JSON as bytes.
        """
        _served(context, request)

        def job(model: Model, body: bytes, is_wanted: IsWanted) -> tuple[Predictions, Body]:
            asked = _read(body, request.headers, model, max_images)
            network = model.predict
            predictions = (
                network(asked.input, is_wanted)
                if isinstance(asked.input, list)
                else network.predict_tensor(asked.input)
            )
            return predictions, v2_protocol.write_answer(
                asked, model.identity, len(network.classes), predictions
            )

        answer = await context.dataplane.predict(request, job)
        if answer.header_length is None:
            return Response(answer.content, media_type=strict_json.MEDIA_TYPE)
        headers = {v2_binary.HEADER: str(answer.header_length)}
        return Response(answer.content, headers=headers, media_type=v2_binary.MEDIA_TYPE)


def _served(context: Context, request: Request) -> Model:
    """Return the model, where the path names it.

    Raises:
        NotReady: it is not loaded yet.
        UnknownModel: the path names another one.

    """
    model = context.lifecycle.model
    name, version = model.identity.name, model.identity.version
    path = request.path_params
    if path["model"] != name or path.get("version", version) != version:
        asked = "/".join(path.values())
        raise UnknownModel(
            f"{strict_json.shown(asked)} is not served here: this server has"
            f" {name!r} in version {version!r}."
        )
    return model


def _read(body: bytes, headers: bodies.Headers, model: Model, max_images: int) -> InferenceRequest:
    kind, _ = bodies.media_type(headers)
    header_length = headers.get(v2_binary.HEADER)
    if kind not in {"", strict_json.MEDIA_TYPE, v2_binary.MEDIA_TYPE}:
        raise UnsupportedMediaType(
            f"The Content-Type is {kind[:60]}: send {strict_json.MEDIA_TYPE}, or"
            f" {v2_binary.MEDIA_TYPE} with binary data behind the JSON."
        )
    if kind == v2_binary.MEDIA_TYPE and header_length is None:
        raise MalformedRequest(
            f"The Content-Type is {kind}, but there is no {v2_binary.HEADER}: send the length of"
            " the JSON header."
        )
    spec = model.predict.input
    limits = Limits(picture=(3, spec.height, spec.width), max_images=max_images)
    return v2_protocol.read_request(body, header_length, limits)
