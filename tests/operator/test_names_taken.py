"""Objects of other people under the names of children: told of, and left as they are.

What a pass reads comes from an API server that answers with what is in a `World`, so that the very
listings and look-ups of the operator decide what is found.
"""

from __future__ import annotations

import contextlib
import copy
import functools
import json
from collections.abc import Callable
from typing import Any

import pytest
from aiohttp import web

from model_operator import api, naming, reasons
from model_operator.clients.children import ChildReader
from model_operator.clients.cluster import path
from model_operator.clients.measuring import Measurer
from model_operator.clients.pods import DirectPodReader
from model_operator.clients.prometheus import Prometheus
from model_operator.clients.questions import Questions
from model_operator.decide import decide
from model_operator.errors import ResolutionDelayed
from model_operator.observe import Sources, observe
from model_operator.observed import Observed
from model_operator.revisions import ResolvedModel
from tests.operator.builders import ModelDeploymentBuilder, digest_of, make_model_deployment
from tests.operator.loopback import Handler, cluster_of
from tests.operator.reconciling import follows_nothing
from tests.operator.stories import until
from tests.operator.world import DEFAULTS, World

Body = dict[str, Any]
Key = tuple[str, str]

KINDS = (
    *("Deployment", "ControllerRevision", "Pod", "Service", "ConfigMap"),
    *("PodDisruptionBudget", "HTTPRoute", "Job"),
)
ROUTER = {"provider": "Router"}
GATEWAY = {"provider": "GatewayAPI", "gateway": {"parentRefs": [{"name": "public"}]}}


class Registry:
    """Knows every version, unless it is down."""

    def __init__(self, *, down: bool) -> None:
        self._down = down

    async def resolve(self, source: api.ModelSource) -> ResolvedModel:
        if self._down:
            raise ResolutionDelayed(reasons.REGISTRY_UNREACHABLE, "no answer")
        version = source.uri.rsplit("/", 1)[1]
        return ResolvedModel(source.uri, version, source.sha256 or digest_of(version))


def api_server(world: World, *foreign: Body) -> Handler:
    """Answers look-ups and listings with what is in the world; `foreign` stands where it may have
    something of its own.
    """
    pods = [*world.pods.values(), *world.router.pods.values()]
    bodies = [
        *world.deployments.values(),
        *world.histories.values(),
        *([world.service] if world.service else []),
        *world.others.values(),
        *pods,
        *foreign,
    ]
    held = {path(b["kind"], "vision", b["metadata"]["name"]): b for b in bodies}
    held[path(api.KIND, "vision", "cats-dogs")] = world.resource
    listed = {path(kind, "vision"): kind for kind in KINDS}

    async def answer(request: web.BaseRequest) -> web.Response:
        wanted = [part.split("=") for part in request.query.get("labelSelector", "").split(",")]
        if kind := listed.get(request.path):
            body: Body | None = {
                "apiVersion": "v1",
                "items": [
                    held_body
                    for held_body in held.values()
                    if held_body["kind"] == kind
                    and all(_labels(held_body).get(key) == value for key, value in wanted)
                ],
                "metadata": {"resourceVersion": "1"},
            }
        elif request.path in ("/apis/policy/v1", "/apis/gateway.networking.k8s.io/v1"):
            body = {"resources": [{"kind": "PodDisruptionBudget"}, {"kind": "HTTPRoute"}]}
        else:
            body = held.get(request.path)
        told = body or {"code": 404, "message": "not found"}
        return web.Response(body=json.dumps(told), status=200 if body else 404)

    return answer


def _labels(body: Body) -> Body:
    labels: Body = body["metadata"].get("labels") or {}
    return labels


async def seen(world: World, *foreign: Body, registry_is_down: bool = False) -> Observed:
    """What the operator reads."""
    async with (
        cluster_of(api_server(world, *foreign)) as cluster,
        contextlib.AsyncExitStack() as stack,
    ):
        reader = DirectPodReader()
        stack.push_async_callback(reader.close)
        sources = Sources(
            cluster=cluster,
            children=ChildReader(cluster),
            registry=Registry(down=registry_is_down),
            following=follows_nothing(),
            questions=Questions(lambda key: None),
            measurer=Measurer(reader, Prometheus(None)),
            pods=reader,
            defaults=DEFAULTS,
        )
        found = await observe(sources, "vision", "cats-dogs", world.now)
    assert found is not None
    return found


def handmade(kind: str, name: str) -> Body:
    """Somebody's own object: no labels, no owner."""
    versions = {"Deployment": "apps/v1", "ControllerRevision": "apps/v1"}
    return {
        "apiVersion": versions.get(kind, "v1"),
        "kind": kind,
        "metadata": {"name": name, "namespace": "vision", "uid": "x", "resourceVersion": "1"},
        "spec": {"selector": {"app": "another"}, "replicas": 1, "clusterIP": "10.0.0.9"},
    }


def settled(resource: ModelDeploymentBuilder) -> World:
    world = World(resource)
    world.settle()
    return world


@functools.cache
def routed() -> World:
    """By provider Router: version 2 serves and version 1 can be gone back to."""
    return _second(make_model_deployment().spec(traffic=ROUTER))


def _second(resource: ModelDeploymentBuilder) -> World:
    world = settled(resource)
    world.edit(resource.version(2))
    world.settle()
    return world


@functools.cache
def previewed() -> World:
    return settled(make_model_deployment().strategy("BlueGreen"))


@functools.cache
def mirrored() -> World:
    """Version 2 gets copies of the requests."""
    resource = make_model_deployment().strategy("Shadow")
    world = settled(resource)
    world.edit(resource.version(2))
    return until(world, lambda: ("ConfigMap", "cats-dogs-mirror") in world.others)


