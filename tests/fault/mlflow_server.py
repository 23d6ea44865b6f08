"""The campaign's registry: an MLflow server with eight versions of one model."""

from __future__ import annotations

import contextlib
import json
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from tests.mlflow_process import mlflow_process
from tests.operator.builders import digest_of

MODEL = "cats-dogs"
VERSIONS = 8


@contextlib.contextmanager
def mlflow_server(folder: Path) -> Iterator[str]:
    """Its URL, until the block ends."""
    with mlflow_process(folder) as url:
        _register(url)
        yield url


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
