"""What is found out before the campaign: what the cluster can do, and that losses are seen."""

from __future__ import annotations

import secrets
from dataclasses import dataclass

from dev.kube import NotInTime, wait_until
from dev.stage import LoadJob, make_namespace
from tests.e2e.model import Model, Registry

CAPACITY_REQUESTS = 4000
AT_ONCE = 16
PROOF_RATE = 60.0
PROOF_SECONDS = 60.0


class ProvesNothing(Exception):
    """The client saw no loss where there must be some."""


@dataclass(frozen=True)
class Proof:
    """What was found out."""

    capacity: float
    """Answers a second, with as many requests under way as keep the node busy."""
    requests: int
    failed: int
    """With the drain switched off."""


def prove(registry: Registry) -> Proof:
    """Measures the capacity, then ends pods without a drain until the client has seen a loss.

    Raises:
        ProvesNothing: it saw none.

    """
    namespace = f"traffic-proof-{secrets.token_hex(3)}"
    make_namespace(registry.stage.kube, namespace)
    model = Model(registry, namespace)
    try:
        model.go_live(server={"drainSeconds": 0})
        picture = min((registry.pictures / "cat").glob("*.jpg"))
        endpoint = model.stage.endpoint(namespace, model.name)
        load = LoadJob(model.kube, namespace)
        load.start(endpoint, picture, requests=CAPACITY_REQUESTS, at_once=AT_ONCE)
        capacity = float(load.result(120)["per_second"])
        load.start(endpoint, picture, requests=100_000, rate=PROOF_RATE)
        _end_all_pods_until_a_loss(model, load)
        report = load.stop(60)
        return Proof(capacity, int(report["requests"]), int(report["failed"]))
    finally:
        model.kube.kubectl("delete", "namespace", namespace, "--wait=false")


def _end_all_pods_until_a_loss(model: Model, load: LoadJob) -> None:
    """All pods of the endpoint end at once: without a drain nobody can answer in between."""
    names = [pod["metadata"]["name"] for pod in model.pods()]
    model.kube.kubectl("delete", "pod", *names, "-n", model.namespace, "--wait=false")
    try:
        wait_until(lambda: bool(load.progress().get("failed")), "a loss", PROOF_SECONDS)
    except NotInTime as error:
        raise ProvesNothing(
            "all pods ended at once without a drain, and the client saw no loss: its zeros would"
            " prove nothing"
        ) from error
