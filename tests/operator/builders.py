"""Fluent builders for the operator's tests: `make_model_deployment().version(2).replicas(3)`."""

from __future__ import annotations

import copy
from typing import Any, Self

from model_operator import api

UID = "11111111-1111-1111-1111-111111111111"


def digest_of(version: int | str) -> str:
    """A well-formed SHA-256 that differs by version."""
    return f"{int(version):064x}"


class ModelDeploymentBuilder:
    """Builds the body of a ModelDeployment as the API server would return it."""

    def __init__(self, name: str = "cats-dogs", namespace: str = "vision") -> None:
        self.body: dict[str, Any] = {
            "apiVersion": api.API_VERSION,
            "kind": api.KIND,
            "metadata": {
                "name": name,
                "namespace": namespace,
                "uid": UID,
                "generation": 1,
                "resourceVersion": "1",
            },
            "spec": {"model": {"uri": "models:/cats-dogs/1"}, "replicas": 3},
        }

    def _with(self, **changes: Any) -> Self:
        other = copy.deepcopy(self)
        other.body["spec"] |= changes
        return other

    def version(self, number: int) -> Self:
        return self._with(model={"uri": f"models:/cats-dogs/{number}"})

    def model(self, **fields: Any) -> Self:
        return self._with(model=self.body["spec"]["model"] | fields)

    def replicas(self, count: int) -> Self:
        return self._with(replicas=count)

    def server(self, **fields: Any) -> Self:
        return self._with(server=fields)

    def strategy(self, kind: str, **fields: Any) -> Self:
        return self._with(strategy={"type": kind, **fields})

    def paused(self) -> Self:
        return self._with(paused=True)

    def spec(self, **fields: Any) -> Self:
        return self._with(**fields)

    def build(self) -> dict[str, Any]:
        return copy.deepcopy(self.body)


def make_model_deployment(name: str = "cats-dogs") -> ModelDeploymentBuilder:
    return ModelDeploymentBuilder(name)


def make_pod(
    name: str = "p-0",
    *,
    ready: bool = False,
    terminating: bool = False,
    containers: list[dict[str, Any]] | None = None,
    init_containers: list[dict[str, Any]] | None = None,
    labels: dict[str, str] | None = None,
    unschedulable: str | None = None,
) -> dict[str, Any]:
    conditions = [{"type": "Ready", "status": "True" if ready else "False"}]
    if unschedulable:
        conditions.append({"type": "PodScheduled", "status": "False", "message": unschedulable})
    return {
        "kind": "Pod",
        "metadata": {
            "name": name,
            "labels": labels or {},
            **({"deletionTimestamp": "2026-01-01T00:00:00Z"} if terminating else {}),
        },
        "status": {
            "conditions": conditions,
            "containerStatuses": containers or [],
            "initContainerStatuses": init_containers or [],
        },
    }


def waiting(reason: str, message: str = "", *, name: str = "server") -> dict[str, Any]:
    return {
        "name": name,
        "image": "example/server:1",
        "state": {"waiting": {"reason": reason, "message": message}},
    }


def crashed(code: int, message: str | None, *, name: str = "server") -> dict[str, Any]:
    ended = {"exitCode": code, "reason": "Error", **({"message": message} if message else {})}
    return {
        "name": name,
        "image": "example/server:1",
        "state": {"waiting": {"reason": "CrashLoopBackOff", "message": "back-off"}},
        "lastState": {"terminated": ended},
    }
