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
from tests.fault import role
from tests.fault.admin import APPLY, MERGE, Admin
from tests.fault.house import House
from tests.fault.invariants import Invariants
from tests.fault.proxy import Proxy

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

    def service(self, revision: str, *, ours: bool = True) -> Body:
        ports = [{"port": 80, "protocol": "TCP"}]
        spec = {"selector": naming.pod_selector(NAME, revision), "ports": ports}
        return self.owned("Service", "v1", NAME, spec, ours=ours)

    async def serve(self, revision: str, pods: int) -> None:
        """A Deployment with ready pods, past the proxy."""
        labels = naming.pod_selector(NAME, revision)
        container = {"name": "server", "image": "example/server:1"}
        template = {"metadata": {"labels": labels}, "spec": {"containers": [container]}}
        spec = {"replicas": pods, "selector": {"matchLabels": labels}, "template": template}
        name = f"{NAME}-{revision}"
        body = self.owned("Deployment", "apps/v1", name, {**spec, "paused": True})
        await self.admin.apply(self.path("/apis/apps/v1", "deployments", name), body)
        for number in range(pods):
            pod = f"{name}-{number}"
            meta = {"name": pod, "namespace": self.namespace, "labels": labels}
            body = {"apiVersion": "v1", "kind": "Pod", "metadata": meta, "spec": template["spec"]}
            await self.admin.call("POST", self.path("/api/v1", "pods", "")[:-1], body)
            ready = {"conditions": [{"type": "Ready", "status": "True"}]}
            target = self.path("/api/v1", "pods", f"{pod}/status")
            await self.admin.patch(target, {"status": ready})


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
        invariants = Invariants(admin)
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
