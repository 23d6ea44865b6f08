"""A canary by provider GatewayAPI, by the whole operator on a real API server. The pods are played,
and what a Gateway's controller would say is written by a double.
"""

from __future__ import annotations

import contextlib
import json
import time
from dataclasses import dataclass
from typing import Any

import pytest
import yaml

from model_operator import naming, reasons
from model_operator.actions import ANNOTATION
from model_operator.clients import cluster as cluster_module
from model_operator.errors import Conflict
from model_operator.reconcile import Reconciler
from tests.fault.admin import Admin
from tests.operator.conftest import Kubectl
from tests.operator.gateway_double import GatewayDouble, http_route_crd
from tests.operator.pod_player import PodPlayer
from tests.operator.reconciling import READY, eventually, manifest, reconcile_until

pytestmark = pytest.mark.api
HTTP_ROUTES = "httproutes.gateway.networking.k8s.io"
GATEWAY = {"provider": "GatewayAPI", "gateway": {"parentRefs": [{"name": "public"}]}}
CANARY = {"type": "Canary", "canary": {"steps": [{"setWeight": 50}, {"pause": {}}]}}

Body = dict[str, Any]


def install(kubectl: Kubectl) -> None:
    kubectl("apply", "--server-side", "-f", "-", stdin=yaml.safe_dump(http_route_crd()))
    deadline = time.monotonic() + 30
    while kubectl("get", HTTP_ROUTES, check=False).returncode:
        assert time.monotonic() < deadline, "HTTPRoute is not served"


@dataclass
class Stage:
    """One ModelDeployment, its operator and its Gateway."""

    reconciler: Reconciler
    admin: Admin
    kubectl: Kubectl
    namespace: str

    def apply(self, version: int, traffic: Body = GATEWAY) -> None:
        model = {"uri": f"models:/cats-dogs/{version}"}
        body = manifest(self.namespace, model=model, strategy=CANARY, traffic=traffic)
        self.kubectl("apply", "-f", "-", stdin=body)

    def ask(self, verb: str) -> None:
        action = json.dumps({"id": verb, "verb": verb})
        annotation = f"{ANNOTATION}={action}"
        self.kubectl("annotate", "md", "cats-dogs", "-n", self.namespace, annotation)

    async def route(self) -> Body | None:
        return await self.reconciler.sources.cluster.get("HTTPRoute", self.namespace, "cats-dogs")

    async def weights(self) -> list[int]:
        route = await self.route()
        rules = route["spec"]["rules"] if route else []
        return [backend["weight"] for rule in rules for backend in rule["backendRefs"]]

    async def until_weights(self, *wanted: int) -> None:
        async def written() -> bool:
            with contextlib.suppress(Conflict):
                await self.reconciler.reconcile(self.namespace, "cats-dogs")
            return await self.weights() == [*wanted]

        await eventually(written, f"the weights {wanted}")

    async def until(self, *condition: str) -> Body:
        kind, status, reason = condition
        return await reconcile_until(self.reconciler, self.namespace, (kind, status, reason))

    async def accept(self) -> None:
        route = await self.route()
        assert route is not None
        await GatewayDouble(self.admin, route).accept()

    async def pods_of(self, revision: str) -> int:
        name = naming.revision_child("cats-dogs", revision)
        deployment = await self.reconciler.sources.cluster.get("Deployment", self.namespace, name)
        assert deployment is not None
        replicas: int = deployment["spec"]["replicas"]
        return replicas

    async def name(self, version: int) -> None:
        """A canary that the Gateways know and send nothing."""
        self.apply(version)
        await self.until_weights(100, 0)
        await self.accept()

    async def introduce(self, version: int) -> Body:
        """A canary with half of the requests, confirmed."""
        await self.name(version)
        await self.until_weights(50, 50)
        await self.accept()
        return await self.until(reasons.READY, "False", reasons.AWAITING_PROMOTION)


@pytest.fixture
def stage(
    reconciler: Reconciler, admin: Admin, pod_player: PodPlayer, kubectl: Kubectl, namespace: str
) -> Stage:
    return Stage(reconciler, admin, kubectl, namespace)


@pytest.fixture
async def live(stage: Stage) -> Stage:
    """Version 1 serves, through the Gateway too."""
    install(stage.kubectl)
    stage.apply(1)
    await stage.until_weights(100)
    await stage.accept()
    await stage.until(*READY)
    return stage


async def test_a_canary_goes_from_weight_to_weight_as_the_gateways_confirm_and_not_before(
    live: Stage,
):
    await live.name(2)
    await live.until_weights(50, 50)
    waiting = await live.until(reasons.PROGRESSING, "True", reasons.INTRODUCING)
    assert waiting["status"]["currentStepIndex"] == 0
    assert [part.get("actualWeight") for part in waiting["status"]["traffic"]] == [None, None]
    await live.accept()
    paused = await live.until(reasons.READY, "False", reasons.AWAITING_PROMOTION)
    assert [part["actualWeight"] for part in paused["status"]["traffic"]] == [50, 50]

    live.ask("promote")
    await live.until(reasons.READY, "False", reasons.SWITCHED)
    assert await live.weights() == [100]
    endpoint = await live.reconciler.sources.cluster.get("Service", live.namespace, "cats-dogs")
    assert endpoint is not None
    new = paused["status"]["canary"]["revision"]
    assert endpoint["spec"]["selector"] == naming.pod_selector("cats-dogs", new)


async def test_the_pods_of_an_aborted_canary_stay_until_the_gateways_send_it_nothing(live: Stage):
    canary = (await live.introduce(2))["status"]["canary"]["revision"]
    live.ask("abort")
    await live.until_weights(100)
    await live.until(reasons.STALLED, "True", reasons.ABORTED)
    assert await live.pods_of(canary) == 1
    await live.accept()

    async def stopped() -> bool:
        await live.reconciler.reconcile(live.namespace, "cats-dogs")
        return await live.pods_of(canary) == 0

    await eventually(stopped, "no pods of the aborted canary")


async def test_a_canary_is_aborted_through_the_gateways_while_the_spec_is_invalid(live: Stage):
    await live.introduce(2)
    parents = (await live.route() or {})["spec"]["parentRefs"]
    live.apply(2, traffic={"provider": "GatewayAPI"})
    await live.until(reasons.STALLED, "True", reasons.INVALID_SPEC)
    assert await live.weights() == [50, 50]
    live.ask("abort")
    await live.until_weights(100)
    assert (await live.route() or {})["spec"]["parentRefs"] == parents


async def test_a_gateway_api_that_is_installed_later_is_found_and_used(stage: Stage, monkeypatch):
    monkeypatch.setattr(cluster_module, "NOT_SERVED_SECONDS", 0)
    stage.kubectl("delete", "crd", HTTP_ROUTES, "--ignore-not-found", "--timeout=30s")
    stage.apply(1)
    told = await stage.until(reasons.STALLED, "True", reasons.GATEWAY_API_MISSING)
    assert "install the Gateway API" in told["status"]["message"]
    await stage.until(reasons.AVAILABLE, "True", reasons.SERVING)
    install(stage.kubectl)
    await stage.until_weights(100)
    await stage.accept()
    await stage.until(*READY)
