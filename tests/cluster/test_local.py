"""A local cluster of its own: made, broken, repaired, used from the machine's shell, removed."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from dev.cluster import cgroups, kubernetes, local, network
from dev.cluster.node import Facts, Layout
from dev.tools import kubectl

pytestmark = pytest.mark.e2e
DEADLINE = 90.0  # seconds

WEB = {
    "apiVersion": "v1",
    "kind": "Pod",
    "metadata": {"name": "web", "labels": {"app": "web"}},
    "spec": {
        "terminationGracePeriodSeconds": 1,
        "containers": [
            {
                "name": "web",
                "image": "localhost/pause:1",
                "command": ["sh", "-c", ("echo hello > /tmp/index.html; echo started; "
                            "exec httpd -f -p 8000 -h /tmp")],
                "readinessProbe": {"httpGet": {"port": 8000}, "periodSeconds": 1},
            }
        ],
    },
}  # fmt: skip
SERVICE = {
    "apiVersion": "v1",
    "kind": "Service",
    "metadata": {"name": "web"},
    "spec": {
        "selector": {"app": "web"},
        "ports": [{"port": 80, "targetPort": 8000, "protocol": "TCP"}],
    },
}


@pytest.fixture(scope="module")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[local.LocalCluster]:
    if reason := local.why_not():
        pytest.skip(f"no local cluster here: {reason}")
    if not kubernetes.is_built():
        pytest.skip("Kubernetes is not built: run `make cluster-build`")
    layout = Layout("cluster-test", tmp_path_factory.mktemp("clusters") / "cluster-test")
    made = local.LocalCluster(layout)
    try:
        made.up()
        yield made
    finally:
        made.down()
    assert_nothing_is_left(layout)


def assert_nothing_is_left(layout: Layout) -> None:
    assert not layout.state.exists()
    assert not network.path(layout.namespace).exists()
    assert str(layout.state) not in Path("/proc/self/mountinfo").read_text()
    for root in cgroups.hierarchies(cgroups.MOUNTS.read_text()):
        assert not (root / layout.namespace).exists()
    for process in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            assert str(layout.state).encode() not in process.read_bytes()
        except (FileNotFoundError, ProcessLookupError):
            continue


def run(cluster: local.LocalCluster, *arguments: str, body: object = None) -> str:
    command = [str(kubectl()), "--kubeconfig", str(cluster.kubeconfig), *arguments]
    stdin = json.dumps(body) if body else None
    done = subprocess.run(
        command, input=stdin, capture_output=True, text=True, check=False, timeout=DEADLINE
    )
    said = cluster.layout.log("kubelet").read_text(errors="replace").splitlines()[-30:]
    assert done.returncode == 0, "\n".join([done.stderr, *said])
    return done.stdout


def fetch(url: str) -> str:
    try:
        with urllib.request.urlopen(url, timeout=5) as answer:
            return str(answer.read().decode())
    except OSError as problem:
        return repr(problem)


def wait_until(condition: Callable[[], object], what: str) -> None:
    deadline = time.monotonic() + DEADLINE
    while not condition():
        assert time.monotonic() < deadline, what
        time.sleep(0.1)


@pytest.fixture(scope="module")
def web(cluster: local.LocalCluster) -> str:
    """A web server behind a Service; the Service's address."""
    run(cluster, "apply", "-f", "-", body=WEB)
    run(cluster, "apply", "-f", "-", body=SERVICE)
    run(cluster, "wait", "--for=condition=Ready", "--timeout=60s", "pod/web")
    return run(cluster, "get", "service", "web", "-o", "jsonpath={.spec.clusterIP}")


def test_a_service_answers_on_the_demo_port(cluster: local.LocalCluster, web: str):
    url = cluster.forward(f"{web}:80")

    wait_until(lambda: fetch(url) == "hello\n", f"{url} does not answer")


def test_logs_exec_and_port_forward_work_from_the_machines_shell(
    cluster: local.LocalCluster, web: str
):
    assert run(cluster, "logs", "web") == "started\n"
    assert run(cluster, "exec", "web", "--", "cat", "/tmp/index.html") == "hello\n"
    command = [str(kubectl()), "--kubeconfig", str(cluster.kubeconfig), "port-forward"]
    with subprocess.Popen(
        [*command, "pod/web", ":8000"], stdout=subprocess.PIPE, text=True
    ) as forwarding:
        assert forwarding.stdout is not None
        address = forwarding.stdout.readline().split()[2]  # Forwarding from ADDRESS -> 8000
        assert fetch(f"http://{address}") == "hello\n"
        forwarding.terminate()


def test_a_second_up_keeps_a_healthy_cluster(cluster: local.LocalCluster):
    before = cluster.records.all()

    cluster.up()

    assert cluster.records.all() == before
    assert cluster.problems() == []


def test_a_killed_program_is_noticed_and_started_again(cluster: local.LocalCluster, web: str):
    for name in ("kubelet", "forwarder"):
        os.kill(cluster.records.all()[name].pid, signal.SIGKILL)
    wait_until(lambda: "kubelet is dead" in cluster.problems(), "nobody noticed")
    facts = Facts.read(cluster.layout)

    cluster.up()

    assert cluster.problems() == []
    assert Facts.read(cluster.layout) == facts, "the ports have changed"
    url = cluster.forward(f"{web}:80")
    wait_until(lambda: fetch(url) == "hello\n", "the pod did not outlive its kubelet")


def test_a_deleted_pod_is_gone_soon(cluster: local.LocalCluster):
    run(cluster, "run", "short", "--image=localhost/pause:1")
    run(cluster, "wait", "--for=condition=Ready", "--timeout=60s", "pod/short")
    begun = time.monotonic()

    run(cluster, "delete", "pod", "short", "--timeout=60s")

    assert time.monotonic() - begun < 15


def test_a_pod_can_reach_the_api_server_and_nothing_outside(cluster: local.LocalCluster, web: str):
    inside = "nc -w 3 $KUBERNETES_SERVICE_HOST 443 < /dev/null && echo in"
    outside = "nc -w 3 192.0.2.1 80 < /dev/null || echo no"

    assert run(cluster, "exec", "web", "--", "sh", "-c", f"{inside}; {outside}").split() == [
        "in",
        "no",
    ]


def test_a_dead_containerd_means_a_new_cluster(cluster: local.LocalCluster):
    os.kill(cluster.records.all()["containerd"].pid, signal.SIGKILL)
    wait_until(lambda: "containerd is dead" in cluster.problems(), "nobody noticed")

    cluster.up()

    assert cluster.problems() == []
    assert run(cluster, "get", "pods", "-o", "name") == ""
