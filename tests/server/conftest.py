"""Fixtures that the server's tests share: one artifact, the app over it, and server processes."""

from __future__ import annotations

import os
from collections.abc import AsyncIterator, Callable, Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from model_server.app import create_app
from model_server.lifecycle import Lifecycle
from model_server.loading import load_model
from model_server.metrics import Metrics
from model_server.settings import Settings
from model_server.workers import Workers
from tests.own_logging import own_logging  # noqa: F401 - a fixture
from tests.server.artifacts import make_artifact
from tests.server.fetching import Fetching
from tests.server.processes import ServerProcess

os.environ["MLFLOW_DISABLE_TELEMETRY"] = "true"  # before any test imports mlflow


@pytest.fixture(scope="session")
def artifact(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_artifact(tmp_path_factory.mktemp("artifact"))


@pytest.fixture
def settings(artifact: Path) -> Settings:
    return Settings(
        model_path=artifact,
        model_version="3",
        revision="0123456789",
        inference_threads=2,
        engine="torch",
        decoding="full",
        max_body_bytes=200_000,
        max_image_pixels=1_000_000,
        max_request_pixels=2_000_000,
        max_images_per_request=4,
        body_timeout_seconds=0.3,
    )


@pytest.fixture
def workers(settings: Settings) -> Iterator[Workers]:
    workers = Workers(queue_size=settings.queue_size, threads=settings.inference_threads)
    yield workers
    workers.close()


@pytest.fixture
def lifecycle() -> Lifecycle:
    return Lifecycle()


@pytest.fixture
async def loading_client(
    settings: Settings, lifecycle: Lifecycle, workers: Workers
) -> AsyncIterator[httpx.AsyncClient]:
    """A client of an app whose model is not loaded yet."""
    app = create_app(settings, lifecycle, workers, Metrics())
    transport = httpx.ASGITransport(app)
    async with httpx.AsyncClient(transport=transport, base_url="http://server") as client:
        yield client


@pytest.fixture
async def client(
    settings: Settings, lifecycle: Lifecycle, workers: Workers
) -> AsyncIterator[httpx.AsyncClient]:
    """A client of an app that is ready."""
    metrics = Metrics()
    model = load_model(settings, workers)
    metrics.identify(model)
    lifecycle.loaded(model)
    transport = httpx.ASGITransport(create_app(settings, lifecycle, workers, metrics))
    async with httpx.AsyncClient(transport=transport, base_url="http://server") as client:
        yield client


@pytest.fixture
def start_server(artifact: Path, tmp_path: Path) -> Iterator[Callable[..., ServerProcess]]:
    """Starts `python -m model_server.main` on a free port; keyword arguments are environment."""
    started: list[ServerProcess] = []

    def start(artifact: Path = artifact, **environment: Any) -> ServerProcess:
        server = ServerProcess(artifact, tmp_path / f"server-{len(started)}", environment)
        started.append(server)
        return server

    yield start
    for server in started:
        server.close()


@pytest.fixture
def fetching(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Fetching:
    """The fetching container's environment, and the command in it."""
    return Fetching(tmp_path, monkeypatch)
