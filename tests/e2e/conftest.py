"""The stage of the end-to-end tests: a whole cluster, MLflow and the operator from their images,
and two small trained models in the registry. A namespace for each test.
"""

from __future__ import annotations

import json
import os
import re
import secrets
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from dev.cluster.choice import choose
from dev.kube import Kube, wait_until
from dev.stage import (
    LoadJob,
    Stage,
    condition,
    install_mlflow,
    install_operator,
    make_namespace,
    model_deployment,
    wait_ready,
)

MODEL = "e2e"


@dataclass(frozen=True)
class Registry:
    """Two artifacts that differ, registered as versions of one model."""

    stage: Stage
    artifacts: tuple[Path, Path]
    pictures: Path
    versions: tuple[str, str]

    def register(self, artifact: Path, *arguments: str) -> dict[str, Any]:
        """Registers an artifact once more; `model-train register`'s answer."""
        with self.stage.mlflow() as url:
            answer: dict[str, Any] = json.loads(
                model_train(
                    *("register", "--artifact", str(artifact), "--name", MODEL, "--json"),
                    *arguments,
                    tracking_uri=url,
                )
            )
        return answer


def model_train(*arguments: str, tracking_uri: str = "") -> str:
    done = subprocess.run(
        [sys.executable, "-m", "model_training", *arguments],
        env={**os.environ, "MLFLOW_TRACKING_URI": tracking_uri},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr or done.stdout
    return done.stdout


@pytest.fixture(scope="session")
def stage() -> Stage:
    kube = Kube(choose().kubeconfig)
    stage = Stage(kube, install_mlflow(kube))
    install_operator(kube, stage.tracking_uri)
    return stage


@pytest.fixture(scope="session")
def registry(stage: Stage, tmp_path_factory: pytest.TempPathFactory) -> Registry:
    folder = tmp_path_factory.mktemp("models")
    pictures = folder / "data"
    model_train("prepare", "--synthetic", "40", "--out", str(pictures))
    artifacts = (folder / "one", folder / "two")
    for seed, artifact in enumerate(artifacts):
        model_train(
            *("train", "--data", str(pictures), "--out", str(artifact), "--name", MODEL),
            *("--epochs", "1", "--seed", str(seed)),
            tracking_uri=f"sqlite:///{folder}/mlflow.db",
        )
    empty = Registry(stage, artifacts, pictures, ("", ""))
    first, second = (str(empty.register(artifact)["version"]) for artifact in artifacts)
    return Registry(stage, artifacts, pictures, (first, second))


class Model:
    """One ModelDeployment of a test, by what its user does and sees."""

    name = "cats-dogs"

    def __init__(self, registry: Registry, namespace: str) -> None:
        self.registry = registry
        self.stage = registry.stage
        self.kube = registry.stage.kube
        self.namespace = namespace

    def apply(self, version: str, **spec: Any) -> None:
        self.kube.apply(
            {
                "apiVersion": "cvfactory.dev/v1alpha1",
                "kind": "ModelDeployment",
                "metadata": {"name": self.name, "namespace": self.namespace},
                "spec": {
                    "model": {"uri": f"models:/{MODEL}/{version}"},
                    "replicas": 2,
                    "strategy": {"type": "Standard", "scaleDownDelaySeconds": 20},
                    **spec,
                },
            }
        )

    def go_live(self, **spec: Any) -> None:
        self.apply(self.registry.versions[0], **spec)
        self.wait_ready()

    def wait_ready(self) -> None:
        wait_ready(self.kube, self.namespace, self.name)

    def body(self) -> dict[str, Any]:
        body = model_deployment(self.kube, self.namespace, self.name)
        assert body is not None
        return body

    def wait_for(self, kind: str, status: str, reason: str, seconds: float = 60) -> str:
        """Waits for a condition of this generation; returns its message."""

        def holds() -> bool:
            found = condition(self.body(), kind)
            return (found.get("status"), found.get("reason")) == (status, reason)

        wait_until(holds, f"{kind} is {status}/{reason}", seconds)
        return str(condition(self.body(), kind)["message"])

    def stable_version(self) -> str:
        return str(self.body()["status"]["stable"]["version"])

    def pods(self, **labels: str) -> list[dict[str, Any]]:
        selector = ",".join(
            [f"cvfactory.dev/model-deployment={self.name}"]
            + [f"cvfactory.dev/{key}={value}" for key, value in labels.items()]
        )
        items: list[dict[str, Any]] = self.kube.get("pods", "-n", self.namespace, "-l", selector)[
            "items"
        ]
        return items

    def load(self, *, requests: int, rate: float) -> LoadJob:
        """Load through the Service, already under way."""
        job = LoadJob(self.kube, self.namespace)
        job.start(
            self.stage.endpoint(self.namespace, self.name),
            min((self.registry.pictures / "cat").glob("*.jpg")),
            requests=requests,
            rate=rate,
        )
        return job

    def serves(self) -> bool:
        """Whether the endpoint answers a few requests, all of them."""
        report = self.load(requests=20, rate=20).result(60)
        return bool(report["requests"] == 20 and report["failed"] == 0)


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
    """SIGKILL to the operator's process, which the kubelet then starts again."""

    def kill() -> None:
        selector = "app.kubernetes.io/component=operator"
        (pod,) = stage.kube.get("pods", "-n", "cv-factory", "-l", selector)["items"]
        container = pod["status"]["containerStatuses"][0]["containerID"].split("//")[1]
        processes = [
            int(folder.name)
            for folder in Path("/proc").iterdir()
            if folder.name.isdigit() and container in _cgroup(folder)
        ]
        if not processes:  # not on this machine: the node's own way to end a pod at once
            stage.kube.kubectl(
                *("delete", "pod", pod["metadata"]["name"], "-n", "cv-factory"),
                *("--grace-period=0", "--force"),
            )
        for process in processes:
            os.kill(process, 9)

    return kill


def _cgroup(folder: Path) -> str:
    try:
        return (folder / "cgroup").read_text()
    except OSError:  # it has ended
        return ""
