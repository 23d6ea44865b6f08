"""The process, as a user starts it."""

from __future__ import annotations

import asyncio
import contextlib
import functools
import json
import os
import signal
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Callable, Iterator
from importlib import metadata
from pathlib import Path
from typing import Any

import pytest
from structlog.testing import capture_logs

from dev.cluster.controlplane import ControlPlane, free_ports
from model_operator import main as main_module
from model_operator.clients import login
from model_operator.main import EndedByItself, endless
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


def test_without_an_api_server_to_log_in_to_the_process_ends_with_status_2_and_one_sentence(
    tmp_path: Path,
):
    done = operator(
        CV_FACTORY_SERVER_IMAGE="i",
        KUBECONFIG=str(tmp_path / "nothing"),
        CV_FACTORY_HEALTH_PORT="0",
    )
    assert done.returncode == 2
    (line,) = done.stderr.splitlines()
    assert line.startswith("model-operator: KUBECONFIG: ")


def test_when_one_task_fails_the_process_ends_with_status_1_and_says_why(
    tmp_path: Path, monkeypatch
):
    """A worker that is gone must not leave a process behind that looks well."""
    kubeconfig = tmp_path / "kubeconfig"
    names = {"cluster": "c", "user": "u"}
    kubeconfig.write_text(
        json.dumps(
            {
                "current-context": "c",
                "contexts": [{"name": "c", "context": names}],
                "clusters": [{"name": "c", "cluster": {"server": "http://127.0.0.1:1"}}],
                "users": [{"name": "u", "user": {}}],
            }
        )
    )
    settings = {"SERVER_IMAGE": "i", "HEALTH_PORT": "0", "LEASE_SECONDS": "0"}
    for name, value in settings.items():
        monkeypatch.setenv(f"CV_FACTORY_{name}", value)
    # The client reads KUBECONFIG when it is imported.
    log_in = functools.partial(login.log_in, str(kubeconfig))
    monkeypatch.setattr(login, "log_in", log_in)
    monkeypatch.setattr(sys, "argv", ["model-operator"])
    monkeypatch.setattr(main_module.logs, "configure", lambda level: None)
    monkeypatch.setattr(main_module.prometheus_client, "disable_created_metrics", lambda: None)
    monkeypatch.setattr(
        main_module, "tasks_of", lambda parts: {"worker": returning, "other": asyncio.Event().wait}
    )
    with capture_logs() as logs:
        assert main_module.main() == 1
    assert [log["event"] for log in logs] == ["started", "crashed"]


async def cancelled_from_within() -> None:
    raise asyncio.CancelledError


async def returning() -> None:
    return


@pytest.mark.parametrize("run", [returning, cancelled_from_within])
async def test_a_task_that_ends_by_itself_without_an_error_is_one(run):
    with pytest.raises(EndedByItself, match="worker 3 has ended by itself"):
        await endless("worker 3", run)


async def test_a_task_that_is_cancelled_ends_without_an_error():
    task = asyncio.create_task(endless("worker 3", asyncio.Event().wait))
    await asyncio.sleep(0)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task


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

    log = tmp_path / "log"
    with started(control_plane, log, CV_FACTORY_LOG_LEVEL="INFO") as (process, port):
        wait_until(lambda: read().get("status", {}).get("observedGeneration") == 1, "a status")
        patch = '{"spec": {"replicas": 1}}'
        kubectl("patch", "md", "cats-dogs", "-n", namespace, "--type=merge", "-p", patch)
        wait_until(lambda: read()["status"]["observedGeneration"] == 2, "the edit was followed")
        wait_until(lambda: ask(port, "/readyz") == "ok\n", "ready")
        assert ask(port, "/healthz") == "ok\n"
        metrics = ask(port, "/metrics")
        assert 'cv_factory_watched_objects{kind="ModelDeployment"}' in metrics
        assert "_created" not in metrics
        process.send_signal(signal.SIGTERM)
        assert process.wait(DEADLINE_SECONDS) == 0, log.read_text()
    found = read()
    assert not {"annotations", "finalizers", "labels"} & found["metadata"].keys()
    assert found["spec"]["model"].items() >= body["spec"]["model"].items()
    conditions = {c["type"]: c for c in found["status"]["conditions"]}
    assert "set MLFLOW_TRACKING_URI" in conditions["ModelResolved"]["message"]
    lines = [json.loads(line) for line in log.read_text().splitlines()]
    assert all({"timestamp", "level", "event"} <= line.keys() for line in lines)
    # An earlier test's namespace may be about to go, where nothing can be written any more.
    ours = [line for line in lines if line.get("namespace", namespace) == namespace]
    assert [line for line in ours if line["level"] not in ("info", "debug")] == []


