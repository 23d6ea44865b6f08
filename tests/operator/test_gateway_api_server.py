"""Provider GatewayAPI on a real API server with the Gateway API's own HTTPRoute; the Gateway's
controller is a double, and no request goes anywhere.
"""

from __future__ import annotations

import math
import time
from dataclasses import dataclass, replace
from typing import Any

import pytest
import yaml

from model_operator import api, canonical, naming
from model_operator.clients.cluster import Cluster
from model_operator.clients.informer import CHILD_KINDS
from model_operator.observed import Observed
from model_operator.route import Route
from model_operator.traffic import gateway_api
from model_operator.traffic.gateway_api import GatewayApi
from tests.fault import role
from tests.fault.admin import Admin
from tests.operator.builders import make_model_deployment
from tests.operator.conftest import Kubectl
from tests.operator.gateway_double import GatewayDouble, http_route_crd
from tests.operator.test_gateway_api import CANARY, STABLE, world
from tests.operator.test_informer import listening, until

pytestmark = pytest.mark.api
PARENTS = ({"name": "public", "namespace": "gateways"}, {"name": "internal", "sectionName": "http"})
PROVIDER = GatewayApi()

Body = dict[str, Any]


@pytest.fixture(scope="module", autouse=True)
def definition(kubectl: Kubectl) -> None:
    kubectl("apply", "--server-side", "-f", "-", stdin=yaml.safe_dump(http_route_crd()))
    deadline = time.monotonic() + 30
    # `kubectl wait` fails on a definition whose status has no conditions yet.
    while kubectl("get", HTTP_ROUTES, check=False).returncode:
        assert time.monotonic() < deadline, "HTTPRoute is not served"


HTTP_ROUTES = "httproutes.gateway.networking.k8s.io"


@dataclass
class Scene:
    """One ModelDeployment's traffic objects in a namespace, read anew after every write."""

    cluster: Cluster
    observed: Observed

    async def ask(self, route: Route) -> None:
        """What passes over the resource write until nothing is left to write."""
        for _ in range(3):
            for body in PROVIDER.objects(self.observed, route):
                await self.cluster.apply(body)
            await self.look()

    async def look(self) -> None:
        resource = self.observed.resource
        services, _ = await self.cluster.list(
            "Service", resource.namespace, naming.owned_by_selector(resource.name)
        )
        by_name = {body["metadata"]["name"]: body for body in services}
        endpoint = by_name.pop(resource.name, None)
        selector = endpoint["spec"]["selector"] if endpoint else {}
        pods = self.observed.pods.get(selector.get(naming.REVISION_LABEL, ""), ())
        self.observed = replace(
            self.observed,
            service=endpoint,
            endpoint_pods=frozenset(pod["metadata"]["name"] for pod in pods),
            revision_services={
                naming.revision_of(resource.name, body): body for body in by_name.values()
            },
            http_route=await self.cluster.get("HTTPRoute", resource.namespace, resource.name),
        )

    @property
    def route(self) -> Body:
        assert self.observed.http_route is not None
        return dict(self.observed.http_route)


@pytest.fixture(params=["v1", "v1beta1"])
async def scene(
    request: pytest.FixtureRequest, cluster: Cluster, kubectl: Kubectl, namespace: str
) -> Scene:
    """Both versions are served; the older one is named as if it were the only one."""
    body = make_model_deployment().build()
    body["metadata"] = {"name": "cats-dogs", "namespace": namespace}
    kubectl("apply", "-f", "-", stdin=body)
    owner = await cluster.get(api.KIND, namespace, "cats-dogs")
    assert owner is not None
    assert await cluster.served_version("HTTPRoute") == "v1"
    cluster._served["HTTPRoute"] = (request.param, math.inf)
    observed = world(*PARENTS, version=request.param, hostnames=["cats.example.com"])
    uid = owner["metadata"]["uid"]
    resource = replace(observed.resource, namespace=namespace, uid=uid)
    return Scene(cluster, replace(observed, resource=resource))


