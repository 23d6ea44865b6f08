"""A spec that is not valid names no provider: the one that clients reach goes on."""

from __future__ import annotations

import copy
from dataclasses import replace
from typing import Any

import pytest

from model_operator import observe, reasons
from model_operator.observed import Observed
from model_operator.route import Route
from model_operator.traffic import providers
from tests.operator import test_gateway_api as gateway
from tests.operator import test_router as router
from tests.operator.builders import make_model_deployment
from tests.operator.stories import canary, hold, in_step, passes
from tests.operator.test_names_taken import GATEWAY, ROUTER, handmade, seen
from tests.operator.world import World

INVALID: dict[str, Any] = {"provider": "Router", "router": {"replicas": -1}}


def spoilt(world: World) -> World:
    """From now on nothing of spec.traffic is valid."""
    world.resource["spec"]["traffic"] = dict(INVALID)
    world.resource["metadata"]["generation"] += 1
    return world


@pytest.fixture
def divided() -> World:
    """By provider Router the canary has 25% of the requests."""
    resource = canary().spec(traffic=ROUTER)
    world = World(resource)
    world.settle()
    in_step(world, 1, resource.version(2))
    assert world.weights_by_version() == {"1": 75, "2": 25}
    return world


def test_clients_stay_with_the_router(divided: World):
    passes(spoilt(divided), 20)
    assert divided.condition("Stalled") == ("True", reasons.INVALID_SPEC)
    assert divided.routed()
    assert divided.weights_by_version() == {"1": 75, "2": 25}
    assert divided.router.ready() == 2


def test_an_abort_goes_through_the_router(divided: World):
    spoilt(divided).act("abort")
    passes(divided, 40)
    assert divided.routed()
    assert divided.weights_by_version() == {"1": 100}
    assert [held.weights for held in divided.router.held()] == [divided.route().weights] * 2
    assert divided.replicas_by_version() == {"1": 3, "2": 0}


def test_a_canary_whose_pods_are_gone_loses_its_requests_in_the_router(divided: World):
    hold(spoilt(divided), "2")
    passes(divided, 10)
    assert divided.routed()
    assert all(held.weight == 0 for held in divided.router.held())


def test_the_router_is_looked_at_again_as_soon_as_with_a_valid_spec(divided: World):
    divided.router.lags = True
    divided.ask("abort")
    passes(spoilt(divided), 3)
    assert divided.one_pass().requeue_after == router.router.POLL


def invalid(observed: Observed) -> Observed:
    """What is read of a spec whose traffic is lost."""
    body = make_model_deployment().build()
    spec = observe.read_resource(body).spec
    return replace(observed, resource=replace(observed.resource, spec=spec, invalid="no"))


@pytest.mark.parametrize(
    ("observed", "name"),
    [
        (gateway.written(gateway.world(), Route(gateway.STABLE)), "GatewayAPI"),
        (router.used(Route(router.A)), "Router"),
        (router.behind_service(router.world()), "Service"),
        (router.world(), "Service"),
    ],
)
def test_the_provider_in_use_is_known_by_what_clients_reach(observed: Observed, name: str):
    assert providers.name_of(invalid(observed)) == name
    assert providers.chosen(invalid(observed)) is providers.PROVIDERS[name]


def test_a_valid_spec_says_it_whatever_is_in_use():
    observed = router.used(Route(router.A))
    elsewhere = replace(observed, resource=router.resource("Service"))
    assert providers.name_of(elsewhere) == "Service"


def owned_by(world: World, body: dict[str, Any]) -> dict[str, Any]:
    """A child of the world's resource."""
    child = copy.deepcopy(body)
    owners = next(iter(world.deployments.values()))["metadata"]["ownerReferences"]
    child["metadata"] |= {"ownerReferences": owners}
    return child


async def test_the_route_of_a_gateway_is_read_while_the_spec_is_invalid():
    world = World(make_model_deployment().spec(traffic=ROUTER))
    world.settle()
    route = owned_by(world, handmade("HTTPRoute", "cats-dogs"))
    world.edit(make_model_deployment().spec(traffic={**GATEWAY, "gateway": {"parentRefs": 1}}))
    observed = await seen(world, route)
    assert observed.resource.invalid
    assert observed.http_route is not None
    assert observed.gateway_api == "v1"
    assert providers.name_of(observed) == "GatewayAPI"