def revision_service(version: str) -> Callable[[World], Key]:
    return lambda world: (
        "Service",
        naming.revision_child("cats-dogs", world.version_revision(version)),
    )


def called(kind: str, suffix: str) -> Callable[[World], Key]:
    return lambda world: (kind, f"cats-dogs-{suffix}")


def revision_budget(version: str) -> Callable[[World], Key]:
    return lambda world: (
        "PodDisruptionBudget",
        naming.revision_child("cats-dogs", world.version_revision(version)),
    )


TAKEN = [
    pytest.param(routed, revision_budget("2"), id="the serving revision's budget"),
    pytest.param(previewed, revision_budget("1"), id="the budget without a router"),
    pytest.param(routed, called("ConfigMap", "router"), id="the router's ConfigMap"),
    pytest.param(routed, called("Deployment", "router"), id="the router's Deployment"),
    pytest.param(routed, called("PodDisruptionBudget", "router"), id="the router's budget"),
    pytest.param(routed, revision_service("2"), id="the serving revision's Service"),
    pytest.param(routed, revision_service("1"), id="the Service of a rollback's target"),
    pytest.param(previewed, called("Service", "preview"), id="the preview"),
    pytest.param(mirrored, called("Service", "shadow"), id="the shadow"),
    pytest.param(mirrored, called("ConfigMap", "mirror"), id="the mirror"),
]


def left_alone(observed: Observed, world: World, key: Key) -> Body:
    """The status after a pass that writes nothing under the name."""
    plan = decide(observed, world.now)
    kind, name = key
    assert key in {(namesake.kind, namesake.name) for namesake in observed.namesakes}
    assert key not in {(body["kind"], body["metadata"]["name"]) for body in plan.applies}
    assert key not in {(written.kind, written.name) for written in plan.replacements}
    assert key not in {(delete.kind, delete.name) for delete in plan.deletes}
    assert kind != "Deployment" or name not in {scale.deployment for scale in plan.scales}
    assert plan.status is not None
    return dict(plan.status)


def stalled(status: Body) -> tuple[str, str]:
    (found,) = (c for c in status["conditions"] if c["type"] == reasons.STALLED)
    return found["reason"], found["message"]


@pytest.mark.parametrize(("story", "name"), TAKEN)
async def test_somebody_elses_object_is_told_of_and_left_as_it_is(
    story: Callable[[], World], name: Callable[[World], Key]
):
    world = copy.deepcopy(story())
    key = name(world)
    world.others.pop(key, None)
    status = left_alone(await seen(world, handmade(*key)), world, key)
    reason, words = stalled(status)
    assert reason == reasons.NAME_CONFLICT
    assert words.startswith(f"{key[0]} {key[1]} exists and belongs to somebody else")


@pytest.mark.parametrize(("story", "name"), TAKEN)
async def test_it_is_found_while_the_registry_is_down(
    story: Callable[[], World], name: Callable[[World], Key]
):
    world = copy.deepcopy(story())
    key = name(world)
    world.others.pop(key, None)
    world.resource["spec"]["model"] = {"uri": "models:/cats-dogs/9"}
    observed = await seen(world, handmade(*key), registry_is_down=True)
    assert stalled(left_alone(observed, world, key))[0] == reasons.NAME_CONFLICT


@pytest.mark.parametrize(("story", "name"), TAKEN)
async def test_it_is_found_while_the_spec_is_invalid(
    story: Callable[[], World], name: Callable[[World], Key]
):
    world = copy.deepcopy(story())
    key = name(world)
    world.others.pop(key, None)
    world.resource["spec"] |= {"replicas": -1}
    if story is routed:
        world.resource["spec"]["traffic"] = {"provider": "Router", "router": {"replicas": -1}}
    observed = await seen(world, handmade(*key))
    assert stalled(left_alone(observed, world, key))[0] == reasons.INVALID_SPEC


@pytest.mark.parametrize("down", [False, True])
async def test_a_route_of_somebody_else_is_told_of_and_left_as_it_is(down: bool):
    world = settled(make_model_deployment())
    world.edit(make_model_deployment().spec(traffic=GATEWAY).version(9 if down else 1))
    key = ("HTTPRoute", "cats-dogs")
    observed = await seen(world, handmade(*key), registry_is_down=down)
    assert stalled(left_alone(observed, world, key))[0] == reasons.NAME_CONFLICT


@pytest.mark.parametrize("down", [False, True])
@pytest.mark.parametrize("traffic", [ROUTER, GATEWAY])
async def test_the_service_of_a_running_revision_is_asked_for_before_a_provider_is_changed_to(
    traffic: Body, down: bool
):
    world = settled(make_model_deployment())
    key = revision_service("1")(world)
    world.edit(make_model_deployment().spec(traffic=traffic).version(9 if down else 1))
    observed = await seen(world, handmade(*key), registry_is_down=down)
    assert stalled(left_alone(observed, world, key))[0] == reasons.NAME_CONFLICT


@pytest.mark.parametrize(
    ("story", "name"),
    [
        (previewed, called("Service", "shadow")),
        (previewed, called("ConfigMap", "mirror")),
        (mirrored, called("Service", "preview")),
        (previewed, revision_service("1")),
        (previewed, called("Deployment", "router")),
        (routed, revision_budget("1")),
    ],
)
async def test_a_name_that_nothing_is_written_under_may_be_anybodys(
    story: Callable[[], World], name: Callable[[World], Key]
):
    world = copy.deepcopy(story())
    assert (await seen(world, handmade(*name(world)))).namesakes == ()


async def test_without_anything_foreign_no_name_is_taken():
    for story in (routed, previewed, mirrored):
        observed = await seen(story())
        assert observed.namesakes == ()
