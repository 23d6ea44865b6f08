"""The operator against a real API server and controller manager."""

from __future__ import annotations

import json

import pytest

from model_operator import actions, api, reasons
from model_operator.plan import Plan
from model_operator.reconcile import Reconciler
from tests.operator.builders import crashed
from tests.operator.conftest import Kubectl
from tests.operator.pod_player import Part, PodPlayer
from tests.operator.reconciling import READY, eventually, manifest, reconcile_until

pytestmark = pytest.mark.api


async def test_a_rollout_on_a_real_api_server_ends_ready_and_then_writes_nothing(
    reconciler: Reconciler, kubectl: Kubectl, namespace: str, pod_player: PodPlayer
):
    kubectl(
        "apply",
        "-f",
        "-",
        stdin=manifest(namespace, server={"resources": {"limits": {"cpu": "0.5"}}}),
    )
    await reconcile_until(reconciler, namespace, READY)
    quick = {"type": "Standard", "scaleDownDelaySeconds": 20}
    second = manifest(namespace, model={"uri": "models:/cats-dogs/2"}, strategy=quick)
    kubectl("apply", "-f", "-", stdin=second)
    resource = await reconcile_until(reconciler, namespace, READY)
    assert resource["status"]["stable"]["version"] == "2"
    for _ in range(3):
        plan = await reconciler.reconcile(namespace, "cats-dogs")
        assert not plan.writes, plan
    row = kubectl("get", "md", "-n", namespace, "--no-headers").stdout
    assert "models:/cats-dogs/2" in row
    assert "Healthy" in row


async def test_refused_bytes_are_told_in_one_sentence_and_the_old_version_serves(
    reconciler: Reconciler, kubectl: Kubectl, namespace: str, pod_player: PodPlayer
):
    kubectl("apply", "-f", "-", stdin=manifest(namespace))
    before = await reconcile_until(reconciler, namespace, READY)
    sentence = "models:/cats-dogs/2 has sha256 aaa, expected bbb"
    pod_player.state_of = lambda pod: (
        {**crashed(3, sentence, name="fetch"), **_REST_OF_STATUS}
        if any("models:/cats-dogs/2" in c["command"] for c in pod["spec"]["initContainers"])
        else None
    )
    kubectl("apply", "-f", "-", stdin=manifest(namespace, model={"uri": "models:/cats-dogs/2"}))
    after = await reconcile_until(
        reconciler, namespace, (reasons.STALLED, "True", reasons.MODEL_REFUSED)
    )
    assert sentence in after["status"]["message"]
    assert after["status"]["stable"]["revision"] == before["status"]["stable"]["revision"]
    assert sentence in kubectl("get", "md", "-n", namespace).stdout
    assert sentence in kubectl("describe", "md", "-n", namespace, "cats-dogs").stdout


_REST_OF_STATUS = {"ready": False, "restartCount": 1, "imageID": ""}


async def test_deleting_the_resource_removes_every_child(
    reconciler: Reconciler, kubectl: Kubectl, namespace: str, pod_player: PodPlayer
):
    kubectl("apply", "-f", "-", stdin=manifest(namespace))
    await reconcile_until(reconciler, namespace, READY)
    kubectl("delete", "md", "cats-dogs", "-n", namespace)

    async def nothing_is_left() -> bool:
        lists = [
            await reconciler.sources.cluster.list(
                kind, namespace, "app.kubernetes.io/managed-by=cv-factory"
            )
            for kind in ("Deployment", "ControllerRevision", "Service", "Pod")
        ]
        return not any(items for items, _ in lists)

    await eventually(nothing_is_left, "children are gone")
    assert await reconciler.reconcile(namespace, "cats-dogs") == Plan(exists=False)


