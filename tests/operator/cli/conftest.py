"""A real model server that the command line can ask."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.server.artifacts import make_artifact
from tests.server.processes import ServerProcess

REVISION = "2a5c629232"


@pytest.fixture(scope="session")
def model_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The URL of a process that serves version 2."""
    folder: Path = tmp_path_factory.mktemp("model-server")
    settings = {"model_version": "2", "revision": REVISION, "inference_threads": 1}
    server = ServerProcess(make_artifact(folder / "artifact"), folder / "process", settings)
    try:
        yield server.wait_ready().url
    finally:
        server.close()
