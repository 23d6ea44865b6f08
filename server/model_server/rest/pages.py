"""The documentation and the index: for people with a browser, offline too."""

from __future__ import annotations

from fastapi import APIRouter
from fastapi.openapi.docs import get_swagger_ui_html
from starlette.responses import JSONResponse, Response

from model_server.rest import openapi

DOCS_ASSETS = "/docs/assets"


def page_routes() -> APIRouter:
    """Return the routes for people."""
    router = APIRouter(tags=["Pages"])
    links = {
        "type": "object",
        "required": ["links"],
        "properties": {"links": {"type": "object", "additionalProperties": {"type": "string"}}},
    }

    @router.get(
        "/",
        summary="Where everything is",
        **openapi.route({200: openapi.answer_json("Paths by name", links)}),
    )
    async def index() -> JSONResponse:
        paths = ("predict", "v2", "health", "ready", "metrics", "docs", "openapi.json")
        return JSONResponse({"links": {path.removesuffix(".json"): f"/{path}" for path in paths}})

    page = {"text/html": {"schema": {"type": "string"}}}

    @router.get(
        "/docs",
        summary="This documentation as a page",
        **openapi.route({200: openapi.answer("A page that needs no other server", page)}),
    )
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
