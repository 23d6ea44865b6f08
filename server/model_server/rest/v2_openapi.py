"""What the OpenAPI schema says of the Open Inference Protocol's routes. `v2` uses it."""

from __future__ import annotations

from typing import Any

from model_server.rest import openapi, strict_json, v2_binary
from model_server.rest.problems import V2Problem
from model_server.rest.v2_protocol import OUTPUTS
from model_server.rest.v2_tensors import DATATYPES, IMAGE, INPUT

_Schema = dict[str, Any]

_STRING: _Schema = {"type": "string"}
_BYTES_COUNT: _Schema = {"type": "integer", "minimum": 0}


def _object(required: list[str], **properties: _Schema) -> _Schema:
    return {"type": "object", "required": required, "properties": properties}


def _list(items: _Schema, **limits: int) -> _Schema:
    return {"type": "array", "items": items, **limits}


def _parameters(**properties: _Schema) -> _Schema:
    return {"type": "object", "nullable": True, "properties": properties}


_SHAPE = _list({"type": "integer"}, minItems=1)
_TENSOR_METADATA = _object(
    ["name", "datatype", "shape"],
    name=_STRING,
    datatype=_STRING,
    shape=_SHAPE,
    parameters={"type": "object"},
)
_MODEL_METADATA = _object(
    ["name", "versions", "platform", "inputs", "outputs"],
    name=_STRING,
    versions=_list(_STRING, minItems=1),
    platform=_STRING,
    inputs=_list(_TENSOR_METADATA, minItems=1),
    outputs=_list(_TENSOR_METADATA, minItems=1),
)


def _input(name: str, dimensions: int, data: _Schema) -> _Schema:
    """An input is described with both of its forms; `data` is left out where it is binary."""
    return _object(
        ["name", "datatype", "shape"],
        name={"type": "string", "enum": [name]},
        datatype={"type": "string", "enum": [DATATYPES[name]]},
        shape=_list({"type": "integer", "minimum": 1}, minItems=dimensions, maxItems=dimensions),
        parameters=_parameters(binary_data_size={**_BYTES_COUNT, "nullable": True}),
        data=data,
    )


_NUMBERS: _Schema = {
    "description": "The tensor's numbers, row by row: flat, or nested as the shape says.",
    "type": "array",
    "minItems": 1,
    "items": {"oneOf": [{"type": "number"}, {"type": "array", "items": {}, "minItems": 1}]},
}
_REQUESTED_OUTPUT = _object(
    ["name"],
    name={"type": "string", "enum": list(OUTPUTS)},
    parameters=_parameters(binary_data={"type": "boolean"}),
)
_REQUEST = _object(
    ["inputs"],
    id={**_STRING, "nullable": True},
    parameters=_parameters(binary_data_output={"type": "boolean"}),
    inputs=_list(
        {
            "oneOf": [
                _input(IMAGE, 1, _list({"type": "string", "format": "byte"}, minItems=1)),
                _input(INPUT, 4, _NUMBERS),
            ]
        },
        minItems=1,
        maxItems=1,
    ),
    outputs={**_list(_REQUESTED_OUTPUT), "nullable": True},
)
_ANSWER = _object(
    ["model_name", "model_version", "outputs"],
    model_name=_STRING,
    model_version=_STRING,
    id=_STRING,
    outputs=_list(
        _object(
            ["name", "datatype", "shape"],
            name={"type": "string", "enum": list(OUTPUTS)},
            datatype={"type": "string", "enum": ["FP32", "BYTES"]},
            shape=_list({"type": "integer", "minimum": 1}, minItems=1),
            parameters=_object(["binary_data_size"], binary_data_size=_BYTES_COUNT),
            data={"type": "array", "items": {"oneOf": [{"type": "number"}, _STRING]}},
        ),
        minItems=1,
    ),
)
_BINARY: _Schema = {"type": "string", "format": "binary"}


def server() -> dict[str, Any]:
    """`GET /v2`."""
    schema = _object(
        ["name", "version", "extensions"], name=_STRING, version=_STRING, extensions=_list(_STRING)
    )
    return openapi.route({200: openapi.answer_json("Name, version and extensions", schema)})


def live() -> dict[str, Any]:
    """`GET /v2/health/live`."""
    schema = _object(["live"], live={"type": "boolean"})
    return openapi.route({200: openapi.answer_json("It does", schema)})


def ready() -> dict[str, Any]:
    """`GET /v2/health/ready`."""
    schema = _object(["ready"], ready={"type": "boolean"})
    return openapi.route({200: openapi.answer_json("It is", schema), **_refusals(503)})


def model_metadata(path: str) -> dict[str, Any]:
    """`GET` of the model."""
    answer = openapi.answer_json("Its inputs and outputs", _MODEL_METADATA)
    return openapi.route({200: answer, **_refusals(404, 503)}, *_names(path))


def model_ready(path: str) -> dict[str, Any]:
    """`GET .../ready`."""
    schema = _object(["name", "ready"], name=_STRING, ready={"type": "boolean"})
    answer = openapi.answer_json("It is", schema)
    return openapi.route({200: answer, **_refusals(404, 503)}, *_names(path))


def infer(path: str) -> dict[str, Any]:
    """`POST .../infer`."""
    length = "The bytes of the JSON before the binary data; absent where there is none."
    content = {
        strict_json.MEDIA_TYPE: {"schema": _ANSWER},
        v2_binary.MEDIA_TYPE: {"schema": _BINARY},
    }
    answer = openapi.answer(
        "The outputs",
        content,
        **{v2_binary.HEADER: {"description": length, "schema": _BYTES_COUNT}},
    )
    return openapi.route(
        {200: answer, **_refusals(400, 404, 408, 413, 415, 422, 500, 503)},
        *_names(path),
        openapi.CONTENT_ENCODING,
        openapi.header(v2_binary.HEADER, length, _BYTES_COUNT),
        requestBody={
            "required": True,
            "content": {
                strict_json.MEDIA_TYPE: {"schema": _REQUEST},
                v2_binary.MEDIA_TYPE: {"schema": _BINARY},
            },
        },
    )


def _refusals(*statuses: int) -> openapi.Responses:
    return openapi.refusals(*statuses, model=V2Problem)


def _names(path: str) -> list[dict[str, Any]]:
    """The parameters in `path`, which is written as FastAPI writes it."""
    return [
        {"name": name, "in": "path", "required": True, "schema": _STRING}
        for name in ("model", "version")
        if f"{{{name}}}" in path
    ]
