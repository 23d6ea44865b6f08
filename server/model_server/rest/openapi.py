"""The parts of the OpenAPI schema that all groups of routes share.

The routes read bodies and write answers by themselves, so the framework cannot know what they
take and give: they say it with these. tests/server/test_openapi.py holds the schema to what is
answered.
"""

from __future__ import annotations

import json
from typing import Any

from fastapi import FastAPI
from pydantic import BaseModel
from pydantic.json_schema import models_json_schema
from starlette.responses import Response

from model_server.rest import problems
from model_server.rest.one_at_a_time import OneAtATime

Responses = dict[int | str, dict[str, Any]]

PATH = "/openapi.json"

_SCHEMAS = "#/components/schemas/"

_REQUEST_ID = {
    "description": "The request's id: the client's own, or one that was made.",
    "required": True,
    "schema": {"type": "string"},
}
_RETRY_AFTER = {
    "description": "Seconds after which to send the request again.",
    "required": True,
    "schema": {"type": "integer", "minimum": 1},
}

_PROBLEMS = {
    400: "The body, or a picture in it, cannot be read",
    404: "Another model or version is served here",
    408: "The body did not arrive in time",
    413: "Too many bytes, pixels or pictures",
    415: "Another Content-Type than those that are read, or a Content-Encoding",
    422: "The body can be read, but does not say what it must",
    500: "The server failed: its log has the cause under the request's id",
    503: "Not ready or overloaded: send it again after Retry-After seconds",
}
_PROBLEM_HEADERS = {503: {"Retry-After": _RETRY_AFTER}}


def answer(description: str, content: dict[str, Any], **headers: Any) -> dict[str, Any]:
    """Return the description of one good answer; `headers` are those beside X-Request-ID."""
    return {
        "description": description,
        "content": content,
        "headers": {"X-Request-ID": _REQUEST_ID, **headers},
    }


def answer_json(description: str, schema: dict[str, Any]) -> dict[str, Any]:
    """Return the description of one good answer in JSON."""
    return answer(description, {"application/json": {"schema": schema}})


def route(responses: Responses, *parameters: dict[str, Any], **extra: Any) -> dict[str, Any]:
    """Return what a route's decorator is told, so that it makes nothing up by itself."""
    return {
        "response_model": None,
        "response_class": Response,
        "responses": responses,
        "openapi_extra": {"parameters": [REQUEST_ID, *parameters], **extra},
    }


def refusals(*statuses: int, model: type[problems.Problem] = problems.Problem) -> Responses:
    """Return the descriptions of the problems with these statuses."""
    content = {problems.MEDIA_TYPE: {"schema": ref(model)}}
    return {
        status: answer(_PROBLEMS[status], content, **_PROBLEM_HEADERS.get(status, {}))
        for status in statuses
    }


def ref(model: type[BaseModel]) -> dict[str, str]:
    """Return the reference to a model's schema; `install` puts the schema where it points."""
    return {"$ref": _SCHEMAS + model.__name__}


def install(app: FastAPI, *models: type[BaseModel]) -> None:
    """Add the route of the application's schema, to which those of `models` are added.

    Named in a route, a model would be described as an answer of the type application/json, which
    problems are not.
    """

    def made() -> bytes:
        schema = app.openapi()
        _, definitions = models_json_schema(
            [(model, "serialization") for model in models], ref_template=_SCHEMAS + "{model}"
        )
        schema.setdefault("components", {}).setdefault("schemas", {}).update(definitions["$defs"])
        return json.dumps(schema, separators=(",", ":")).encode()

    write, written = OneAtATime("openapi", made), b""

    @app.get(PATH, include_in_schema=False)
    async def openapi() -> Response:
        nonlocal written
        written = written or await write()
        return Response(written, media_type="application/json")


def header(name: str, description: str, schema: dict[str, Any]) -> dict[str, Any]:
    """Return the description of an optional header of a request."""
    return {"name": name, "in": "header", "description": description, "schema": schema}


REQUEST_ID = header(
    "X-Request-ID",
    "An id of the client's own: at most 128 letters, digits, dots, underscores and hyphens; any"
    " other is replaced.",
    {"type": "string"},
)
CONTENT_ENCODING = header(
    "Content-Encoding",
    "Bodies are not decompressed.",
    {"type": "string", "enum": ["identity", ""]},
)
