"""The Lease on a real API server, by the role that the chart gives."""

from __future__ import annotations

import contextlib
from collections.abc import AsyncIterator
from datetime import UTC, datetime
from pathlib import Path

import pytest

from model_operator.clients import leases, login
from model_operator.clients.cluster import Cluster
from model_operator.clients.leases import LeaseClient
from model_operator.errors import ApiError, Conflict
from model_operator.leadership import ABSENT, Claim, Lease
from tests.fault import role
from tests.fault.admin import Admin

pytestmark = pytest.mark.api
NAME = "cv-factory-operator"
PATH = f"/apis/coordination.k8s.io/v1/namespaces/{role.RELEASE_NAMESPACE}/leases"
OURS = Claim("a_1", 15, transitions=0, anew=True)
RENEWAL = Claim("a_1", 15, transitions=0, anew=False)


@contextlib.asynccontextmanager
async def lease_of(folder: Path, name: str = NAME) -> AsyncIterator[LeaseClient]:
    """By the kubeconfig that `operator_cluster` has written."""
    configuration = await login.log_in(str(folder / "kubeconfig"))
    client = leases.connect(configuration, role.RELEASE_NAMESPACE, name)
    try:
        yield client
    finally:
        await client.close()


@pytest.fixture
async def lease(
    operator_cluster: Cluster, admin: Admin, tmp_path: Path
) -> AsyncIterator[LeaseClient]:
    async with lease_of(tmp_path) as client:
        yield client
    if await admin.get(f"{PATH}/{NAME}"):
        await admin.call("DELETE", f"{PATH}/{NAME}")


async def test_it_is_made_renewed_given_back_and_taken_again(lease: LeaseClient, admin: Admin):
    assert await lease.read() == ABSENT
    made = await lease.write(ABSENT, OURS)
    assert (made.holder, made.seconds, made.transitions) == ("a_1", 15, 0)
    first = await admin.call("GET", f"{PATH}/{NAME}")
    kept = await lease.write(made, RENEWAL)
    assert kept.version != made.version
    second = await admin.call("GET", f"{PATH}/{NAME}")
    assert second["spec"]["acquireTime"] == first["spec"]["acquireTime"]
    assert second["spec"]["renewTime"] > first["spec"]["renewTime"]
    free = await lease.write(kept, Claim("", 1, transitions=0, anew=False))
    assert (await lease.read(), free.holder) == (free, "")
    taken = await lease.write(free, Claim("b_1", 15, transitions=1, anew=True))
    assert (taken.holder, taken.transitions) == ("b_1", 1)


async def test_of_two_who_have_seen_the_same_only_one_gets_it(lease: LeaseClient):
    made = await lease.write(ABSENT, OURS)
    with pytest.raises(Conflict):
        await lease.write(ABSENT, Claim("b_1", 15, transitions=0, anew=True))
    await lease.write(made, RENEWAL)
    with pytest.raises(Conflict):
        await lease.write(made, Claim("b_1", 15, transitions=1, anew=True))
    assert (await lease.read()).holder == "a_1"


async def test_what_others_have_put_on_it_stays(lease: LeaseClient, admin: Admin):
    await lease.write(ABSENT, OURS)
    note = {"metadata": {"annotations": {"note": "do not delete"}}}
    await admin.patch(f"{PATH}/{NAME}", note)
    await lease.write(await lease.read(), RENEWAL)
    live = await admin.call("GET", f"{PATH}/{NAME}")
    assert live["metadata"]["annotations"] == {"note": "do not delete"}


async def test_one_without_any_content_is_free(lease: LeaseClient, admin: Admin):
    metadata = {"name": NAME, "namespace": role.RELEASE_NAMESPACE}
    body = {"apiVersion": leases.API_VERSION, "kind": leases.KIND, "metadata": metadata}
    made = await admin.call("POST", PATH, body)
    assert await lease.read() == Lease(made["metadata"]["resourceVersion"])


async def test_a_renewal_that_changes_nothing_leaves_its_version_as_it_is(
    operator_cluster: Cluster, admin: Admin, tmp_path: Path, lease: LeaseClient
):
    configuration = await login.log_in(str(tmp_path / "kubeconfig"))
    connection = leases.connect(configuration, role.RELEASE_NAMESPACE, NAME)
    moment = datetime(2026, 1, 2, 3, 4, 5, 6, tzinfo=UTC)
    stopped = LeaseClient(connection._transport, role.RELEASE_NAMESPACE, NAME, lambda: moment)
    made = await stopped.write(ABSENT, OURS)
    assert (await stopped.write(made, RENEWAL)).version == made.version
    await connection.close()


async def test_the_operators_role_reaches_no_other_lease(
    operator_cluster: Cluster, admin: Admin, tmp_path: Path
):
    async with lease_of(tmp_path, "somebody-elses") as client:
        with pytest.raises(ApiError, match="403"):
            await client.read()
