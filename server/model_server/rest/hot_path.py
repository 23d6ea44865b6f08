"""The routes that every prediction takes, without the framework's way to them. ASGI middleware.

`app` puts it innermost. The same functions stand in the framework's router, for the schema; on the
way through that a request would be matched against every route, and given exit stacks, dependencies
and a validation of what has none. What a route refuses is answered here as `problems` does it.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from typing import TypeAlias

from fastapi import APIRouter
from fastapi.routing import APIRoute
from starlette.requests import Request
from starlette.responses import Response
from starlette.types import ASGIApp, Receive, Scope, Send

from model_server.errors import RequestError
from model_server.rest import problems

Endpoint: TypeAlias = Callable[[Request], Awaitable[Response]]


class HotPath:
    """Answers `POST` to a path of `endpoints`; everything else goes on to the application."""

    def __init__(self, app: ASGIApp, endpoints: Mapping[str, Endpoint]) -> None:
        self._app = app
        self._endpoints = endpoints

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request."""
        hot = scope["type"] == "http" and scope["method"] == "POST"
        endpoint = self._endpoints.get(scope["path"]) if hot else None
        if endpoint is None:
            await self._app(scope, receive, send)
            return
        try:
            answer = await endpoint(Request(scope, receive, send))
        except RequestError as error:
            answer = problems.answer(scope, error)
        await answer(scope, receive, send)


def endpoints(router: APIRouter) -> dict[str, Endpoint]:
    """Return the functions of a router's routes that take POST and have no parameters, by path."""
    return {
        route.path: route.endpoint
        for route in router.routes
        if isinstance(route, APIRoute) and "POST" in (route.methods or ()) and "{" not in route.path
    }
