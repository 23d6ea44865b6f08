"""The ASGI application, made from the settings and the parts that the process shares with it.

`serve` calls `create_app`; tests call it with a lifecycle of their own and no server around it.
"""

from __future__ import annotations

from fastapi import FastAPI
from starlette.staticfiles import StaticFiles
from swagger_ui_bundle import swagger_ui_path

from model_server import __version__
from model_server.lifecycle import Lifecycle
from model_server.metrics import Metrics
from model_server.rest import openapi, problems
from model_server.rest.answers import Answer
from model_server.rest.connections import ConnectionLife
from model_server.rest.context import Context
from model_server.rest.dataplane import Dataplane
from model_server.rest.pages import DOCS_ASSETS, page_routes
from model_server.rest.predict import predict_routes
from model_server.rest.probes import probe_routes
from model_server.rest.problems import Problem, V2Problem
from model_server.rest.telemetry import Telemetry
from model_server.rest.v2 import v2_routes
from model_server.settings import Settings
from model_server.workers import Workers

_COUNTED_PATHS = ("/", "/predict", "/health", "/ready", "/metrics", "/docs", "/openapi.json")


def create_app(
    settings: Settings, lifecycle: Lifecycle, workers: Workers, metrics: Metrics
) -> FastAPI:
    """Return the application; it answers `/predict` as soon as `lifecycle` has a model."""
    app = FastAPI(
        title="CV Factory model server",
        version=__version__,
        description="Classifies pictures with one verified model.",
        docs_url=None,
        redoc_url=None,
    )
    # The packaged Swagger UI reads 3.0; nothing in these schemas needs 3.1.
    app.openapi_version = "3.0.3"
    dataplane = Dataplane(settings, lifecycle, workers, metrics)
    context = Context(settings, lifecycle, metrics, dataplane)
    groups = (predict_routes(context), v2_routes(context), probe_routes(context), page_routes())
    for routes in groups:
        app.include_router(routes)
    openapi.install(app, Answer, Problem, V2Problem)
    app.mount(DOCS_ASSETS, StaticFiles(directory=swagger_ui_path))
    problems.install(app)
    app.add_middleware(Telemetry, metrics=metrics, lifecycle=lifecycle, paths=_COUNTED_PATHS)
    app.add_middleware(
        ConnectionLife, lifecycle=lifecycle, max_age_seconds=settings.connection_max_age_seconds
    )
    return app
