"""Strategy Canary with provider Service, told as stories of one ModelDeployment."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from model_operator import naming, reasons
from model_operator.rollout.canary import pods_for
from tests.operator.builders import ModelDeploymentBuilder, crashed, make_model_deployment, waiting
from tests.operator.world import World

STEPS = [{"setWeight": 25}, {"pause": {"duration": "5m"}}, {"setWeight": 50}, {"pause": {}}]


def canary(*steps: dict[str, Any]) -> ModelDeploymentBuilder:
    return make_model_deployment().strategy("Canary", canary={"steps": list(steps or STEPS)})


@pytest.fixture
def world() -> World:
    """Version 1 serves, and a canary is what comes next."""
    world = World(canary())
    world.settle()
    return world


def in_step(world: World, index: int, *, resource: ModelDeploymentBuilder | None = None) -> World:
    """Version 2 is introduced, up to a step."""
    world.edit(resource or canary().version(2))
    for _ in range(400):
        world.one_pass()
        world.play_pods()
        if world.status.get("currentStepIndex") == index:
            return world
        world.wait(1)
    raise AssertionError(world.status["message"])


def passes(world: World, count: int = 4) -> World:
    for _ in range(count):
        world.one_pass()
        world.play_pods()
        world.wait(1)
    return world


def test_the_first_version_goes_live_without_steps():
    world = World(canary())
    world.settle()
    assert world.status["phase"] == "Healthy"
    assert world.weights_by_version() == {"1": 100}


def test_a_canary_gets_its_weight_once_its_pods_are_ready_and_stays_through_the_pause(world: World):
    in_step(world, 1)
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


def test_no_weight_is_given_to_pods_that_are_not_ready(world: World):
    world.container = lambda revision: (
        waiting("Starting") if world.version_of(revision) == "2" else None
    )
    world.edit(canary().version(2))
    passes(world)
    assert world.weights_by_version() == {"1": 100}
    assert world.replicas_by_version() == {"1": 3, "2": 1}
    assert [w["weight"] for w in world.status["traffic"]] == [100, 0]


def test_an_open_pause_waits_for_the_action_promote(world: World):
    in_step(world, 3)
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


def test_a_promotion_of_a_step_that_has_passed_is_refused(world: World):
    in_step(world, 1)
    assert world.act("promote", step=1)["accepted"]
    assert not world.act("promote", step=1)["accepted"]


def test_a_promotion_does_not_move_requests_to_pods_that_are_not_ready(world: World):
    in_step(world, 3)
    world.container = lambda revision: (
        waiting("Starting") if world.version_of(revision) == "2" else None
    )
    world.play_pods()
    world.act("promote")
    passes(world)
    assert world.weights_by_version()["1"] == 100


def test_stable_keeps_its_size_until_the_delay_after_the_commit_is_over(world: World):
    in_step(world, 3)
    world.act("promote")
    while world.weights_by_version() != {"2": 100}:
        assert world.replicas_by_version()["1"] == 3
        world.one_pass()
        world.play_pods()
    passes(world)
    assert world.replicas_by_version() == {"1": 3, "2": 3}
    world.settle()
    assert world.replicas_by_version() == {"1": 0, "2": 3}


def test_an_abort_takes_the_weight_first_and_the_pods_once_that_is_confirmed(world: World):
    in_step(world, 1)
    world.endpoint_lags = True
    assert world.act("abort")["accepted"]
    passes(world)
    assert world.weights_by_version() == {"1": 100}
    assert world.replicas_by_version() == {"1": 3, "2": 1}
    world.endpoint_lags = False
    passes(world)
    assert world.replicas_by_version() == {"1": 3, "2": 0}
    assert world.condition("Stalled") == ("True", reasons.ABORTED)
    assert world.status["phase"] == "Degraded"


def test_an_aborted_canary_is_not_scaled_up_again_until_it_is_asked_for(world: World):
    in_step(world, 1)
    world.act("abort")
    passes(world)
    for _ in range(5):
        world.wait(1000)
        passes(world)
    assert world.replicas_by_version() == {"1": 3, "2": 0}
    assert world.weights_by_version() == {"1": 100}
    assert world.act("retry")["accepted"]
    passes(world)
    assert world.replicas_by_version()["2"] == 1
    assert world.status["currentStepIndex"] in (0, 1)


def test_an_abort_with_no_rollout_is_refused_and_stable_keeps_its_pods(world: World):
    assert not world.act("abort")["accepted"]
    passes(world)
    assert world.replicas_by_version() == {"1": 3}
    assert world.status["phase"] == "Healthy"


def test_a_crash_loop_takes_the_weight_away_at_once(world: World):
    in_step(world, 1)
    world.container = lambda revision: (
        crashed(1, "boom") if world.version_of(revision) == "2" else None
    )
    world.play_pods()
    passes(world, 2)
    assert world.weights_by_version() == {"1": 100}
    passes(world)
    assert world.status["lastFailure"]["reason"] == reasons.CONTAINER_CRASHED
    assert "boom" in world.status["message"]
    assert world.replicas_by_version() == {"1": 3, "2": 0}


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


def test_a_canary_without_a_ready_pod_has_no_weight_until_it_is_back(world: World):
    in_step(world, 3)
    world.container = lambda revision: (
        waiting("Starting") if world.version_of(revision) == "2" else None
    )
    world.play_pods()
    world.one_pass()
    assert world.weights_by_version() == {"1": 100}
    passes(world)
    world.container = lambda revision: None
    passes(world, 6)
    assert world.weights_by_version() == {"1": 50, "2": 50}
    assert world.status["currentStepIndex"] == 3


def test_requests_stay_with_the_canary_while_stable_has_no_ready_pod(world: World):
    in_step(world, 1)
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


def test_a_third_version_waits_until_the_canary_is_withdrawn(world: World):
    in_step(world, 3)
    world.edit(canary().version(3))
    world.one_pass()
    assert world.weights_by_version() == {"1": 100}
    assert world.replicas_by_version() == {"1": 3, "2": 3}
    assert world.status["canary"]["version"] == "2"
    passes(world, 3)
    assert world.replicas_by_version()["2"] == 0
    in_step(world, 1, resource=canary().version(3))
    assert world.weights_by_version() == {"1": 75, "3": 25}
    assert world.status["canary"]["version"] == "3"


def test_a_spec_that_is_taken_back_cancels_the_canary_and_is_no_failure(world: World):
    in_step(world, 3)
    world.edit(canary().version(1))
    world.one_pass()
    assert world.weights_by_version() == {"1": 100}
    passes(world, 3)
    assert world.replicas_by_version() == {"1": 3, "2": 0}
    assert world.status["phase"] == "Healthy"
    assert "failedRevision" not in world.status


def test_replicas_that_change_in_the_middle_change_both_sizes_and_no_weight(world: World):
    in_step(world, 1)
    world.edit(canary().version(2).replicas(6))
    passes(world)
    assert world.replicas_by_version() == {"1": 6, "2": 2}
    assert world.weights_by_version() == {"1": 75, "2": 25}


def test_a_rollback_in_the_middle_goes_straight_to_the_revision_before(world: World):
    world.edit(make_model_deployment().version(2))
    world.settle()
    in_step(world, 1, resource=canary().version(3))
    first = world.version_revision("1")
    assert world.act("rollback", revision=first)["accepted"]
    passes(world, 8)
    assert world.weights_by_version() == {"1": 100}
    assert world.replicas_by_version()["3"] == 0


def test_a_lost_status_moves_nothing_and_the_canary_goes_on_from_its_weight(world: World):
    in_step(world, 3)
    before = (world.weights_by_version(), world.replicas_by_version())
    world.lose_status()
    world.one_pass()
    assert (world.weights_by_version(), world.replicas_by_version()) == before
    passes(world)
    assert world.weights_by_version() == before[0]
    assert world.status["stable"]["version"] == "1"
    assert world.status["currentStepIndex"] == 3


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
    in_step(world, 1)
    world.edit(canary().version(2).paused())
    world.wait(10_000)
    passes(world)
    assert world.status["currentStepIndex"] == 1
    assert world.status["phase"] == "Paused"
    world.act("abort")
    passes(world)
    assert world.replicas_by_version() == {"1": 3, "2": 0}


@pytest.mark.parametrize("writes", range(6))
def test_a_death_between_the_writes_of_the_switch_ends_where_none_does(world: World, writes: int):
    in_step(world, 3)
    world.act("promote")
    world.play_pods()
    world.one_pass(dies_after=writes)
    world.play_pods()
    world.settle()
    assert world.weights_by_version() == {"2": 100}
    assert world.replicas_by_version() == {"1": 0, "2": 3}


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
    in_step(world, index)
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
