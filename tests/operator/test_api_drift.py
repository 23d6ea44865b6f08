"""What others change in a child, on a real API server: repaired, or left alone."""

from __future__ import annotations

import contextlib
import json
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from model_operator import api, naming, reasons
from model_operator.clients.cluster import Cluster
from model_operator.errors import Conflict
from model_operator.reconcile import Reconciler
from tests.fault.admin import Admin
from tests.operator.conftest import Kubectl
from tests.operator.pod_player import Part, PodPlayer
from tests.operator.reconciling import READY, eventually, manifest, reconcile_until

pytestmark = pytest.mark.api

SELECTOR = naming.owned_by_selector("cats-dogs")
SIDECAR = {"spec": {"template": {"spec": {"containers": [{"name": "spy", "image": "spy:1"}]}}}}
HOST = {"spec": {"template": {"spec": {"hostNetwork": True}}}}


@pytest.fixture
async def serving(
    reconciler: Reconciler, kubectl: Kubectl, namespace: str, pod_player: PodPlayer
) -> str:
    """Version 1 serves; the name of its Deployment."""
    kubectl("apply", "-f", "-", stdin=manifest(namespace))
    await reconcile_until(reconciler, namespace, READY)
    (deployment,), _ = await reconciler.sources.cluster.list("Deployment", namespace, SELECTOR)
    return str(deployment["metadata"]["name"])


async def deployment_of(cluster: Cluster, namespace: str, name: str) -> dict[str, Any]:
    found = await cluster.get("Deployment", namespace, name)
    assert found is not None
    return found


@pytest.mark.parametrize("change", [SIDECAR, HOST], ids=["sidecar", "host network"])
async def test_what_others_add_to_a_pod_spec_is_removed_and_no_pod_is_lost(
    reconciler: Reconciler, kubectl: Kubectl, namespace: str, serving: str, change: dict[str, Any]
):
    before = await deployment_of(reconciler.sources.cluster, namespace, serving)
    kubectl("patch", "deployment", serving, "-n", namespace, "-p", json.dumps(change))

    async def repaired() -> bool:
        with contextlib.suppress(Conflict):
            await reconciler.reconcile(namespace, "cats-dogs")
        after = await deployment_of(reconciler.sources.cluster, namespace, serving)
        return bool(after["spec"]["template"]["spec"] == before["spec"]["template"]["spec"])

    await eventually(repaired, "the pod spec is what it was")

    async def settled() -> bool:
        with contextlib.suppress(Conflict):
            return not (await reconciler.reconcile(namespace, "cats-dogs")).writes
        return False

    await eventually(settled, "nothing is left to be written")


async def test_what_others_note_on_a_child_is_left_alone(
    reconciler: Reconciler, kubectl: Kubectl, namespace: str, serving: str
):
    kubectl("annotate", "deployment", serving, "team=vision", "-n", namespace)
    kubectl("label", "service", "cats-dogs", "team=vision", "-n", namespace)
    assert not (await reconciler.reconcile(namespace, "cats-dogs")).writes


@pytest.mark.parametrize(
    ("target", "change"),
    [
        ("deployment", {"spec": {"template": {"spec": {"containers": [
            {"name": "server", "image": "evil:1"}]}}}}),
        ("deployment", {"spec": {"replicas": 0}}),
        ("deployment", {"metadata": {"labels": {naming.OWNER_LABEL: None}}}),
        ("service", {"spec": {"selector": {naming.REVISION_LABEL: "0123456789"}}}),
        ("service", {"spec": {"selector": {"example.com/tier": "gold"}}}),
    ],
    ids=["image", "replicas", "label", "selector", "one more label to select by"],
)  # fmt: skip
async def test_what_others_change_is_set_right_again(
    reconciler: Reconciler,
    kubectl: Kubectl,
    namespace: str,
    serving: str,
    target: str,
    change: dict[str, Any],
):
    name = serving if target == "deployment" else "cats-dogs"
    before = await reconciler.sources.cluster.get(target.capitalize(), namespace, name)
    assert before is not None
    kubectl("patch", target, name, "-n", namespace, "-p", json.dumps(change))

    async def right_again() -> bool:
        with contextlib.suppress(Conflict):
            await reconciler.reconcile(namespace, "cats-dogs")
        after = await reconciler.sources.cluster.get(target.capitalize(), namespace, name)
        return after is not None and (after["spec"], after["metadata"]["labels"]) == (
            before["spec"],
            before["metadata"]["labels"],
        )

    await eventually(right_again, f"the {target} is what it was")


async def test_a_child_that_has_changed_since_it_was_seen_is_not_written(
    operator_cluster: Cluster, kubectl: Kubectl, namespace: str, serving: str
):
    old = await deployment_of(operator_cluster, namespace, serving)
    seen = ("name", "namespace", "uid", "resourceVersion")
    metadata = {key: old["metadata"][key] for key in seen}
    kubectl("annotate", "deployment", serving, "note=1", "-n", namespace)
    body = {"apiVersion": "apps/v1", "kind": "Deployment", "metadata": metadata}
    with pytest.raises(Conflict):
        await operator_cluster.apply(body)
    with pytest.raises(Conflict):
        await operator_cluster.scale(
            namespace, serving, 5, metadata["uid"], metadata["resourceVersion"]
        )


