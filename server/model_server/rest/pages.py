"""The documentation and the index: for people with a browser, offline too."""

from __future__ import annotations

from fastapi import APIRouter
from fastapi.openapi.docs import get_swagger_ui_html
from starlette.responses import Response

DOCS_ASSETS = "/docs/assets"


def page_routes() -> APIRouter:
    """Return the routes for people."""
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
