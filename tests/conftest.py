"""What the tests of all three packages share: one registry, and no deadlines for examples."""

from __future__ import annotations

from collections.abc import Iterator

import hypothesis
import pytest

from tests.mlflow_process import mlflow_process

# A busy machine is slow at any moment; that is no counterexample.
hypothesis.settings.register_profile("here", deadline=None)
hypothesis.settings.load_profile("here")


@pytest.fixture(scope="session")
def mlflow_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The URL of an MLflow server; each test registers models under names of its own."""
    with mlflow_process(tmp_path_factory.mktemp("mlflow")) as url:
        yield url