async def test_a_route_is_written_confirmed_by_every_parent_and_confirmed_anew_at_a_new_weight(
    scene: Scene, admin: Admin
):
    await scene.ask(Route(STABLE, CANARY, 0))
    assert PROVIDER.read(scene.observed).route == Route(STABLE, CANARY, 0)
    gateways = GatewayDouble(admin, scene.route)
    await gateways.accept(only=["public"])
    await scene.look()
    assert "Gateway" in PROVIDER.read(scene.observed).why
    assert "internal (listener http)" in PROVIDER.read(scene.observed).why
    await gateways.accept()
    await scene.look()
    assert PROVIDER.read(scene.observed).actual == {STABLE: 100, CANARY: 0}
    await scene.ask(Route(STABLE, CANARY, 33))
    assert not PROVIDER.read(scene.observed).confirmed
    await gateways.accept()
    await scene.look()
    assert PROVIDER.read(scene.observed).actual == {STABLE: 67, CANARY: 33}


async def test_an_operator_hears_of_a_route_that_somebody_deletes(scene: Scene):
    key = (scene.observed.resource.namespace, scene.observed.resource.name)
    async with listening(scene.cluster, kind="HTTPRoute") as heard:
        await scene.ask(Route(STABLE))
        await until(lambda: heard.count(key) > 0, "the route that was written")
        heard.clear()
        metadata = scene.route["metadata"]
        await scene.cluster.delete("HTTPRoute", key[0], metadata["name"], metadata["uid"])
        await until(lambda: key in heard, "the route that was deleted")
    assert "HTTPRoute" in CHILD_KINDS


async def test_a_canary_that_has_become_stable_is_the_only_backend_and_has_to_be_confirmed(
    scene: Scene, admin: Admin
):
    await scene.ask(Route(STABLE, CANARY, 100))
    await GatewayDouble(admin, scene.route).accept()
    await scene.look()
    generation = scene.route["metadata"]["generation"]
    await scene.ask(Route(CANARY))
    assert scene.route["metadata"]["generation"] == generation + 1
    assert not PROVIDER.read(scene.observed).confirmed
    await GatewayDouble(admin, scene.route).accept()
    await scene.look()
    assert PROVIDER.read(scene.observed).actual == {CANARY: 100}


async def test_what_is_written_comes_back_unchanged_and_nothing_is_written_again(
    scene: Scene, admin: Admin
):
    route = Route(STABLE, CANARY, 10)
    await scene.ask(route)
    await GatewayDouble(admin, scene.route).accept()
    await scene.look()
    live = {
        **{body["metadata"]["name"]: body for body in scene.observed.revision_services.values()},
        "route": scene.route,
    }
    for body in PROVIDER.objects(scene.observed, route)[:-1]:
        name = "route" if body["kind"] == "HTTPRoute" else body["metadata"]["name"]
        assert canonical.is_subset(body, live[name]), name
        assert not canonical.owns_more(body, live[name], naming.MANAGER), name


async def test_a_backend_and_host_names_that_are_not_wanted_any_more_are_removed(scene: Scene):
    await scene.ask(Route(STABLE, CANARY, 10))
    plain = world(*PARENTS, version=scene.observed.gateway_api).resource
    traffic = replace(scene.observed.resource, spec=plain.spec)
    scene.observed = replace(scene.observed, resource=traffic)
    wanted = gateway_api.http_route(scene.observed, Route(STABLE), {"parentRefs": [PARENTS[0]]})
    assert canonical.owns_more(wanted, scene.route, naming.MANAGER)
    await scene.ask(Route(STABLE))
    assert "hostnames" not in scene.route["spec"]
    assert PROVIDER.read(scene.observed).route == Route(STABLE)


async def test_what_a_gateway_has_against_the_route_is_an_obstacle_with_its_reason(
    scene: Scene, admin: Admin
):
    await scene.ask(Route(STABLE))
    assert gateway_api.obstacle(scene.observed) is None
    await GatewayDouble(admin, scene.route).refuse("NoMatchingListenerHostname")
    await scene.look()
    told = gateway_api.obstacle(scene.observed)
    assert told is not None
    assert "NoMatchingListenerHostname" in told.message


@pytest.mark.parametrize("verb", ["get", "list", "watch", "create", "patch", "delete"])
def test_the_operators_role_has_what_the_provider_does(kubectl: Kubectl, namespace: str, verb: str):
    for resource in (HTTP_ROUTES, "services"):
        asked = ("auth", "can-i", verb, resource, "--as", role.account(), "-n", namespace)
        assert kubectl(*asked).stdout.strip() == "yes", (verb, resource)
