"""Two processes, one Lease, on a real API server: who leads, and what the other one does not do."""

from __future__ import annotations

import contextlib
import signal
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from dev.cluster.controlplane import ControlPlane
from tests.operator.conftest import Kubectl
from tests.operator.test_main import DEADLINE_SECONDS, ask, sample, started, wait_until

pytestmark = pytest.mark.api
Running = tuple[subprocess.Popen[bytes], int]
LEASE_SECONDS = 15
AT_ONCE_SECONDS = 8.0
"""On a busy machine too, and far from the Lease's duration."""


@pytest.fixture
def replica(control_plane: ControlPlane, kubectl: Kubectl, namespace: str, tmp_path: Path):
    """Starts a process for a pod; the Lease and all that is served are in the test's namespace."""

    @contextlib.contextmanager
    def start(pod: str) -> Iterator[Running]:
        settings = {
            "CV_FACTORY_LEASE_SECONDS": str(LEASE_SECONDS),
            "CV_FACTORY_LEASE_NAMESPACE": namespace,
            "CV_FACTORY_POD_NAME": pod,
            "CV_FACTORY_NAMESPACES": namespace,
        }
        with started(control_plane, tmp_path / f"{pod}.log", **settings) as running:
            yield running

    return start


def holder(kubectl: Kubectl, namespace: str) -> str:
    path = "jsonpath={.spec.holderIdentity}"
    done = kubectl("get", "lease", "cv-factory-operator", "-n", namespace, "-o", path, check=False)
    return done.stdout.rpartition("_")[0]


def test_the_second_one_stands_by_ready_and_idle_until_the_first_ends_and_then_leads_at_once(
    replica, kubectl: Kubectl, namespace: str
):
    with replica("first") as (first, port):
        wait_until(lambda: ask(port, "/readyz") == "ok\n", "the first one leads")
        with replica("second") as (second, other):
            wait_until(lambda: ask(other, "/readyz") == "standby\n", "the second one stands by")
            assert (sample(port, "cv_factory_leader "), sample(other, "cv_factory_leader ")) == (
                1,
                0,
            )
            metrics = ask(other, "/metrics")
            assert 'verb="list"' not in metrics
            assert "cv_factory_watched_objects{" not in metrics
            assert ask(other, "/healthz") == "ok\n"
            first.send_signal(signal.SIGTERM)
            told = time.monotonic()
            wait_until(lambda: ask(other, "/readyz") == "ok\n", "the second one leads")
            assert time.monotonic() - told < AT_ONCE_SECONDS
            assert first.wait(DEADLINE_SECONDS) == 0
            assert sample(other, "cv_factory_leader ") == 1
            assert holder(kubectl, namespace) == "second"
            second.send_signal(signal.SIGTERM)
            assert second.wait(DEADLINE_SECONDS) == 0
    assert holder(kubectl, namespace) == ""


def test_a_killed_process_that_is_started_anew_in_its_pod_takes_its_own_lease_back_at_once(
    replica, kubectl: Kubectl, namespace: str
):
    with replica("pod-a") as (process, port):
        wait_until(lambda: ask(port, "/readyz") == "ok\n", "it leads")
        process.kill()
        process.wait()
    assert holder(kubectl, namespace) == "pod-a"
    begun = time.monotonic()
    with replica("pod-a") as (_, port):
        wait_until(lambda: ask(port, "/readyz") == "ok\n", "it leads again")
    assert time.monotonic() - begun < LEASE_SECONDS - 2