async def test_what_is_taken_out_of_the_spec_is_taken_off_the_child(
    reconciler: Reconciler, kubectl: Kubectl, namespace: str, pod_player: PodPlayer
):
    traffic = {"service": {"annotations": {"example.com/balancer": "internal"}}}
    kubectl("apply", "-f", "-", stdin=manifest(namespace, traffic=traffic))
    await reconcile_until(reconciler, namespace, READY)
    kubectl("annotate", "service", "cats-dogs", "example.com/mine=kept", "-n", namespace)
    kubectl("apply", "-f", "-", stdin=manifest(namespace))
    await reconciler.reconcile(namespace, "cats-dogs")
    service = await reconciler.sources.cluster.get("Service", namespace, "cats-dogs")
    assert service is not None
    assert service["metadata"]["annotations"] == {"example.com/mine": "kept"}


async def test_somebody_elses_service_is_left_alone(
    reconciler: Reconciler, kubectl: Kubectl, namespace: str, pod_player: PodPlayer
):
    kubectl("create", "service", "clusterip", "cats-dogs", "--tcp=80", "-n", namespace)
    kubectl("apply", "-f", "-", stdin=manifest(namespace))
    await reconcile_until(reconciler, namespace, (reasons.STALLED, "True", reasons.NAME_CONFLICT))
    assert not (await reconciler.sources.cluster.list("Deployment", namespace))[0]


async def test_a_child_that_the_api_server_refuses_is_told_and_the_old_version_serves(
    reconciler: Reconciler, kubectl: Kubectl, namespace: str, pod_player: PodPlayer
):
    kubectl("apply", "-f", "-", stdin=manifest(namespace))
    await reconcile_until(reconciler, namespace, READY)
    bad = {"env": [{"name": "not a name", "value": "x"}]}
    kubectl("apply", "-f", "-", stdin=manifest(namespace, server=bad))
    resource = await reconcile_until(
        reconciler, namespace, (reasons.STALLED, "True", reasons.INVALID_SPEC)
    )
    assert "not a name" in resource["status"]["message"]
    assert ("Available", "True") in [
        (c["type"], c["status"]) for c in resource["status"]["conditions"]
    ]


async def test_a_model_that_does_not_exist_is_told_in_one_sentence(
    reconciler: Reconciler, kubectl: Kubectl, namespace: str
):
    kubectl("apply", "-f", "-", stdin=manifest(namespace, model={"uri": "models:/cats-dogs/9"}))
    await reconcile_until(reconciler, namespace, (reasons.STALLED, "True", reasons.MODEL_NOT_FOUND))
    events = kubectl("get", "events", "-n", namespace, "-o", "name").stdout
    assert events.count("event/cats-dogs.") == 1


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"spec": {"nonsense": 1, "model": {"uri": "models:/m/1"}}}, "nonsense"),
        ({"spec": {"model": {"uri": "models:/m/1"}, "strategy": {"type": "Magic"}}}, "type"),
        ({"spec": {"model": {"uri": "models:/m/1"}, "replicas": -1}}, "replicas"),
        ({"spec": {"model": {"uri": "models:/m/1"}, "replicas": "many"}}, "replicas"),
        ({"spec": {"model": {"uri": "ftp://m"}}}, "uri"),
        ({"spec": {"model": {"uri": "models:/m/1", "sha256": "abc"}}}, "sha256"),
        ({"spec": {}}, "model"),
        ({"metadata": {"name": "x" * 80}}, "name"),
        ({"metadata": {"name": "9lives"}}, "name"),
    ],
)
def test_nonsense_is_refused_by_kubectl_apply(kubectl: Kubectl, namespace: str, change, words):
    body = manifest(namespace)
    body["metadata"] |= change.get("metadata", {})
    body["spec"] = change.get("spec", body["spec"])
    done = kubectl("apply", "-f", "-", stdin=body, check=False)
    assert done.returncode != 0
    assert words in done.stderr
    assert "No resources found" in kubectl("get", "md", "-n", namespace).stderr


def test_the_scale_subresource_sets_replicas(kubectl: Kubectl, namespace: str):
    kubectl("apply", "-f", "-", stdin=manifest(namespace))
    kubectl("scale", "md/cats-dogs", "--replicas=4", "-n", namespace)
    wanted = kubectl("get", "md/cats-dogs", "-n", namespace, "-o", "jsonpath={.spec.replicas}")
    assert wanted.stdout == "4"