async def test_a_server_that_never_becomes_ready_is_told_with_its_probes_answer(
    reconciler: Reconciler, kubectl: Kubectl, admin: Admin, namespace: str, pod_player: PodPlayer
):
    pod_player.part(namespace, Part(held=lambda pod: True))
    kubectl("apply", "-f", "-", stdin=manifest(namespace, replicas=1))

    async def started() -> bool:
        await reconciler.reconcile(namespace, "cats-dogs")
        pods, _ = await reconciler.sources.cluster.list("Pod", namespace, SELECTOR)
        return any(pod["status"].get("phase") == "Running" for pod in pods)

    await eventually(started, "the pod runs")
    (pod,), _ = await reconciler.sources.cluster.list("Pod", namespace, SELECTOR)
    words = "Readiness probe failed: HTTP probe failed with statuscode: 503"
    event = {
        "metadata": {"name": "unhealthy", "namespace": namespace},
        "involvedObject": {
            "kind": "Pod",
            "namespace": namespace,
            "name": pod["metadata"]["name"],
            "uid": pod["metadata"]["uid"],
        },
        "reason": "Unhealthy",
        "message": words,
        "lastTimestamp": "2026-01-01T00:00:00Z",
    }
    await admin.call("POST", f"/api/v1/namespaces/{namespace}/events", event)
    late = datetime.now(UTC) + timedelta(seconds=30)
    await replace(reconciler, clock=lambda: late).reconcile(namespace, "cats-dogs")
    resource = await reconciler.sources.cluster.get(api.KIND, namespace, "cats-dogs")
    assert resource is not None
    failure = resource["status"]["lastFailure"]
    assert (failure["reason"], words in failure["message"]) == (reasons.NOT_READY, True)


async def test_recreate_stops_the_old_revision_before_the_new_one_starts(
    reconciler: Reconciler, kubectl: Kubectl, namespace: str, pod_player: PodPlayer
):
    recreate = {"strategy": {"type": "Recreate"}}
    kubectl("apply", "-f", "-", stdin=manifest(namespace, **recreate))
    await reconcile_until(reconciler, namespace, READY)
    second = manifest(namespace, model={"uri": "models:/cats-dogs/2"}, **recreate)
    kubectl("apply", "-f", "-", stdin=second)
    most = 0

    async def ready() -> bool:
        nonlocal most
        pods, _ = await reconciler.sources.cluster.list("Pod", namespace, SELECTOR)
        most = max(most, len({pod["metadata"]["labels"][naming.REVISION_LABEL] for pod in pods}))
        await reconciler.reconcile(namespace, "cats-dogs")
        row = kubectl("get", "md", "-n", namespace, "--no-headers").stdout
        return "Healthy" in row and "models:/cats-dogs/2" in row

    await eventually(ready, "version 2 serves")
    assert most == 1, "two revisions had pods at once"


FRAGMENTS: dict[str, Any] = {
    "volumes": [
        {"name": "cache", "emptyDir": {"sizeLimit": "1024Mi", "medium": ""}},
        {"name": "claim", "persistentVolumeClaim": {"claimName": "c", "readOnly": False}},
        {"name": "settings", "configMap": {"name": "s", "optional": False, "defaultMode": 420}},
    ],
    "volumeMounts": [
        {"name": "cache", "mountPath": "/cache", "readOnly": False},
        {"name": "settings", "mountPath": "/settings", "subPath": ""},
    ],
    "env": [
        {"name": "EMPTY", "value": ""},
        {
            "name": "CPU",
            "valueFrom": {"resourceFieldRef": {"resource": "limits.cpu", "divisor": "1000m"}},
        },
        {"name": "NODE", "valueFrom": {"fieldRef": {"fieldPath": "spec.nodeName"}}},
    ],
    "envFrom": [{"configMapRef": {"name": "s", "optional": True}, "prefix": ""}],
    "resources": {
        "limits": {"cpu": "1000m", "memory": "2048Mi"},
        "requests": {"cpu": "0.50", "memory": "1Gi"},
    },
    "tolerations": [{"key": "gpu", "operator": "Exists", "value": "", "effect": "NoSchedule"}],
    "topologySpreadConstraints": [
        {
            "maxSkew": 1,
            "topologyKey": "zone",
            "whenUnsatisfiable": "ScheduleAnyway",
            "labelSelector": {"matchLabels": {"a": "b"}},
        }
    ],
    "affinity": {
        "nodeAffinity": {
            "preferredDuringSchedulingIgnoredDuringExecution": [
                {
                    "weight": 1,
                    "preference": {
                        "matchExpressions": [{"key": "gpu", "operator": "In", "values": ["no"]}]
                    },
                }
            ]
        }
    },
    "podAnnotations": {"note": "1"},
    "podLabels": {"team": "vision"},
    "nodeSelector": {},
    "imagePullSecrets": [{"name": "pull"}],
}


@pytest.mark.parametrize("fragment", sorted(FRAGMENTS))
async def test_a_settled_resource_is_written_no_more_whatever_its_pods_are_made_of(
    reconciler: Reconciler, kubectl: Kubectl, namespace: str, pod_player: PodPlayer, fragment: str
):
    names = {fragment, "volumes"} if fragment == "volumeMounts" else {fragment}
    server = {name: FRAGMENTS[name] for name in names}
    if fragment == "env":
        server["resources"] = FRAGMENTS["resources"]
    kubectl("apply", "-f", "-", stdin=manifest(namespace, server=server))
    await reconcile_until(reconciler, namespace, READY)
    for _ in range(3):
        plan = await reconciler.reconcile(namespace, "cats-dogs")
        assert not plan.applies, plan.applies
        assert not plan.replacements, plan.replacements
