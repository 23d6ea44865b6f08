"""Trained models in the cluster's registry, and a ModelDeployment of one of them, as their user
sees them. The end-to-end tests and the traffic campaign stand on these.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from dev.kube import wait_until
from dev.stage import LoadJob, Stage, condition, model_deployment, wait_ready

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


def train_and_register(stage: Stage, folder: Path) -> Registry:
    """Two small models that differ, trained in `folder`, registered as versions of one model."""
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

    def serving_pods(self) -> frozenset[str]:
        """The pods of the stable revision that stay, by uid.

        Beside them are those of the revision before: kept for a while, then ended.
        """
        revision = str(self.body()["status"]["stable"]["revision"])
        return frozenset(
            str(pod["metadata"]["uid"])
            for pod in self.pods(revision=revision)
            if "deletionTimestamp" not in pod["metadata"]
        )

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
