"""The workers' loop in virtual time, and the process as a user starts it."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from datetime import timedelta
from importlib import metadata
from pathlib import Path
from typing import Any

import pytest

from dev.cluster.controlplane import ControlPlane
from model_operator.errors import ApiError, ApiUnreachable, Conflict
from model_operator.main import work
from model_operator.plan import Plan
from model_operator.runtime.queue import WorkQueue
from tests.operator.builders import make_model_deployment
from tests.operator.conftest import Kubectl
from tests.operator.virtual_time import now, run

RESYNC_SECONDS = 300
DEADLINE_SECONDS = 30
KEY = ("vision", "cats-dogs")


class ScriptedReconciler:
    """Each pass ends as the script says; notes when it was made."""

    def __init__(self, *outcomes: Plan | Exception) -> None:
        self._outcomes = list(outcomes)
        self.passes: list[float] = []
        self.ended = asyncio.Event()

    async def reconcile(self, namespace: str, name: str) -> Plan:
        assert (namespace, name) == KEY
        self.passes.append(now())
        outcome = self._outcomes.pop(0)
        if not self._outcomes:
            self.ended.set()
        if isinstance(outcome, Exception):
            raise outcome
        return outcome


def times_of_passes(*outcomes: Plan | Exception, and_none_within: float = 0) -> list[float]:
    """When one worker makes its passes over one key that is added at 0."""

    async def scenario() -> list[float]:
        queue: WorkQueue[tuple[str, str]] = WorkQueue(jitter=lambda: 1.0)
        reconciler = ScriptedReconciler(*outcomes)
        worker = asyncio.create_task(work(queue, reconciler, RESYNC_SECONDS))
        queue.add(KEY)
        await reconciler.ended.wait()
        await asyncio.sleep(and_none_within)
        assert not worker.done()
        worker.cancel()
        return reconciler.passes

    return run(scenario())


WELL = Plan()
FAILURES = (ApiError(500, "etcd"), ApiUnreachable("refused"), RuntimeError("a bug"))


@pytest.mark.parametrize("failure", FAILURES, ids=lambda failure: type(failure).__name__)
def test_a_worker_survives_any_failure_and_comes_back_later_each_time(failure):
    assert times_of_passes(failure, failure, failure, WELL) == [0, 1, 3, 7]


def test_a_conflict_is_tried_again_at_once():
    conflict = Conflict(409, "the object has been modified")
    assert times_of_passes(conflict, conflict, WELL) == [0, 0, 0]


def test_a_pass_that_asks_for_back_off_is_made_again_later_each_time():
    unresolved = Plan(back_off=True, requeue_after=timedelta(seconds=0.1))
    assert times_of_passes(unresolved, unresolved, WELL) == [0, 1, 3]


def test_a_pass_that_went_well_makes_the_next_pause_the_first_again():
    failure = ApiError(500, "etcd")
    soon = Plan(requeue_after=timedelta(seconds=10))
    assert times_of_passes(failure, failure, soon, failure, WELL) == [0, 1, 3, 13, 14]


def test_a_resource_is_looked_at_when_its_plan_says_and_at_the_latest_at_the_resync():
    never = Plan(requeue_after=timedelta(hours=5))
    soon = Plan(requeue_after=timedelta(seconds=7))
    assert times_of_passes(soon, WELL, never, WELL) == [0, 7, 307, 607]


def test_a_resource_that_is_gone_is_not_looked_at_again():
    passes = times_of_passes(Plan(exists=False), and_none_within=10 * RESYNC_SECONDS)
    assert passes == [0]


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
    assert found["spec"]["model"] == body["spec"]["model"]
    conditions = {c["type"]: c for c in found["status"]["conditions"]}
    assert "set MLFLOW_TRACKING_URI" in conditions["ModelResolved"]["message"]
    lines = [json.loads(line) for line in (tmp_path / "log").read_text().splitlines()]
    assert {"timestamp", "level", "event"} <= lines[0].keys()
