"""Budgets on a real API server with the real disruption controller: what `kubectl drain` asks for,
pod by pod, and what it is answered.
"""

from __future__ import annotations

from typing import Any

import pytest

from model_operator import budgets, naming
from model_operator.clients.cluster import Cluster
from model_operator.reconcile import Reconciler
from tests.fault.admin import Admin, Refused
from tests.operator.conftest import Kubectl
from tests.operator.pod_player import Part, PodPlayer
from tests.operator.reconciling import READY, eventually, manifest, reconcile_until
from tests.operator.test_informer import listening, until

pytestmark = pytest.mark.api
Body = dict[str, Any]


async def serve(reconciler: Reconciler, kubectl: Kubectl, namespace: str, replicas: int) -> None:
    kubectl("apply", "-f", "-", stdin=manifest(namespace, replicas=replicas))
    await reconcile_until(reconciler, namespace, READY)


async def budgets_of(cluster: Cluster, namespace: str) -> list[Body]:
    assert await cluster.served_version(budgets.KIND)
    found, _ = await cluster.list(budgets.KIND, namespace)
    return found


async def pods_of(admin: Admin, namespace: str) -> list[Body]:
    found = await admin.items(f"/api/v1/namespaces/{namespace}/pods")
    return [pod for pod in found if "deletionTimestamp" not in pod["metadata"]]


async def evicted(admin: Admin, cluster: Cluster, pod: Body) -> bool:
    """Whether a pod may be evicted now; if so, it is."""
    metadata = pod["metadata"]
    body = {
        "apiVersion": f"policy/{await cluster.served_version(budgets.KIND)}",
        "kind": "Eviction",
        "metadata": {"name": metadata["name"], "namespace": metadata["namespace"]},
    }
    path = f"/api/v1/namespaces/{metadata['namespace']}/pods/{metadata['name']}/eviction"
    try:
        await admin.call("POST", path, body)
    except Refused as refusal:
        if refusal.code != 429:
            raise
        return False
    return True


@pytest.mark.parametrize("replicas", [2, 3])
async def test_a_drain_takes_the_next_pod_when_the_one_before_is_ready_elsewhere(
    reconciler: Reconciler,
    kubectl: Kubectl,
    namespace: str,
    pod_player: PodPlayer,
    admin: Admin,
    replicas: int,
):
    await serve(reconciler, kubectl, namespace, replicas)
    cluster = reconciler.sources.cluster
    (budget,) = await budgets_of(cluster, namespace)
    assert budget["spec"]["maxUnavailable"] == 1

    async def may_take_one() -> bool:
        (found,) = await budgets_of(cluster, namespace)
        return bool(found["status"].get("disruptionsAllowed") == 1)

    await eventually(may_take_one, "the disruption controller has counted the pods")
    first, second, *_ = await pods_of(admin, namespace)
    old = {pod["metadata"]["name"] for pod in await pods_of(admin, namespace)}
    pod_player.part(namespace, Part(held=lambda pod: pod["metadata"]["name"] not in old))
    assert await evicted(admin, cluster, first)
    assert not await evicted(admin, cluster, second), "its successor is not ready"
    pod_player.part(namespace, Part())

    async def second_goes() -> bool:
        return await evicted(admin, cluster, second)

    await eventually(second_goes, "the second pod may go, too")


async def test_a_single_pod_never_holds_up_a_drain_not_even_while_it_is_not_ready(
    reconciler: Reconciler, kubectl: Kubectl, namespace: str, pod_player: PodPlayer, admin: Admin
):
    await serve(reconciler, kubectl, namespace, 1)
    assert await budgets_of(reconciler.sources.cluster, namespace) == []
    pod_player.part(namespace, Part(held=lambda pod: True))
    (pod,) = await pods_of(admin, namespace)

    async def is_unready() -> bool:
        (found,) = await pods_of(admin, namespace)
        conditions = {c["type"]: c["status"] for c in found["status"]["conditions"]}
        return conditions["Ready"] == "False"

    await eventually(is_unready, "the pod is not ready any more")
    assert await evicted(admin, reconciler.sources.cluster, pod)


async def test_each_revision_that_serves_has_one_and_they_never_overlap(
    reconciler: Reconciler, kubectl: Kubectl, namespace: str, pod_player: PodPlayer, admin: Admin
):
    await serve(reconciler, kubectl, namespace, 2)
    model = {"uri": "models:/cats-dogs/2"}
    kubectl("apply", "-f", "-", stdin=manifest(namespace, replicas=2, model=model))

    async def switched() -> bool:
        await reconciler.reconcile(namespace, "cats-dogs")
        return len(await budgets_of(reconciler.sources.cluster, namespace)) == 2

    await eventually(switched, "both revisions have a budget")
    found = await budgets_of(reconciler.sources.cluster, namespace)
    selected = [body["spec"]["selector"]["matchLabels"] for body in found]
    for pod in await pods_of(admin, namespace):
        labels = pod["metadata"]["labels"].items()
        assert sum(selector.items() <= labels for selector in selected) == 1


async def test_a_budget_of_somebody_else_is_told_of_and_left_as_it_is(
    reconciler: Reconciler, kubectl: Kubectl, namespace: str, pod_player: PodPlayer
):
    await serve(reconciler, kubectl, namespace, 2)
    (ours,) = await budgets_of(reconciler.sources.cluster, namespace)
    name = ours["metadata"]["name"]
    kubectl("delete", "pdb", name, "-n", namespace)
    theirs = {
        "apiVersion": ours["apiVersion"],
        "kind": budgets.KIND,
        "metadata": {"name": name, "namespace": namespace},
        "spec": {"minAvailable": 1, "selector": {"matchLabels": {"app": "theirs"}}},
    }
    kubectl("apply", "-f", "-", stdin=theirs)
    resource = await reconcile_until(reconciler, namespace, ("Stalled", "True", "NameConflict"))
    assert f"PodDisruptionBudget {name} exists" in resource["status"]["message"]
    (found,) = await budgets_of(reconciler.sources.cluster, namespace)
    assert found["spec"]["selector"] == {"matchLabels": {"app": "theirs"}}


async def test_the_informer_hears_that_a_budget_is_gone_in_the_version_that_is_served(
    reconciler: Reconciler, kubectl: Kubectl, namespace: str, pod_player: PodPlayer
):
    await serve(reconciler, kubectl, namespace, 2)
    (ours,) = await budgets_of(reconciler.sources.cluster, namespace)
    key = (namespace, "cats-dogs")
    async with listening(reconciler.sources.cluster, kind=budgets.KIND) as heard:
        await until(lambda: key in heard, "the budget was listed")
        heard.clear()
        kubectl("delete", "pdb", ours["metadata"]["name"], "-n", namespace)
        await until(lambda: key in heard, "its deletion was told of")
    await reconciler.reconcile(namespace, "cats-dogs")
    (again,) = await budgets_of(reconciler.sources.cluster, namespace)
    selector = naming.pod_selector("cats-dogs", naming.revision_of("cats-dogs", again))
    assert again["spec"]["selector"] == {"matchLabels": selector}
