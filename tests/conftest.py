"""What the tests of all three packages share: one registry."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.mlflow_process import mlflow_process


@pytest.fixture(scope="session")
def mlflow_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The URL of an MLflow server; each test registers models under names of its own."""
    with mlflow_process(tmp_path_factory.mktemp("mlflow")) as url:
        yield url
