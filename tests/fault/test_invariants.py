"""Each invariant says no to the write that breaks it, and nothing to one that does not."""

from __future__ import annotations

import contextlib
import json
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from typing import Any

import aiohttp
import pytest

from model_operator import api, naming
from model_operator.traffic.router_objects import pod_selector
from tests.fault import role
from tests.fault.admin import APPLY, MERGE, Admin
from tests.fault.house import House
from tests.fault.invariants import Invariants
from tests.fault.pod_answers import PodAnswers
from tests.fault.proxy import Proxy
from tests.fault.requests_go import ROUTE_ANNOTATION

pytestmark = pytest.mark.fault

NAME = "cats-dogs"
OLD, NEW = "aaaaaaaaaa", "bbbbbbbbbb"
Body = dict[str, Any]


@dataclass
class World:
    """A namespace in which revision `OLD` serves with two pods, and somebody who writes into it."""

    admin: Admin
    namespace: str
    invariants: Invariants
    url: str
    resource: Body = field(default_factory=dict)

    def path(self, prefix: str, plural: str, name: str) -> str:
        return f"{prefix}/namespaces/{self.namespace}/{plural}/{name}"

    def resource_path(self, sub: str = "") -> str:
        return self.path(f"/apis/{api.API_VERSION}", api.PLURAL, NAME + sub)

    async def write(self, method: str, path: str, body: Body, kind: str = "application/json"):
        """As the operator, whatever the API server says to it; returns what is violated."""
        async with aiohttp.ClientSession() as session:
            query = {"fieldManager": "test", "force": "true"} if kind == APPLY else {}
            headers = {"Content-Type": kind}
            async with session.request(
                method, f"{self.url}{path}", params=query, data=json.dumps(body), headers=headers
            ) as answer:
                await answer.read()
        return self.invariants.violations

    async def read(self) -> None:
        url = f"{self.url}{self.resource_path()}"
        async with aiohttp.ClientSession() as session, session.get(url) as answer:
            self.resource = await answer.json()

    def owned(self, kind: str, version: str, name: str, spec: Body, *, ours: bool = True) -> Body:
        owner = {
            "apiVersion": api.API_VERSION,
            "kind": api.KIND,
            "name": NAME,
            "uid": self.resource["metadata"]["uid"],
            "controller": True,
        }
        metadata = {"name": name, "ownerReferences": [owner] if ours else []}
        return {"apiVersion": version, "kind": kind, "metadata": metadata, "spec": spec}

    def divided(self, weight: int, canary: str = NEW) -> Body:
        """The endpoint, divided between `OLD` and another revision by their pods."""
        body = self.service(OLD)
        body["spec"]["selector"] = naming.server_selector(NAME)
        route = {"stable": OLD, "canary": canary, "weight": weight}
        body["metadata"]["annotations"] = {ROUTE_ANNOTATION: json.dumps(route)}
        return body

    def routed(self) -> Body:
        """The endpoint, naming the router."""
        body = self.service(OLD)
        body["spec"]["selector"] = pod_selector(NAME)
        return body

    def config_map(self, weight: int, canary: str = NEW) -> Body:
        """What the router follows."""
        body = self.owned("ConfigMap", "v1", f"{NAME}-router", {})
        del body["spec"]
        route = {"stable": OLD, "canary": canary, "weight": weight}
        return {**body, "data": {"route.json": json.dumps(route)}}

    async def write_endpoint(self, body: Body) -> list[str]:
        return await self.write("PATCH", self.path("/api/v1", "services", NAME), body, APPLY)

    async def write_config_map(self, body: Body) -> list[str]:
        path = self.path("/api/v1", "configmaps", f"{NAME}-router")
        return await self.write("PATCH", path, body, APPLY)

    async def scale(self, revision: str, replicas: int) -> list[str]:
        path = self.path("/apis/apps/v1", "deployments", f"{NAME}-{revision}/scale")
        return await self.write("PATCH", path, {"spec": {"replicas": replicas}}, MERGE)

    async def start_router(self, *, ready: int) -> None:
        """A Deployment of two router pods, of which some are ready."""
        labels = {**naming.identity_labels(NAME), **pod_selector(NAME)}
        await self.run_pods(f"{NAME}-router", labels, 2, ready)

    async def route_by_router(self, weight: int = 0) -> None:
        """Clients are sent to the router, past the proxy."""
        await self.start_router(ready=2)
        config_map = self.config_map(weight)
        target = self.path("/api/v1", "configmaps", f"{NAME}-router")
        await self.admin.apply(target, config_map)
        await self.admin.apply(self.path("/api/v1", "services", NAME), self.routed())

    def service(self, revision: str, *, ours: bool = True) -> Body:
        ports = [{"port": 80, "protocol": "TCP"}]
        spec = {"selector": naming.pod_selector(NAME, revision), "ports": ports}
        return self.owned("Service", "v1", NAME, spec, ours=ours)

    async def serve(self, revision: str, pods: int, *, ready: int | None = None) -> None:
        """A Deployment with ready pods, past the proxy."""
        labels = naming.revision_labels(NAME, revision)
        await self.run_pods(f"{NAME}-{revision}", labels, pods, pods if ready is None else ready)

    async def run_pods(self, name: str, labels: dict[str, str], pods: int, ready: int) -> None:
        container = {"name": "server", "image": "example/server:1"}
        template = {"metadata": {"labels": labels}, "spec": {"containers": [container]}}
        spec = {"replicas": pods, "selector": {"matchLabels": labels}, "template": template}
        body = self.owned("Deployment", "apps/v1", name, {**spec, "paused": True})
        await self.admin.apply(self.path("/apis/apps/v1", "deployments", name), body)
        for number in range(pods):
            pod = f"{name}-{number}"
            meta = {"name": pod, "namespace": self.namespace, "labels": labels}
            # Its account has no token yet.
            spec = {**template["spec"], "automountServiceAccountToken": False}
            body = {"apiVersion": "v1", "kind": "Pod", "metadata": meta, "spec": spec}
            await self.admin.call("POST", self.path("/api/v1", "pods", "")[:-1], body)
            condition = {"type": "Ready", "status": str(number < ready)}
            target = self.path("/api/v1", "pods", f"{pod}/status")
            await self.admin.patch(target, {"status": {"conditions": [condition]}})


