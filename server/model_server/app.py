"""The ASGI application, made from the settings and the parts that the process shares with it.

`serve` calls `create_app`; tests call it with a lifecycle of their own and no server around it.
"""

from __future__ import annotations

from collections.abc import Iterable

from fastapi import APIRouter, FastAPI
from fastapi.routing import APIRoute
from starlette.staticfiles import StaticFiles
from swagger_ui_bundle import swagger_ui_path

from model_server import __version__
from model_server.lifecycle import Lifecycle
from model_server.metrics import OTHER, Metrics
from model_server.mirror.sender import Mirror
from model_server.rest import hot_path, openapi, problems
from model_server.rest.answers import Answer
from model_server.rest.connections import ConnectionLife, Refusals
from model_server.rest.context import Context
from model_server.rest.dataplane import Dataplane
from model_server.rest.hot_path import HotPath
from model_server.rest.pages import DOCS_ASSETS, page_routes
from model_server.rest.predict import predict_routes
from model_server.rest.probes import probe_routes
from model_server.rest.problems import Problem, V2Problem
from model_server.rest.telemetry import Telemetry
from model_server.rest.v2 import v2_routes
from model_server.rest.waiting import Waiting
from model_server.settings import Settings
from model_server.workers import Workers


def create_app(
    settings: Settings,
    lifecycle: Lifecycle,
    workers: Workers,
    metrics: Metrics,
    mirror: Mirror | None = None,
) -> FastAPI:
    """Return the application; it answers `/predict` as soon as `lifecycle` has a model.

    Without a `mirror` nothing is ever copied; whoever gives one runs it.
    """
    app = FastAPI(
        title="CV Factory model server",
        version=__version__,
        description="Classifies pictures with one verified model.",
        openapi_url=None,  # `rest.openapi` writes it once, where FastAPI does at each request
        docs_url=None,
        redoc_url=None,
        redirect_slashes=False,  # it would redirect to whatever host the client names
        telemetry={"tracing": False, "metrics": False, "logs": False},  # `rest.telemetry` is ours
    )
    # The packaged Swagger UI reads 3.0; nothing in these schemas needs 3.1.
    app.openapi_version = "3.0.3"
    dataplane = Dataplane(settings, lifecycle, workers, metrics, mirror)
    context = Context(settings, lifecycle, metrics, dataplane)
    predicting = predict_routes(context)
    groups = (predicting, v2_routes(context), probe_routes(context), page_routes())
    for routes in groups:
        app.include_router(routes)
    openapi.install(app, Answer, Problem, V2Problem)
    app.mount(DOCS_ASSETS, StaticFiles(directory=swagger_ui_path))
    problems.install(app)
    paths = _expect(metrics, groups)
    metrics.observe(workers)
    app.state.head_timeout_seconds = settings.body_timeout_seconds  # for `rest.parsing`
    app.state.waiting = Waiting(settings.max_connections)  # for `rest.protocol`
    app.add_middleware(HotPath, endpoints=hot_path.endpoints(predicting))
    app.add_middleware(Refusals)
    app.add_middleware(
        Telemetry,
        metrics=metrics,
        lifecycle=lifecycle,
        paths=paths,
        log_lines_per_second=settings.log_requests_per_second,
    )
    app.add_middleware(
        ConnectionLife, lifecycle=lifecycle, max_age_seconds=settings.connection_max_age_seconds
    )
    return app


def _expect(metrics: Metrics, routers: Iterable[APIRouter]) -> frozenset[str]:
    """Count the answers that each route announces from 0, and return the routes' templates."""
    paths = {openapi.PATH, OTHER}
    for router in routers:
        for route in router.routes:
            if isinstance(route, APIRoute):
                paths.add(route.path)
                for method in route.methods or ():
                    metrics.expect(method, route.path, {200, *map(int, route.responses)})
    metrics.expect("GET", openapi.PATH, {200})
    metrics.expect("GET", OTHER, {404})
    return frozenset(paths)