def ask(port: int, path: str) -> str:
    """What the process answers; empty while it does not, or when it is not well."""
    try:
        with urllib.request.urlopen(f"http://127.0.0.1:{port}{path}", timeout=5) as response:
            text: str = response.read().decode()
            return text
    except OSError:
        return ""


@contextlib.contextmanager
def started(
    control_plane: ControlPlane, log: Path, **environment: str
) -> Iterator[tuple[subprocess.Popen[bytes], int]]:
    """The process, and the port of its probes."""
    (port,) = free_ports(1)
    environment = {
        **clean_environment(),
        "KUBECONFIG": str(control_plane.kubeconfig),
        "CV_FACTORY_SERVER_IMAGE": "example/server:1",
        "CV_FACTORY_HEALTH_PORT": str(port),
        "CV_FACTORY_LEASE_SECONDS": "0",
        **environment,
    }
    with log.open("wb") as file:
        process = subprocess.Popen([COMMAND], env=environment, stdout=file, stderr=file)
    try:
        yield process, port
    finally:
        process.kill()
        process.wait()


@pytest.mark.api
def test_only_the_namespaces_that_are_named_are_served(
    control_plane: ControlPlane, kubectl: Kubectl, namespace: str, tmp_path: Path
):
    other = f"{namespace}-other"
    kubectl("create", "namespace", other)

    def make(name: str, where: str) -> None:
        body = make_model_deployment().build()
        body["metadata"] = {"name": name, "namespace": where}
        kubectl("apply", "--server-side", "-f", "-", stdin=body)

    def status_of(name: str, where: str) -> str:
        return kubectl("get", "md", name, "-n", where, "-o", "jsonpath={.status.phase}").stdout

    make("before", other)
    log = tmp_path / "log"
    with started(control_plane, log, CV_FACTORY_NAMESPACES=namespace) as (_, port):
        wait_until(lambda: ask(port, "/readyz") == "ok\n", "ready")
        make("after", other)
        make("ours", namespace)
        wait_until(lambda: status_of("ours", namespace) != "", "our own resource's status")
    assert status_of("before", other) + status_of("after", other) == ""
    kubectl("delete", "namespace", other, "--wait=false")


@pytest.mark.api
def test_a_port_that_is_taken_ends_the_process_with_status_2_and_one_sentence(
    control_plane: ControlPlane, tmp_path: Path
):
    log = tmp_path / "log"
    with (
        socket.create_server(("0.0.0.0", 0)) as taken,
        started(control_plane, log, CV_FACTORY_HEALTH_PORT=str(taken.getsockname()[1])) as (
            process,
            _,
        ),
    ):
        assert process.wait(DEADLINE_SECONDS) == 2
    assert log.read_text().startswith("model-operator: CV_FACTORY_HEALTH_PORT: port ")


@pytest.mark.api
def test_a_second_operator_over_what_is_settled_writes_nothing(
    control_plane: ControlPlane, kubectl: Kubectl, namespace: str, tmp_path: Path
):
    """Neither at its start nor afterwards: every sweep finds what was told."""
    body = make_model_deployment().build()
    body["metadata"] = {"name": "cats-dogs", "namespace": namespace}
    kubectl("apply", "--server-side", "-f", "-", stdin=body)

    def version() -> str:
        path = "jsonpath={.status.phase} {.metadata.resourceVersion}"
        return kubectl("get", "md", "cats-dogs", "-n", namespace, "-o", path).stdout

    # Resources of other tests come and go.
    fast = {"CV_FACTORY_SWEEP_SECONDS": "1", "CV_FACTORY_NAMESPACES": namespace}
    with started(control_plane, tmp_path / "first", **fast):
        wait_until(lambda: not version().startswith(" "), "a status")
    settled = version()
    with started(control_plane, tmp_path / "second", **fast) as (_, port):
        lists = 'cv_factory_api_calls_total{code="200",kind="ModelDeployment",verb="list"} '
        wait_until(lambda: sample(port, lists) >= 4, "three sweeps")
        assert sample(port, 'cv_factory_sweep_differences_total{kind="ModelDeployment"} ') == 0
        metrics = ask(port, "/metrics")
    assert version() == settled
    assert not any(f'verb="{verb}"' in metrics for verb in ("create", "update", "apply", "patch"))


def sample(port: int, name: str) -> float:
    found = [line for line in ask(port, "/metrics").splitlines() if line.startswith(name)]
    return float(found[0].removeprefix(name)) if found else -1