@pytest.fixture
async def world(opened: House, request: pytest.FixtureRequest) -> AsyncIterator[World]:
    namespace = f"rule-{abs(hash(request.node.nodeid)) % 10**8}"
    async with contextlib.AsyncExitStack() as stack:
        admin = await stack.enter_async_context(Admin(opened.kubeconfig))
        meta = {"name": namespace}
        body = {"apiVersion": "v1", "kind": "Namespace", "metadata": meta}
        await admin.call("POST", "/api/v1/namespaces", body)
        account = {"apiVersion": "v1", "kind": "ServiceAccount", "metadata": {"name": "default"}}
        with contextlib.suppress(Exception):  # the controller was faster
            await admin.call("POST", f"/api/v1/namespaces/{namespace}/serviceaccounts", account)
        invariants = Invariants(admin, PodAnswers(admin, lambda namespace, name: None))
        proxy = Proxy(admin, role.account(), namespace, witness=invariants)
        await stack.enter_async_context(proxy)
        proxy.reborn()
        world = World(admin, namespace, invariants, proxy.url)
        spec = {"model": {"uri": "models:/cats-dogs/1"}, "replicas": 2}
        resource = {"apiVersion": api.API_VERSION, "kind": api.KIND, "metadata": {"name": NAME}}
        await admin.apply(world.resource_path(), {**resource, "spec": spec})
        await world.read()
        await world.serve(OLD, 2)
        await admin.apply(world.path("/api/v1", "services", NAME), world.service(OLD))
        yield world
        await admin.call("DELETE", f"/api/v1/namespaces/{namespace}")


async def status(world: World, **changes: Any) -> list[str]:
    body = {**world.resource, "status": {"observedGeneration": 1, **changes}}
    return await world.write("PUT", world.resource_path("/status"), body)


async def test_weights_that_sum_to_100_are_well_and_others_are_not(world: World):
    halves = [{"revision": OLD, "weight": 50}, {"revision": NEW, "weight": 50}]
    assert not await status(world, traffic=halves)
    await world.read()
    assert "do not sum to 100" in (await status(world, traffic=halves[:1]))[0]


async def test_a_status_that_is_there_already_is_not_written_again(world: World):
    assert not await status(world)
    await world.read()
    assert "the one that is there" in (await status(world))[0]


async def test_the_resource_is_written_in_its_status_only(world: World):
    found = await world.write("PATCH", world.resource_path(), {"spec": {"replicas": 5}}, MERGE)
    assert "beside its status" in found[0]


async def test_a_status_carries_the_spec_and_metadata_that_are_there(world: World):
    world.resource["spec"]["replicas"] = 7
    world.resource["metadata"]["annotations"] = {"mine": "yes"}
    assert [words.split(": ")[1] for words in await status(world)] == [
        "the write carries another spec than the resource has",
        "the write changes metadata.annotations",
    ]


