"""A real operator process follows an alias of a real MLflow server, on a real API server."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import httpx
import pytest

from dev.cluster.controlplane import ControlPlane
from tests.operator.builders import digest_of, make_model_deployment
from tests.operator.conftest import Kubectl
from tests.operator.test_main import sample, started, wait_until

pytestmark = pytest.mark.api

NAME = "followed-by-a-process"


def register(client: httpx.Client) -> None:
    """Two versions; the alias names the first."""
    client.post("registered-models/create", json={"name": NAME}).raise_for_status()
    for number in (1, 2):
        tags = [{"key": "sha256", "value": digest_of(number)}]
        body = {"name": NAME, "source": "s3://models/x", "tags": tags}
        client.post("model-versions/create", json=body).raise_for_status()
    move(client, 1)


def move(client: httpx.Client, version: int) -> None:
    body = {"name": NAME, "alias": "champion", "version": str(version)}
    client.post("registered-models/alias", json=body).raise_for_status()


def test_a_moved_alias_is_noticed_by_the_process_and_needs_no_apply(
    control_plane: ControlPlane,
    kubectl: Kubectl,
    namespace: str,
    mlflow_server: str,
    tmp_path: Path,
):
    model = {"uri": f"models:/{NAME}@champion", "updatePolicy": "FollowAlias"}
    body = make_model_deployment().spec(model=model).build()
    body["metadata"] = {"name": "cats-dogs", "namespace": namespace}
    kubectl("apply", "--server-side", "-f", "-", stdin=body)

    def read() -> dict[str, Any]:
        text = kubectl("get", "md", "cats-dogs", "-n", namespace, "-o", "json").stdout
        found: dict[str, Any] = json.loads(text)
        return found

    def resolved() -> str:
        model = read().get("status", {}).get("model", {})
        uri: str = model.get("resolvedUri", "")
        return uri

    environment = {
        "MLFLOW_TRACKING_URI": mlflow_server,
        "CV_FACTORY_FOLLOW_SECONDS": "1",
        "CV_FACTORY_NAMESPACES": namespace,
    }
    with httpx.Client(base_url=f"{mlflow_server}/api/2.0/mlflow/", timeout=60) as client:
        register(client)
        with started(control_plane, tmp_path / "log", **environment) as (_, port):
            for version in (1, 2, 1):
                move(client, version)
                wait_until(lambda v=version: resolved() == f"models:/{NAME}/{v}", "it is followed")
            assert sample(port, "cv_factory_followed_aliases ") == 1
    assert read()["metadata"]["generation"] == 1