def test_kubectl_explain_reads_like_a_manual(kubectl: Kubectl):
    text = kubectl("explain", "modeldeployment.spec.strategy.scaleDownDelaySeconds").stdout
    assert "kept-alive connections" in text


async def test_kubectl_wait_hears_of_ready_and_of_stalled(
    reconciler: Reconciler, kubectl: Kubectl, namespace: str, pod_player: PodPlayer
):
    def waits_for(condition: str) -> bool:
        wait = ("wait", "md/cats-dogs", "-n", namespace, "--timeout=5s")
        return kubectl(*wait, f"--for=condition={condition}", check=False).returncode == 0

    kubectl("apply", "-f", "-", stdin=manifest(namespace))
    await reconcile_until(reconciler, namespace, READY)
    assert waits_for("Ready")
    kubectl("apply", "-f", "-", stdin=manifest(namespace, model={"uri": "models:/cats-dogs/9"}))
    await reconcile_until(reconciler, namespace, (reasons.STALLED, "True", reasons.MODEL_NOT_FOUND))
    assert waits_for("Stalled")


async def test_what_waits_for_somebody_and_what_has_no_ready_pod_is_counted_until_it_is_over(
    reconciler: Reconciler, kubectl: Kubectl, namespace: str, pod_player: PodPlayer
):
    key = (namespace, "cats-dogs")
    kubectl("apply", "-f", "-", stdin=manifest(namespace))
    await reconcile_until(reconciler, namespace, READY)
    assert (reconciler.unavailable, reconciler.stalled) == (set(), set())
    pod_player.part(namespace, Part(held=lambda pod: True))
    dark = (reasons.AVAILABLE, "False", reasons.NO_READY_PODS)
    await reconcile_until(reconciler, namespace, dark)
    assert (reconciler.unavailable, reconciler.stalled) == ({key}, set())
    pod_player.part(namespace, Part())
    await reconcile_until(reconciler, namespace, READY)
    assert reconciler.unavailable == set()
    kubectl("apply", "-f", "-", stdin=manifest(namespace, model={"uri": "models:/cats-dogs/9"}))
    await reconcile_until(reconciler, namespace, (reasons.STALLED, "True", reasons.MODEL_NOT_FOUND))
    assert (reconciler.unavailable, reconciler.stalled) == (set(), {key})
    kubectl("delete", "md", "cats-dogs", "-n", namespace)
    await reconciler.reconcile(*key)
    assert reconciler.stalled == set()


@pytest.mark.parametrize(
    "annotation", ["retry", '{"verb": "retry"}', '{"id": "d1", "verb": "abrot"}']
)
async def test_an_action_that_cannot_be_read_is_told_and_status_goes_on(
    reconciler: Reconciler, kubectl: Kubectl, namespace: str, annotation: str
):
    body = manifest(namespace)
    body["metadata"]["annotations"] = {actions.ANNOTATION: annotation}
    kubectl("apply", "-f", "-", stdin=body)
    await reconciler.reconcile(namespace, "cats-dogs")
    resource = await reconciler.sources.cluster.get(api.KIND, namespace, "cats-dogs")
    assert resource is not None
    assert not resource["status"]["lastAction"]["accepted"]
    assert "cannot be read" in resource["status"]["lastAction"]["message"]


def test_the_column_weight_shows_what_the_revision_that_is_introduced_gets(
    kubectl: Kubectl, namespace: str
):
    kubectl("apply", "-f", "-", stdin=manifest(namespace))
    shares = [("a", 75), ("b", 25)]
    traffic = [{"revision": r, "weight": w, "actualWeight": w} for r, w in shares]
    patch = json.dumps({"status": {"traffic": traffic}})
    name = ("patch", "md", "cats-dogs", "-n", namespace, "--type=merge")
    kubectl(*name, "--subresource=status", "-p", patch)
    header, line = kubectl("get", "md", "-n", namespace).stdout.splitlines()
    assert line[header.index("WEIGHT") :].split()[0] == "25"
