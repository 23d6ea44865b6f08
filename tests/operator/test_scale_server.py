"""The scale subresource on a real API server: `kubectl scale`, and an autoscaler of somebody's own
that points at the ModelDeployment.
"""

from __future__ import annotations

import contextlib
import json
from collections.abc import Awaitable, Callable
from typing import Any

import pytest

from model_operator import api, reasons
from model_operator.errors import Conflict
from model_operator.reconcile import Reconciler
from tests.fault.admin import Admin
from tests.operator.conftest import Kubectl
from tests.operator.pod_player import Part, PodPlayer
from tests.operator.reconciling import READY, eventually, manifest, reconcile_until

pytestmark = pytest.mark.api
Body = dict[str, Any]
Check = Callable[[], Awaitable[bool]]
CANARY = {
    "type": "Canary",
    "canary": {"steps": [{"setWeight": 50}, {"pause": {}}]},
    "scaleDownDelaySeconds": 20,
}
AWAITING = (reasons.READY, "False", reasons.AWAITING_PROMOTION)


def scale_of(kubectl: Kubectl, namespace: str) -> Body:
    """The Scale of the resource, as an autoscaler reads it."""
    prefix = f"/apis/{api.API_VERSION}/namespaces/{namespace}/{api.PLURAL}"
    found: Body = json.loads(kubectl("get", "--raw", f"{prefix}/cats-dogs/scale").stdout)
    return found


async def selected(admin: Admin, namespace: str, selector: str) -> int:
    """How many pods a Scale's selector selects."""
    found = await admin.items(f"/api/v1/namespaces/{namespace}/pods", selector)
    return sum("deletionTimestamp" not in pod["metadata"] for pod in found)


def told(kubectl: Kubectl, admin: Admin, namespace: str, replicas: int) -> Check:
    """Whether the Scale tells of so many pods, and its selector selects exactly those."""

    async def is_true() -> bool:
        status = scale_of(kubectl, namespace)["status"]
        there = await selected(admin, namespace, status["selector"])
        return bool(status["replicas"] == there == replicas)

    return is_true


async def follow(reconciler: Reconciler, namespace: str, check: Check, what: str) -> None:
    """Passes until something is so."""

    async def holds() -> bool:
        with contextlib.suppress(Conflict):
            await reconciler.reconcile(namespace, "cats-dogs")
        return await check()

    await eventually(holds, what)


def scale(kubectl: Kubectl, namespace: str, replicas: int) -> None:
    kubectl("scale", "md", "cats-dogs", "-n", namespace, f"--replicas={replicas}")


async def test_kubectl_scale_is_followed_up_down_and_to_nothing(
    reconciler: Reconciler, kubectl: Kubectl, namespace: str, pod_player: PodPlayer, admin: Admin
):
    kubectl("apply", "-f", "-", stdin=manifest(namespace))
    await reconcile_until(reconciler, namespace, READY)
    for replicas in (5, 1, 0, 2):
        scale(kubectl, namespace, replicas)
        check = told(kubectl, admin, namespace, replicas)
        await follow(reconciler, namespace, check, f"{replicas} pods, and the Scale tells of them")


async def test_the_scale_tells_of_stable_in_every_phase_of_a_rollout(
    reconciler: Reconciler, kubectl: Kubectl, namespace: str, pod_player: PodPlayer, admin: Admin
):
    pod_player.part(namespace, Part(held=lambda pod: True))
    spec = {"replicas": 3, "strategy": CANARY}
    kubectl("apply", "-f", "-", stdin=manifest(namespace, **spec))
    await reconcile_until(reconciler, namespace, (reasons.READY, "False", reasons.STARTING))
    starting = scale_of(kubectl, namespace)
    assert starting["spec"]["replicas"] == 3
    assert starting["status"] == {"replicas": 0}, "nothing serves yet, so nothing is selected"
    pod_player.part(namespace, Part())
    await reconcile_until(reconciler, namespace, READY)
    assert await told(kubectl, admin, namespace, 3)()
    first = scale_of(kubectl, namespace)["status"]["selector"]
    model = {"uri": "models:/cats-dogs/2"}
    kubectl("apply", "-f", "-", stdin=manifest(namespace, model=model, **spec))
    await reconcile_until(reconciler, namespace, AWAITING)
    assert await told(kubectl, admin, namespace, 3)()
    assert scale_of(kubectl, namespace)["status"]["selector"] == first
    scale(kubectl, namespace, 4)
    check = told(kubectl, admin, namespace, 4)
    await follow(reconciler, namespace, check, "stable grows in the middle of a canary")
    action = 'cvfactory.dev/action={"id": "1", "verb": "promote"}'
    kubectl("annotate", "md", "cats-dogs", "-n", namespace, action)
    await reconcile_until(reconciler, namespace, READY)
    assert await told(kubectl, admin, namespace, 4)()
    assert scale_of(kubectl, namespace)["status"]["selector"] != first


async def test_with_autoscaling_a_scale_is_taken_and_changes_nothing(
    reconciler: Reconciler, kubectl: Kubectl, namespace: str, pod_player: PodPlayer, admin: Admin
):
    spec = {"autoscaling": {"minReplicas": 2, "maxReplicas": 6}}
    kubectl("apply", "-f", "-", stdin=manifest(namespace, **spec))
    await reconcile_until(reconciler, namespace, READY)
    scale(kubectl, namespace, 5)
    resource = await reconcile_until(reconciler, namespace, READY)
    assert resource["spec"]["replicas"] == 5
    assert resource["status"]["observedGeneration"] == resource["metadata"]["generation"]
    assert await told(kubectl, admin, namespace, 2)()


async def test_an_autoscaler_that_points_at_the_resource_is_followed(
    reconciler: Reconciler, kubectl: Kubectl, namespace: str, pod_player: PodPlayer, admin: Admin
):
    """Kubernetes' own, without metrics: it keeps its limits through the scale subresource."""
    kubectl("apply", "-f", "-", stdin=manifest(namespace))
    await reconcile_until(reconciler, namespace, READY)
    autoscaler = {
        "apiVersion": "autoscaling/v1",
        "kind": "HorizontalPodAutoscaler",
        "metadata": {"name": "outside", "namespace": namespace},
        "spec": {
            "scaleTargetRef": {
                "apiVersion": api.API_VERSION,
                "kind": api.KIND,
                "name": "cats-dogs",
            },
            "minReplicas": 4,
            "maxReplicas": 6,
        },
    }
    kubectl("apply", "-f", "-", stdin=autoscaler)
    check = told(kubectl, admin, namespace, 4)
    await follow(reconciler, namespace, check, "the autoscaler's least number of pods")
