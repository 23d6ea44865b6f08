"""Fixtures that the training tests share: small data, real MLflow databases and a real server."""

from __future__ import annotations

import contextlib
import os
import shutil
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch

from model_training.mlflow_client import connect
from model_training.synthetic import write_pictures

# Warnings inside third-party packages that nothing here can avoid; every other one is an error.
IGNORED_WARNINGS = (
    # mlflow's own tables use a loader strategy that SQLAlchemy 2.1 deprecates.
    "ignore:The ``noload`` loader strategy is deprecated:sqlalchemy.exc.SADeprecationWarning",
)
SERVER_DEADLINE = 90.0  # seconds; the first start creates the tables, on a machine that may be busy


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Ignores the warnings above in the tests of this folder only."""
    for item in items:
        if item.path.is_relative_to(Path(__file__).parent):
            for ignored in IGNORED_WARNINGS:
                item.add_marker(pytest.mark.filterwarnings(ignored))


@pytest.fixture(scope="session", autouse=True)
def _one_thread() -> None:
    """Tests share the processors with others; two threads that wait for each other are slower."""
    torch.set_num_threads(1)


@pytest.fixture(scope="session")
def pictures(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """120 drawn pictures, 60 of each class; not to be changed."""
    folder = tmp_path_factory.mktemp("data") / "raw"
    write_pictures(folder, 120, seed=0, on_image=lambda: None)
    return folder


@pytest.fixture
def own_pictures(pictures: Path, tmp_path: Path) -> Path:
    """A copy of the pictures that the test may change."""
    return Path(shutil.copytree(pictures, tmp_path / "own"))


@pytest.fixture(scope="session")
def new_database(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An MLflow database with its tables and nothing in them; making one takes seconds."""
    path = tmp_path_factory.mktemp("mlflow") / "mlflow.db"
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(path.parent)  # mlflow keeps artifacts in ./mlruns
        connect(f"sqlite:///{path}").search_experiments()
    return path


@pytest.fixture
def database(new_database: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """The tracking URI of an empty database in a working directory of the test's own."""
    folder = tmp_path / "project"
    folder.mkdir()
    shutil.copyfile(new_database, folder / "mlflow.db")
    monkeypatch.chdir(folder)
    # With the whole path: within one process mlflow takes equal URIs for the same database.
    uri = f"sqlite:///{folder / 'mlflow.db'}"
    monkeypatch.setenv("MLFLOW_TRACKING_URI", uri)
    return uri


@pytest.fixture(scope="session")
def mlflow_server(new_database: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The URI of an MLflow server process on a free port, which serves the artifacts itself."""
    folder = tmp_path_factory.mktemp("server")
    shutil.copyfile(new_database, folder / "mlflow.db")
    port = _free_port()
    command = [
        *(sys.executable, "-m", "mlflow", "server", "--host", "127.0.0.1", "--port", str(port)),
        *("--workers", "1", "--backend-store-uri", "sqlite:///mlflow.db"),
        *("--artifacts-destination", str(folder / "artifacts")),
    ]
    environment = os.environ | {"MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false"}
    with (folder / "log").open("wb") as log:
        server = subprocess.Popen(
            command, cwd=folder, env=environment, stdout=log, stderr=log, start_new_session=True
        )
    try:
        _wait_until_healthy(f"http://127.0.0.1:{port}/health", server, folder / "log")
        yield f"http://127.0.0.1:{port}"
    finally:
        os.killpg(server.pid, 15)
        server.wait(timeout=30)


@pytest.fixture
def free_port() -> int:
    """A port on which nothing listens."""
    return _free_port()


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def _wait_until_healthy(url: str, server: subprocess.Popen[bytes], log: Path) -> None:
    deadline = time.monotonic() + SERVER_DEADLINE
    while time.monotonic() < deadline and server.poll() is None:
        try:
            with urllib.request.urlopen(url, timeout=5) as answer:
                if answer.status == 200:
                    return
        except (urllib.error.URLError, ConnectionError):
            with contextlib.suppress(subprocess.TimeoutExpired):
                server.wait(timeout=0.1)
    pytest.fail(f"the MLflow server did not start:\n{log.read_text()[-3000:]}")
