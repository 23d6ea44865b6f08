"""Errors as clients see them: application/problem+json (RFC 9457), with the request's id.

`app` installs the handlers; `telemetry` uses `problem` for what nobody foresaw, and `refusal` for
what the end of the process cuts off.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from http import HTTPStatus

from fastapi import FastAPI
from pydantic import BaseModel, ConfigDict
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response
from starlette.types import Scope

from model_server.errors import RequestError

MEDIA_TYPE = "application/problem+json"
V2_PREFIX = "/v2"


class Problem(BaseModel):
    """The shape of every error."""

    model_config = ConfigDict(use_attribute_docstrings=True)

    type: str
    """A name for the kind of problem that does not change: `urn:cv-factory:problem:overloaded`."""
    title: str
    status: int
    detail: str
    """What is wrong with this request and what to do, in one sentence."""
    request_id: str


class V2Problem(Problem):
    """The same below `/v2`, where clients of the Open Inference Protocol look for `error`."""

    error: str
    """What `detail` says."""


def problem(
    path: str,
    status: int,
    slug: str,
    title: str,
    detail: str,
    request_id: str,
    headers: Mapping[str, str] | None = None,
) -> Response:
    """Return the answer for one problem with a request for `path`."""
    body = {
        "type": f"urn:cv-factory:problem:{slug}",
        "title": title,
        "status": status,
        "detail": detail,
        "request_id": request_id,
    }
    if path == V2_PREFIX or path.startswith(f"{V2_PREFIX}/"):
        body["error"] = detail
    return Response(json.dumps(body), status, headers, media_type=MEDIA_TYPE)


def refusal(path: str, error: RequestError, request_id: str) -> Response:
    """Return the answer that `error` leads to."""
    return problem(
        path, error.status, error.slug, error.title, str(error), request_id, error.headers
    )


def answer(scope: Scope, error: RequestError) -> Response:
    """Return the answer that a request's own refusal leads to, and note it in the request's log."""
    state = scope["state"]
    state["log"]["problem"] = error.slug
    return refusal(scope["path"], error, state["request_id"])


def install(app: FastAPI) -> None:
    """Make `app` answer every error as a problem."""
    app.add_exception_handler(RequestError, _request_error)
    app.add_exception_handler(HTTPException, _http_exception)


async def _request_error(request: Request, error: Exception) -> Response:
    if not isinstance(error, RequestError):
        raise error
    return answer(request.scope, error)


async def _http_exception(request: Request, error: Exception) -> Response:
    """Answer what the router refuses: unknown paths and wrong methods."""
    if not isinstance(error, HTTPException):
        raise error
    title = HTTPStatus(error.status_code).phrase
    detail = {
        404: f"There is nothing at {request.url.path}: GET / lists what there is.",
        405: f"{request.url.path} does not take {request.method}: the Allow header has what it does"
        " take.",
    }.get(error.status_code, str(error.detail))
    slug = title.lower().replace(" ", "-")
    request.state.log["problem"] = slug
    return problem(
        request.url.path,
        error.status_code,
        slug,
        title,
        detail,
        request.state.request_id,
        error.headers,
    )
