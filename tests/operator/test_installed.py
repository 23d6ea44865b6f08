"""What `helm test` asks, on a real API server and by the role that the chart gives."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from model_operator import installed
from model_operator.clients import leases, login
from model_operator.clients.cluster import Cluster
from model_operator.errors import ApiError, NotInstalled
from model_operator.installed import look
from model_operator.leadership import Claim
from model_operator.settings import Settings
from tests.fault import role
from tests.fault.admin import Admin
from tests.operator.builders import make_model_deployment
from tests.operator.conftest import Kubectl

pytestmark = pytest.mark.api

NAME = "cv-factory-operator"
"""The only Lease that the role lets anybody change."""
PATH = f"/apis/coordination.k8s.io/v1/namespaces/{role.RELEASE_NAMESPACE}/leases/{NAME}"


def rules() -> list[dict[str, Any]]:
    """The role's, as the chart gives them to the pod of `helm test`."""
    (body,) = role.of_kind("ClusterRole")
    found: list[dict[str, Any]] = body["rules"]
    return found


def settings(**others: object) -> Settings:
    return Settings.model_validate(
        {
            "server_image": "example/server:1",
            "lease_namespace": role.RELEASE_NAMESPACE,
            "lease_name": NAME,
            "lease_seconds": 3,
            **others,
        }
    )


@pytest.fixture
async def kubeconfig(operator_cluster: Cluster, admin: Admin, tmp_path: Path) -> AsyncIterator[str]:
    """The operator's own account."""
    yield str(tmp_path / "kubeconfig")
    if await admin.get(PATH):
        await admin.call("DELETE", PATH)


@contextlib.asynccontextmanager
async def leader(kubeconfig: str, *, renews: bool) -> AsyncIterator[None]:
    """Holds the Lease, and renews it or not."""
    configuration = await login.log_in(kubeconfig)
    client = leases.connect(configuration, role.RELEASE_NAMESPACE, NAME)
    taken = await client.write(await client.read(), Claim("pod-1_a", 3, 0, anew=True))

    async def renew() -> None:
        seen = taken
        while True:
            seen = await client.write(seen, Claim("pod-1_a", 3, 0, anew=False))

    task = asyncio.create_task(renew()) if renews else None
    try:
        yield
    finally:
        if task:
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)
        await client.close()


async def test_whoever_renews_the_lease_is_named_and_what_is_served_is_counted(
    kubeconfig: str, kubectl: Kubectl, namespace: str
):
    body = make_model_deployment().build()
    body["metadata"] = {"name": "cats-dogs", "namespace": namespace}
    kubectl("apply", "-f", "-", stdin=body)
    async with leader(kubeconfig, renews=True):
        served = settings(namespaces=[namespace])
        rights = sum(len(rule["resources"]) * len(rule["verbs"]) for rule in rules())
        expected = f"pod-1_a leads; ModelDeployments: 1; rights: {rights}"
        assert await look(served, rules(), kubeconfig) == expected


async def test_a_lease_that_nobody_renews_is_no_installation(
    kubeconfig: str, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(installed, "RENEWALS_MISSED", 1)
    async with leader(kubeconfig, renews=False):
        with pytest.raises(NotInstalled, match="held by pod-1_a and was not renewed for 3 s"):
            await look(settings(), rules(), kubeconfig)


@pytest.mark.parametrize("served", [[], ["default"]])
async def test_each_right_that_was_not_granted_is_named(kubeconfig: str, served: list[str]):
    more = {"apiGroups": ["apps"], "resources": ["daemonsets"], "verbs": ["list"]}
    secrets = {"apiGroups": [""], "resources": ["pods/exec", "secrets"], "verbs": ["get"]}
    where = "namespace default" if served else "all namespaces"
    words = f"get pods/exec in {where}, get secrets in {where}, list daemonsets.apps in {where}"
    async with leader(kubeconfig, renews=True):
        with pytest.raises(NotInstalled, match=f"the service account may not {words}:"):
            await look(settings(namespaces=served), [*rules(), secrets, more], kubeconfig)


async def test_a_role_that_does_not_let_it_read_is_said(kubeconfig: str, kubectl, namespace: str):
    kubectl("create", "serviceaccount", "nobody", "-n", namespace)
    async with leader(kubeconfig, renews=True):
        with pytest.raises(ApiError, match="403"):
            await look(settings(lease_namespace=namespace), rules(), kubeconfig)
