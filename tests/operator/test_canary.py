"""Strategy Canary with provider Service, told as stories of one ModelDeployment.

What must never happen, with every provider, is in test_peer_failures.
"""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from model_operator import naming, reasons
from model_operator.rollout.canary import pods_for
from tests.operator.builders import make_model_deployment, waiting
from tests.operator.stories import canary, in_step, passes
from tests.operator.world import World


@pytest.fixture
def world() -> World:
    """Version 1 serves, and a canary is what comes next."""
    world = World(canary())
    world.settle()
    return world


def test_the_first_version_goes_live_without_steps():
    world = World(canary())
    world.settle()
    assert world.status["phase"] == "Healthy"
    assert world.weights_by_version() == {"1": 100}


def test_a_canary_gets_its_weight_once_its_pods_are_ready_and_stays_through_the_pause(world: World):
    in_step(world, 1, canary().version(2))
    assert world.weights_by_version() == {"1": 75, "2": 25}
    assert world.replicas_by_version() == {"1": 3, "2": 1}
    assert world.status["stable"]["version"] == "1"
    assert world.status["canary"]["version"] == "2"
    assert [w["weight"] for w in world.status["traffic"]] == [75, 25]
    assert [w["actualWeight"] for w in world.status["traffic"]] == [75, 25]
    assert world.condition("Progressing") == ("True", reasons.INTRODUCING)
    assert world.condition("Available") == ("True", reasons.SERVING)
    passes(world)
    assert world.status["currentStepIndex"] == 1
    world.wait(300)
    passes(world)
    assert world.status["currentStepIndex"] == 3
    assert world.weights_by_version() == {"1": 50, "2": 50}


def test_an_open_pause_waits_for_the_action_promote(world: World):
    in_step(world, 3, canary().version(2))
    world.wait(10_000)
    passes(world)
    assert world.status["phase"] == "Paused"
    assert world.condition("Ready") == ("False", reasons.AWAITING_PROMOTION)
    answer = world.act("promote")
    assert answer["accepted"], answer
    world.settle()
    assert world.status["phase"] == "Healthy"
    assert world.weights_by_version() == {"2": 100}
    assert world.replicas_by_version() == {"1": 0, "2": 3}


def test_a_canary_that_never_becomes_ready_fails_at_the_deadline(world: World):
    world.container = lambda revision: (
        waiting("Starting") if world.version_of(revision) == "2" else None
    )
    world.edit(canary().version(2))
    passes(world)
    world.wait(601)
    passes(world)
    assert world.status["lastFailure"]["reason"] == reasons.PROGRESS_DEADLINE_EXCEEDED
    assert world.replicas_by_version() == {"1": 3, "2": 0}


def test_requests_stay_with_the_canary_while_stable_has_no_ready_pod(world: World):
    in_step(world, 1, canary().version(2))
    world.container = lambda revision: (
        waiting("Starting") if world.version_of(revision) == "1" else None
    )
    world.play_pods()
    world.act("abort")
    passes(world)
    assert world.weights_by_version() == {"1": 75, "2": 25}
    assert world.replicas_by_version() == {"1": 3, "2": 1}
    assert world.condition("Available")[0] == "False"
    world.container = lambda revision: None
    passes(world)
    assert world.weights_by_version() == {"1": 100}


def test_a_rollback_in_the_middle_goes_straight_to_the_revision_before(world: World):
    world.edit(make_model_deployment().version(2))
    world.settle()
    in_step(world, 1, canary().version(3))
    first = world.version_revision("1")
    assert world.act("rollback", revision=first)["accepted"]
    passes(world, 8)
    assert world.weights_by_version() == {"1": 100}
    assert world.replicas_by_version()["3"] == 0


@pytest.mark.parametrize("before", range(8))
def test_a_rollback_goes_on_when_the_spec_then_asks_for_the_same(world: World, before: int):
    """However far the rollback is by then, what people were sent back to has no steps to climb."""
    world.edit(canary().version(2))
    for _ in range(6):
        passes(world, 4)
        world.act("promote")
    world.settle()
    assert world.replicas_by_version() == {"1": 0, "2": 3}
    assert world.act("rollback", revision=world.version_revision("1"))["accepted"]
    for ready in range(before):
        world.one_pass()
        world.play_pods(at_most=ready)
    world.edit(canary().version(1))
    world.settle()
    assert world.weights_by_version() == {"1": 100}
    assert world.status["phase"] == "Healthy"
    assert "rollbackTo" not in world.status


def test_a_division_waits_until_the_pods_of_an_older_revision_have_ended(world: World):
    world.edit(make_model_deployment().version(2))
    passes(world)
    assert world.weights_by_version() == {"2": 100}
    world.edit(canary().version(3))
    passes(world)
    assert world.weights_by_version() == {"2": 100}
    assert "older revisions" in world.status["message"]
    world.wait(31)
    passes(world, 6)
    assert world.weights_by_version() == {"2": 75, "3": 25}


def test_a_pause_of_the_spec_freezes_the_steps_and_aborting_goes_on(world: World):
    in_step(world, 1, canary().version(2))
    world.edit(canary().version(2).paused())
    world.wait(10_000)
    passes(world)
    assert world.status["currentStepIndex"] == 1
    assert world.status["phase"] == "Paused"
    world.act("abort")
    passes(world)
    assert world.replicas_by_version() == {"1": 3, "2": 0}


@given(st.integers(1, 100), st.integers(1, 50), st.booleans())
def test_the_pods_of_a_canary_carry_its_weight_and_are_never_more_than_stable_has(
    weight: int, replicas: int, exact: bool
):
    pods = pods_for(weight, replicas, exact=exact)
    assert 1 <= pods <= replicas
    if exact:
        assert pods * 100 >= weight * replicas
    else:
        assert pods == replicas or 100 * pods >= weight * (pods + replicas)


@pytest.mark.parametrize("index", [1, 3])
def test_a_canary_whose_requests_somebody_has_moved_away_gets_them_back(world: World, index: int):
    in_step(world, index, canary().version(2))
    before = world.weights_by_version()
    first = world.version_revision("1")
    assert world.service
    world.service["spec"]["selector"] = naming.pod_selector("cats-dogs", first)
    world.service["metadata"].pop("annotations")
    world.one_pass()
    assert world.status["currentStepIndex"] == index - 1
    passes(world)
    assert world.weights_by_version() == before
    assert world.status["currentStepIndex"] == index


def test_a_step_is_recorded_before_anything_is_changed_for_it(world: World):
    in_step(world, 1, canary().version(2))
    world.wait(300)
    world.one_pass()
    assert world.status["currentStepIndex"] == 2
    assert world.replicas_by_version() == {"1": 3, "2": 1}
    world.one_pass()
    assert world.replicas_by_version() == {"1": 3, "2": 3}


@pytest.mark.parametrize("writes", range(8))
def test_a_canary_has_weight_0_in_the_route_first_however_long_the_operator_was_away(writes: int):
    resource = canary().spec(traffic={"provider": "Router"})
    world = World(resource)
    world.settle()
    world.edit(resource.version(2))
    world.one_pass(dies_after=writes)
    for _ in range(3):
        world.play_pods()
    weights = []
    for _ in range(12):
        world.one_pass()
        world.play_pods()
        world.wait(1)
        route = world.route()
        if route and route.canary:
            weights.append(route.weight)
    assert weights[0] == 0
    assert weights[-1] == 25
