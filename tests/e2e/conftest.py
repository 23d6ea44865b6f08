"""The stage of the end-to-end tests: a whole cluster, MLflow and the operator from their images,
and two small trained models in the registry. A namespace for each test.
"""

from __future__ import annotations

import re
import secrets
from collections.abc import Callable, Iterator

import pytest

from dev.cluster.choice import choose
from dev.kube import Kube, wait_until
from dev.stage import (
    SYSTEM_NAMESPACE,
    Stage,
    install_mlflow,
    install_operator,
    leader,
    make_namespace,
)
from tests.e2e.killing import kill_containers
from tests.e2e.model import Model, Registry, train_and_register


@pytest.fixture(scope="session")
def stage() -> Stage:
    kube = Kube(choose().kubeconfig)
    stage = Stage(kube, install_mlflow(kube))
    install_operator(kube, stage.tracking_uri)
    return stage


@pytest.fixture(scope="session")
def registry(stage: Stage, tmp_path_factory: pytest.TempPathFactory) -> Registry:
    return train_and_register(stage, tmp_path_factory.mktemp("models"))


@pytest.fixture
def model(registry: Registry, request: pytest.FixtureRequest) -> Iterator[Model]:
    slug = re.sub(r"[^a-z0-9]+", "-", request.node.name.removeprefix("test_").lower())
    namespace = f"e2e-{slug}"[:54].strip("-") + f"-{secrets.token_hex(3)}"
    make_namespace(registry.stage.kube, namespace)
    yield Model(registry, namespace)
    registry.stage.kube.kubectl("delete", "namespace", namespace, "--wait=false")


Killer = Callable[[], None]


@pytest.fixture
def kill_operator(stage: Stage) -> Killer:
    """SIGKILL to the process that leads, which the kubelet then starts again."""

    def kill() -> None:
        wait_until(lambda: bool(leader(stage.kube)), "an operator leads", 60)
        name = leader(stage.kube).rpartition("_")[0]
        kill_containers(stage.kube, stage.kube.get("pod", name, "-n", SYSTEM_NAMESPACE))

    return kill