async def test_the_endpoint_moves_only_to_enough_ready_pods(world: World):
    target = world.path("/api/v1", "services", NAME)
    await world.serve(NEW, 1)
    assert (
        "with 1 ready pods of 2"
        in (await world.write("PATCH", target, world.service(NEW), APPLY))[0]
    )


async def test_what_serves_keeps_its_size(world: World):
    target = world.path("/apis/apps/v1", "deployments", f"{NAME}-{OLD}/scale")
    found = await world.write("PATCH", target, {"spec": {"replicas": 1}}, MERGE)
    assert "what serves is scaled to 1 pods" in found[0]


async def test_nothing_that_has_pods_is_deleted(world: World):
    target = world.path("/apis/apps/v1", "deployments", f"{NAME}-{OLD}")
    assert "deleted with 2 pods" in (await world.write("DELETE", target, {}))[0]


async def test_a_budget_is_over_the_pods_of_its_revision_and_stays_while_they_get_requests(
    world: World,
):
    path = await world.admin.path_of_budgets(world.namespace)
    version = path.removeprefix("/apis/").partition("/namespaces")[0]

    async def apply(revision: str, selector: Body) -> list[str]:
        spec = {"maxUnavailable": 1, "selector": {"matchLabels": selector}}
        body = world.owned("PodDisruptionBudget", version, f"{NAME}-{revision}", spec)
        return await world.write("PATCH", f"{path}/{NAME}-{revision}", body, APPLY)

    assert await apply(OLD, naming.pod_selector(NAME, OLD)) == []
    assert await apply(NEW, naming.pod_selector(NAME, NEW)) == []
    assert await world.write("DELETE", f"{path}/{NAME}-{NEW}", {}) == []
    words = "deleted while its pods have 100% of the requests"
    assert words in (await world.write("DELETE", f"{path}/{NAME}-{OLD}", {}))[0]
    assert "a budget over" in (await apply(NEW, naming.server_selector(NAME)))[1]


async def test_the_endpoint_is_never_deleted_and_a_service_beside_it_may_be(world: World):
    beside = world.path("/api/v1", "services", f"{NAME}-{OLD}")
    body = world.service(OLD)
    body["metadata"]["name"] = f"{NAME}-{OLD}"
    await world.admin.apply(beside, body)
    assert await world.write("DELETE", beside, {}) == []
    endpoint = world.path("/api/v1", "services", NAME)
    assert "the endpoint is deleted" in (await world.write("DELETE", endpoint, {}))[0]


async def test_what_belongs_to_others_is_left_alone(world: World):
    target = world.path("/api/v1", "services", NAME)
    body = world.service(OLD, ours=False)
    await world.admin.call("DELETE", target)
    await world.admin.apply(target, body)
    found = await world.write("PATCH", target, world.service(OLD), APPLY)
    assert "belongs to somebody else" in found[0]


async def test_a_weight_is_given_beside_ready_pods_of_both_revisions_only(world: World):
    await world.serve(NEW, 1)
    assert await world.write_endpoint(world.divided(25)) == []
    await world.admin.apply(world.path("/api/v1", "services", NAME), world.service(OLD))
    pod = world.path("/api/v1", "pods", f"{NAME}-{NEW}-0/status")
    await world.admin.patch(pod, {"status": {"conditions": []}})
    found = await world.write_endpoint(world.divided(25))
    assert "raised beside 2 and 0 ready pods" in found[0]


async def test_requests_are_not_taken_from_pods_that_answer_and_given_to_none(world: World):
    await world.serve(NEW, 1)
    await world.write_endpoint(world.divided(25))
    for number in range(2):
        pod = world.path("/api/v1", "pods", f"{NAME}-{OLD}-{number}/status")
        await world.admin.patch(pod, {"status": {"conditions": []}})
    found = await world.write_endpoint(world.service(OLD))
    assert "taken from 1 ready pods, given to none" in found[0]


async def test_a_division_by_pods_has_no_pods_of_a_third_revision(world: World):
    third = "cccccccccc"
    await world.serve(NEW, 1)
    await world.serve(third, 1)
    assert "beside 1 of another revision" in (await world.write_endpoint(world.divided(25)))[0]
    del world.invariants.violations[:]
    found = await world.scale(third, 2)
    assert "started while requests are divided by pods" in found[0]


