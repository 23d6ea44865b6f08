"""A real MLflow server process on the loopback, with eight versions of one model."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from tests.fault.operator_process import clean_environment
from tests.operator.builders import digest_of

MODEL = "cats-dogs"
VERSIONS = 8
DEADLINE_SECONDS = 120.0  # the first start creates the tables, on a machine that may be busy


@contextlib.contextmanager
def mlflow_server(folder: Path) -> Iterator[str]:
    """Its URL, until the block ends."""
    with socket.create_server(("127.0.0.1", 0)) as probe:
        port = probe.getsockname()[1]
    command = [
        *(sys.executable, "-m", "mlflow", "server", "--host", "127.0.0.1", "--port", str(port)),
        *("--workers", "1", "--backend-store-uri", "sqlite:///mlflow.db"),
        *("--artifacts-destination", str(folder / "artifacts")),
    ]
    environment = clean_environment() | {
        "MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false",
        "MLFLOW_DISABLE_TELEMETRY": "true",
    }
    with (folder / "log").open("wb") as log:
        server = subprocess.Popen(
            command, cwd=folder, env=environment, stdout=log, stderr=log, start_new_session=True
        )
    url = f"http://127.0.0.1:{port}"
    try:
        _wait_until_healthy(url, server, folder / "log")
        _register(url)
        yield url
    finally:
        os.killpg(server.pid, signal.SIGTERM)
        server.wait(timeout=30)


def _wait_until_healthy(url: str, server: subprocess.Popen[bytes], log: Path) -> None:
    deadline = time.monotonic() + DEADLINE_SECONDS
    while time.monotonic() < deadline and server.poll() is None:
        try:
            with urllib.request.urlopen(f"{url}/health", timeout=5) as answer:
                if answer.status == 200:
                    return
        except (urllib.error.URLError, ConnectionError, TimeoutError):
            with contextlib.suppress(subprocess.TimeoutExpired):
                server.wait(timeout=0.1)
    raise AssertionError(f"the MLflow server did not start:\n{log.read_text()[-3000:]}")


def _register(url: str) -> None:
    _post(url, "registered-models/create", {"name": MODEL})
    for version in range(1, VERSIONS + 1):
        tags = [{"key": "sha256", "value": digest_of(version)}]
        _post(url, "model-versions/create", {"name": MODEL, "source": "s3://b/m", "tags": tags})


def _post(url: str, endpoint: str, body: dict[str, Any]) -> None:
    request = urllib.request.Request(
        f"{url}/api/2.0/mlflow/{endpoint}",
        data=json.dumps(body).encode(),
        headers={"Content-Type": "application/json"},
    )
    with urllib.request.urlopen(request, timeout=30) as answer:
        assert answer.status == 200
