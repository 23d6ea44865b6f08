"""Autoscaling on a real API server, with Kubernetes' own autoscaler: without metrics, which nobody
serves here, it still keeps its limits.
"""

from __future__ import annotations

import contextlib
from typing import Any

import pytest

from model_operator import autoscaling
from model_operator.errors import Conflict
from model_operator.reconcile import Reconciler
from tests.fault.admin import Admin
from tests.operator.conftest import Kubectl
from tests.operator.pod_player import PodPlayer
from tests.operator.reconciling import READY, eventually, manifest, reconcile_until

pytestmark = pytest.mark.api
SPEC = {
    "server": {"resources": {"requests": {"cpu": "100m"}}},
    "strategy": {"type": "Standard", "scaleDownDelaySeconds": 20},
}


async def test_kubernetes_own_autoscaler_sizes_stable_and_goes_along_with_a_promotion(
    reconciler: Reconciler, kubectl: Kubectl, namespace: str, pod_player: PodPlayer, admin: Admin
):
    def apply(version: int, **spec: Any) -> None:
        model = {"uri": f"models:/cats-dogs/{version}"}
        body = manifest(namespace, model=model, **{**SPEC, **spec})
        kubectl("apply", "-f", "-", stdin=body)

    async def sizes() -> dict[str, int]:
        path = f"/apis/apps/v1/namespaces/{namespace}/deployments"
        found = await admin.items(path)
        return {one["metadata"]["name"]: one["spec"]["replicas"] for one in found}

    async def scaled() -> str | None:
        await reconciler.sources.cluster.served_version(autoscaling.KIND)
        live = await reconciler.sources.cluster.get(autoscaling.KIND, namespace, "cats-dogs")
        return str(live["spec"]["scaleTargetRef"]["name"]) if live else None

    async def has_four() -> bool:
        with contextlib.suppress(Conflict):
            await reconciler.reconcile(namespace, "cats-dogs")
        return 4 in (await sizes()).values()

    apply(1, autoscaling={"minReplicas": 2, "maxReplicas": 6})
    await reconcile_until(reconciler, namespace, READY)
    (first,) = await sizes()
    assert await scaled() == first
    for _ in range(3):
        plan = await reconciler.reconcile(namespace, "cats-dogs")
        assert not plan.writes, plan
    apply(1, autoscaling={"minReplicas": 4, "maxReplicas": 6})
    await eventually(has_four, "the autoscaler has raised stable to its least size")
    apply(2, autoscaling={"minReplicas": 2, "maxReplicas": 6})
    await reconcile_until(reconciler, namespace, READY)
    second = next(name for name in await sizes() if name != first)
    assert await sizes() == {first: 0, second: 4}
    assert await scaled() == second
    apply(2)
    await reconcile_until(reconciler, namespace, READY)
    await reconcile_until(reconciler, namespace, READY)
    assert await scaled() is None
    assert (await sizes())[second] == 4
    apply(2, replicas=3)
    await reconcile_until(reconciler, namespace, READY)
    assert (await sizes())[second] == 3
