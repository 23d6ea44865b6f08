"""Rollouts on a whole cluster, under load from a client that never retries."""

from __future__ import annotations

import pytest

from dev.kube import wait_until
from tests.e2e.conftest import Killer
from tests.e2e.model import Model

pytestmark = pytest.mark.e2e

MOST_PODS_ENDED = 3


def test_a_rollout_loses_no_request_even_when_the_operator_is_killed_in_the_middle(
    model: Model, kill_operator: Killer
):
    model.go_live()
    old = model.body()["status"]["stable"]["revision"]
    load = model.load(requests=6000, rate=60)
    model.apply(model.registry.versions[1])
    wait_until(lambda: len(model.pods()) == 4, "the new pods have been created", 30)
    restarts = _operator_restarts(model)
    kill_operator()
    wait_until(lambda: _operator_restarts(model) != restarts, "the operator was killed", 30)
    model.wait_ready()
    wait_until(lambda: not model.pods(revision=old), "the old pods have ended", 120)
    sent = load.progress()["requests"]
    report = load.result(150)
    assert model.stable_version() == model.registry.versions[1]
    assert sent < report["requests"], "the load ended before the old pods did"
    assert report["versions"].keys() == set(model.registry.versions)
    assert report["failed"] == 0, report


def test_ending_serving_pods_loses_no_request(model: Model):
    model.go_live()
    load = model.load(requests=1200, rate=60)
    for _ in range(2):
        _replace_a_pod(model)
    report = load.result(90)
    assert report["failed"] == 0, report


def test_the_same_client_sees_losses_when_the_drain_is_switched_off(model: Model):
    """Without it, an ending pod refuses requests until every node has heard of it: a race that
    the node may win each time. When all pods end at once, nobody can.
    """
    model.go_live(server={"drainSeconds": 0})
    load = model.load(requests=6000, rate=60)
    ended = 0
    while not load.progress().get("failed") and ended < MOST_PODS_ENDED:
        _replace_a_pod(model)
        ended += 1
    if not load.progress().get("failed"):
        names = [_name(pod) for pod in model.pods()]
        model.kube.kubectl("delete", "pod", *names, "-n", model.namespace, "--wait=false")
    wait_until(lambda: bool(load.progress().get("failed")), "the client has seen a loss", 30)
    load.remove()


def test_deleting_the_resource_removes_every_child(model: Model):
    model.go_live()
    model.kube.kubectl("delete", "modeldeployment", model.name, "-n", model.namespace)
    kinds = "deployments,controllerrevisions,services,pods,replicasets"
    selector = "app.kubernetes.io/managed-by=cv-factory"
    wait_until(
        lambda: not model.kube.get(kinds, "-n", model.namespace, "-l", selector)["items"],
        "every child is gone",
        90,
    )


def _replace_a_pod(model: Model) -> None:
    """Deletes one pod and waits until there are two ready ones again."""
    name = next(_name(pod) for pod in model.pods() if _is_ready(pod))
    model.kube.kubectl("delete", "pod", name, "-n", model.namespace, "--wait=false")
    wait_until(
        lambda: sum(_is_ready(pod) for pod in model.pods() if _name(pod) != name) == 2,
        "another pod has taken its place",
        60,
    )


def _operator_restarts(model: Model) -> list[tuple[str, int]]:
    """The operator's pods and how often their containers were started again."""
    selector = "app.kubernetes.io/component=operator"
    return [
        (_name(pod), sum(c["restartCount"] for c in pod["status"].get("containerStatuses", ())))
        for pod in model.kube.get("pods", "-n", "cv-factory", "-l", selector)["items"]
    ]


def _name(pod: dict) -> str:
    return pod["metadata"]["name"]


def _is_ready(pod: dict) -> bool:
    return "deletionTimestamp" not in pod["metadata"] and any(
        c["type"] == "Ready" and c["status"] == "True" for c in pod["status"].get("conditions", ())
    )
