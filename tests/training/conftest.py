"""Fixtures that the training tests share: small data and real MLflow databases."""

from __future__ import annotations

import shutil
import socket
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


@pytest.fixture
def free_port() -> int:
    """A port on which nothing listens."""
    with socket.create_server(("127.0.0.1", 0)) as probe:
        port: int = probe.getsockname()[1]
    return port
