"""The process, as a user starts it."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from importlib import metadata
from pathlib import Path
from typing import Any

import pytest

from dev.cluster.controlplane import ControlPlane
from tests.operator.builders import make_model_deployment
from tests.operator.conftest import Kubectl

DEADLINE_SECONDS = 30

COMMAND = str(Path(sys.executable).with_name("model-operator"))


def clean_environment() -> dict[str, str]:
    """This process's, with none of the operator's settings and no pod's service account."""
    names = ("CV_FACTORY_", "MLFLOW_", "KUBERNETES_")
    return {key: value for key, value in os.environ.items() if not key.startswith(names)}


def operator(*arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [COMMAND, *arguments],
        env=clean_environment() | environment,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


def test_the_command_says_its_version():
    done = operator("--version")
    assert (done.returncode, done.stdout.strip()) == (0, metadata.version("cv-factory"))


@pytest.mark.parametrize(
    ("environment", "name"),
    [
        ({}, "CV_FACTORY_SERVER_IMAGE"),
        ({"CV_FACTORY_SERVER_IMAGE": "i", "CV_FACTORY_WORKERS": "many"}, "CV_FACTORY_WORKERS"),
    ],
)
def test_with_wrong_settings_the_process_ends_with_status_2_and_one_sentence(environment, name):
    done = operator(**environment)
    assert done.returncode == 2
    assert done.stdout == ""
    (line,) = done.stderr.splitlines()
    assert line.startswith(f"model-operator: {name}: ")


def wait_until(condition: Callable[[], bool], what: str) -> None:
    deadline = time.monotonic() + DEADLINE_SECONDS
    while not condition():
        assert time.monotonic() < deadline, f"not within {DEADLINE_SECONDS} s: {what}"
        time.sleep(0.1)


@pytest.mark.api
def test_the_process_follows_each_edit_writes_nothing_but_status_and_ends_when_told(
    control_plane: ControlPlane, kubectl: Kubectl, namespace: str, tmp_path: Path
):
    body = make_model_deployment().build()
    body["metadata"] = {"name": "cats-dogs", "namespace": namespace}
    kubectl("apply", "--server-side", "-f", "-", stdin=body)

    def read() -> dict[str, Any]:
        text = kubectl("get", "md", "cats-dogs", "-n", namespace, "-o", "json").stdout
        found: dict[str, Any] = json.loads(text)
        return found

    environment = clean_environment() | {
        "KUBECONFIG": str(control_plane.kubeconfig),
        "CV_FACTORY_SERVER_IMAGE": "example/server:1",
        "CV_FACTORY_HEALTH_PORT": "0",
    }
    with (tmp_path / "log").open("wb") as log:
        process = subprocess.Popen([COMMAND], env=environment, stdout=log, stderr=log)
    try:
        wait_until(lambda: read().get("status", {}).get("observedGeneration") == 1, "a status")
        patch = '{"spec": {"replicas": 1}}'
        kubectl("patch", "md", "cats-dogs", "-n", namespace, "--type=merge", "-p", patch)
        wait_until(lambda: read()["status"]["observedGeneration"] == 2, "the edit was followed")
        process.send_signal(signal.SIGTERM)
        assert process.wait(DEADLINE_SECONDS) == 0, (tmp_path / "log").read_text()
    finally:
        process.kill()
        process.wait()
    found = read()
    assert not {"annotations", "finalizers", "labels"} & found["metadata"].keys()
    assert found["spec"]["model"].items() >= body["spec"]["model"].items()
    conditions = {c["type"]: c for c in found["status"]["conditions"]}
    assert "set MLFLOW_TRACKING_URI" in conditions["ModelResolved"]["message"]
    lines = [json.loads(line) for line in (tmp_path / "log").read_text().splitlines()]
    assert {"timestamp", "level", "event"} <= lines[0].keys()
