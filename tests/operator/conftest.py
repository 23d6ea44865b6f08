"""What the operator's tests start from: a small world, or a real API server with the CRD."""

from __future__ import annotations

import functools
import subprocess
from collections.abc import AsyncIterator, Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from dev import tools
from dev.cluster.controlplane import ControlPlane
from model_operator import crd
from model_operator.clients import cluster as cluster_client
from model_operator.clients.cluster import Cluster
from model_operator.reconcile import Reconciler
from tests.definitions import wait_until_served
from tests.fault import role
from tests.fault.admin import Admin
from tests.fault.invariants import Invariants
from tests.fault.proxy import Proxy
from tests.operator.builders import make_model_deployment
from tests.operator.pod_player import PodPlayer
from tests.operator.reconciling import reconciling
from tests.operator.world import World

Kubectl = Callable[..., subprocess.CompletedProcess[str]]


@pytest.fixture(scope="session")
def control_plane() -> Iterator[ControlPlane]:
    with ControlPlane(controller_manager=True) as plane:
        yield plane


@pytest.fixture(scope="session")
def kubectl(control_plane: ControlPlane) -> Kubectl:
    """Runs kubectl against the control plane, with the CRD installed."""

    def run(
        *arguments: str, stdin: Any = None, check: bool = True
    ) -> subprocess.CompletedProcess[str]:
        done = subprocess.run(
            [tools.kubectl(), "--kubeconfig", control_plane.kubeconfig, *arguments],
            input=stdin if stdin is None or isinstance(stdin, str) else yaml.safe_dump(stdin),
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )
        if check and done.returncode:
            raise AssertionError(f"kubectl {' '.join(arguments)}: {done.stderr}")
        return done

    run("apply", "--server-side", "-f", "-", stdin=crd.custom_resource_definition())
    wait_until_served(functools.partial(run, check=False), crd.NAME)
    run("apply", "-f", "-", stdin=role.manifest())
    return run


@pytest.fixture
def namespace(kubectl: Kubectl, request: pytest.FixtureRequest) -> Iterator[str]:
    name = f"test-{abs(hash(request.node.nodeid)) % 10**8}"
    kubectl("create", "namespace", name)
    yield name
    kubectl("delete", "namespace", name, "--wait=false")


@pytest.fixture
async def admin(control_plane: ControlPlane, kubectl: Kubectl) -> AsyncIterator[Admin]:
    """The API server as an administrator: for what stands around the operator."""
    async with Admin(control_plane.kubeconfig) as connected:
        yield connected


@pytest.fixture
async def cluster(control_plane: ControlPlane, kubectl: Kubectl) -> AsyncIterator[Cluster]:
    """The operator's client alone, free to write anything."""
    connected = await cluster_client.connect(str(control_plane.kubeconfig))
    yield connected
    await connected.close()


@pytest.fixture
async def operator_cluster(admin: Admin, tmp_path: Path) -> AsyncIterator[Cluster]:
    """The API server as the operator has it: by the chart's role, and each write is checked."""
    invariants = Invariants(admin)
    async with Proxy(admin, role.account(), witness=invariants) as proxy:
        proxy.write_kubeconfig(tmp_path / "kubeconfig")
        connected = await cluster_client.connect(str(tmp_path / "kubeconfig"))
        yield connected
        await connected.close()
    assert not invariants.violations


@pytest.fixture
async def reconciler(operator_cluster: Cluster) -> AsyncIterator[Reconciler]:
    async with reconciling(operator_cluster) as reconciler:
        yield reconciler


@pytest.fixture
async def pod_player(admin: Admin, namespace: str) -> AsyncIterator[PodPlayer]:
    async with PodPlayer(admin, namespace) as player:
        yield player


@pytest.fixture(scope="session")
def repository() -> Path:
    return Path(__file__).resolve().parents[2]


@pytest.fixture
def live() -> World:
    """Version 1 serves with three pods."""
    world = World(make_model_deployment())
    world.settle()
    return world


@pytest.fixture
def without_proxies(monkeypatch: pytest.MonkeyPatch) -> None:
    """No proxy is on the way anywhere but those that the test names."""
    for scheme in ("http", "https", "no", "all"):
        monkeypatch.delenv(f"{scheme}_proxy", raising=False)
        monkeypatch.delenv(f"{scheme.upper()}_PROXY", raising=False)