async def test_what_has_requests_is_not_stopped(world: World):
    await world.serve(NEW, 2)
    await world.write_endpoint(world.divided(50))
    assert await world.scale(NEW, 1) == []
    assert "stopped with 50% of the requests" in (await world.scale(NEW, 0))[0]


async def test_stable_keeps_its_size_while_requests_are_divided(world: World):
    await world.serve(NEW, 2)
    await world.write_endpoint(world.divided(50))
    assert "what serves is scaled to 1 pods" in (await world.scale(OLD, 1))[0]


async def test_a_canary_takes_over_only_with_as_many_pods_as_are_asked_for(world: World):
    await world.serve(NEW, 1)
    await world.write_endpoint(world.divided(50))
    assert "with 1 ready pods of 2" in (await world.write_endpoint(world.service(NEW)))[0]


async def test_the_endpoint_moves_to_the_router_only_when_all_its_pods_are_ready(world: World):
    await world.start_router(ready=1)
    assert await world.write_config_map(world.config_map(0)) == []
    found = await world.write_endpoint(world.routed())
    assert "moves to the router with 1 ready pods of 2" in found[0]


async def test_the_routers_weights_have_the_rules_of_all_weights(world: World):
    await world.route_by_router()
    await world.serve(NEW, 1, ready=0)
    found = await world.write_config_map(world.config_map(10))
    assert "raised beside 2 and 0 ready pods" in found[0]


async def test_a_router_commits_only_to_as_many_pods_as_are_asked_for(world: World):
    await world.route_by_router()
    await world.serve(NEW, 1)
    body = world.config_map(0)
    body["data"]["route.json"] = json.dumps({"stable": NEW, "canary": None, "weight": 0})
    assert "with 1 ready pods of 2" in (await world.write_config_map(body))[0]


async def test_a_revision_is_not_stopped_while_a_router_pod_sends_requests_to_it(world: World):
    await world.serve(NEW, 1)
    await world.route_by_router(50)
    selected = {"subsets": [{"addresses": [routed(world, 0)], "ports": [{"port": 80}]}]}
    endpoints = {"apiVersion": "v1", "kind": "Endpoints", "metadata": {"name": NAME}}
    path = world.path("/api/v1", "endpoints", NAME)
    await world.admin.apply(path, {**endpoints, **selected})
    held = world.path("/api/v1", "pods", f"{NAME}-router-0")
    assert world.invariants.agents is not None
    assert await world.invariants.agents.held(await world.admin.call("GET", held))
    assert await world.write_config_map(world.config_map(0)) == []
    assert "stopped while a router sends requests to it" in (await world.scale(NEW, 0))[0]


def routed(world: World, number: int) -> Body:
    target = {"kind": "Pod", "name": f"{NAME}-router-{number}", "namespace": world.namespace}
    return {"ip": f"10.8.0.{number + 1}", "targetRef": target}


@pytest.mark.parametrize(
    ("prefix", "plural", "words"),
    [
        ("/apis/apps/v1", "deployments", "while the endpoint names the router"),
        ("/api/v1", "configmaps", "while the endpoint names the router"),
    ],
)
async def test_what_clients_are_sent_through_is_not_deleted(
    world: World, prefix: str, plural: str, words: str
):
    await world.route_by_router()
    found = await world.write("DELETE", world.path(prefix, plural, f"{NAME}-router"), {})
    assert words in found[0]


async def test_what_the_router_follows_stays_as_long_as_it_has_pods(world: World):
    await world.route_by_router()
    await world.admin.apply(world.path("/api/v1", "services", NAME), world.service(OLD))
    path = world.path("/api/v1", "configmaps", f"{NAME}-router")
    assert "while there are 2 router pods" in (await world.write("DELETE", path, {}))[0]


async def test_a_pod_is_told_to_look_again_and_nothing_else_is_done_to_it(world: World):
    path = world.path("/api/v1", "pods", f"{NAME}-{OLD}-0")
    look = {"metadata": {"annotations": {"cvfactory.dev/mirror": "abc"}}}
    assert await world.write("PATCH", path, look, MERGE) == []
    look["metadata"]["annotations"]["mine"] = "yes"
    assert "a pod is changed" in (await world.write("PATCH", path, look, MERGE))[0]


async def test_weights_that_the_data_plane_has_confirmed_sum_to_100(world: World):
    confirmed = [
        {"revision": OLD, "weight": 50, "actualWeight": 50},
        {"revision": NEW, "weight": 50, "actualWeight": 40},
    ]
    assert "the actual weights [50, 40]" in (await status(world, traffic=confirmed))[0]
