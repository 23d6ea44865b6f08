"""Strategy BlueGreen, told as stories of one ModelDeployment."""

from __future__ import annotations

from datetime import timedelta

import pytest

from model_operator import naming, reasons
from tests.operator.builders import ModelDeploymentBuilder, crashed, make_model_deployment, waiting
from tests.operator.world import World


def blue_green(**settings: object) -> ModelDeploymentBuilder:
    return make_model_deployment().strategy("BlueGreen", blueGreen=settings)


@pytest.fixture
def world() -> World:
    """Version 1 serves."""
    world = World(blue_green())
    world.settle()
    return world


def passes(world: World, count: int = 4) -> World:
    for _ in range(count):
        world.one_pass()
        world.play_pods()
        world.wait(1)
    return world


def on_preview(world: World) -> str | None:
    preview = world.others.get(("Service", "cats-dogs-preview"))
    selector = preview["spec"]["selector"] if preview else {}
    return world.version_of(selector.get(naming.REVISION_LABEL))


def test_a_new_version_waits_whole_on_the_preview_until_it_is_promoted(world: World):
    assert on_preview(world) == "1"
    world.edit(blue_green().version(2))
    passes(world)
    world.wait(100_000)
    passes(world)
    assert world.weights_by_version() == {"1": 100}
    assert on_preview(world) == "2"
    assert world.replicas_by_version() == {"1": 3, "2": 3}
    assert world.condition("Ready") == ("False", reasons.AWAITING_PROMOTION)
    assert world.status["phase"] == "Paused"
    assert world.act("promote")["accepted"]
    passes(world)
    assert world.weights_by_version() == {"2": 100}
    assert world.replicas_by_version() == {"1": 3, "2": 3}
    world.settle()
    assert world.replicas_by_version() == {"1": 0, "2": 3}
    assert world.status["phase"] == "Healthy"


def test_by_itself_it_is_promoted_as_soon_as_it_is_ready(world: World):
    world.edit(blue_green(autoPromote=True).version(2))
    passes(world)
    assert world.weights_by_version() == {"2": 100}


def test_it_cannot_be_promoted_before_it_is_ready(world: World):
    world.container = lambda revision: (
        waiting("Starting") if world.version_of(revision) == "2" else None
    )
    world.edit(blue_green().version(2))
    passes(world)
    assert not world.act("promote")["accepted"]
    assert world.weights_by_version() == {"1": 100}


def test_a_promotion_waits_until_every_pod_is_ready_again(world: World):
    world.edit(blue_green().version(2))
    passes(world)
    world.play_pods(at_most=2)
    assert world.act("promote")["accepted"]
    assert world.weights_by_version() == {"1": 100}
    passes(world)
    assert world.weights_by_version() == {"2": 100}


def test_a_crash_loop_on_the_preview_ends_the_attempt(world: World):
    world.edit(blue_green().version(2))
    passes(world)
    world.container = lambda revision: (
        crashed(1, "boom") if world.version_of(revision) == "2" else None
    )
    world.play_pods()
    passes(world)
    assert world.replicas_by_version() == {"1": 3, "2": 0}
    assert world.status["failedRevision"]
    assert on_preview(world) == "1"


@pytest.mark.parametrize("paused", [False, True])
def test_a_crash_loop_after_the_switch_is_gone_back_from_while_the_version_before_runs(
    world: World, paused: bool
):
    resource = blue_green(autoPromote=True).version(2)
    world.edit(resource)
    passes(world)
    assert world.weights_by_version() == {"2": 100}
    world.edit(resource.spec(paused=paused))
    world.container = lambda revision: (
        crashed(1, "boom") | {"restartCount": 3} if world.version_of(revision) == "2" else None
    )
    world.play_pods()
    passes(world)
    assert world.weights_by_version() == {"1": 100}
    world.settle()
    assert world.replicas_by_version() == {"1": 3, "2": 0}
    assert world.condition("Ready") == ("False", reasons.ROLLED_BACK)
    assert world.condition("Stalled")[0] == "True"
    assert "boom" in world.status["message"]
    assert world.status["lastFailure"]["reason"] == reasons.CONTAINER_CRASHED


def test_a_single_crash_after_the_switch_is_not_gone_back_from(world: World):
    world.edit(blue_green(autoPromote=True).version(2))
    passes(world)
    world.container = lambda revision: (
        crashed(1, "boom") | {"restartCount": 1, "state": {"running": {}}}
        if world.version_of(revision) == "2"
        else None
    )
    world.play_pods()
    passes(world)
    assert world.weights_by_version() == {"2": 100}
    assert "failedRevision" not in world.status


def test_a_rollback_while_the_version_before_still_runs_waits_for_no_pod(world: World):
    world.edit(blue_green(autoPromote=True).version(2))
    passes(world)
    first = world.version_revision("1")
    assert world.act("rollback", revision=first)["accepted"]
    world.one_pass()
    assert world.weights_by_version() == {"1": 100}


@pytest.mark.parametrize("writes", range(8))
@pytest.mark.parametrize("recorded", [True, False])
def test_what_was_rolled_back_from_is_kept_for_its_delay_whatever_the_operator_forgets(
    world: World, writes: int, recorded: bool
):
    """It dies after so many writes of the pass that gives the requests back, be the first switch
    in status by then or not.
    """
    first = world.version_revision("1")
    world.edit(blue_green(autoPromote=True).version(2))
    while world.weights_by_version() != {"2": 100}:
        passes(world, 1)
    second = world.version_revision("2")
    if recorded:
        passes(world)
    world.ask("rollback", revision=first)
    world.one_pass(dies_after=writes)
    while world.weights_by_version() != {"1": 100}:
        world.one_pass()
    left = world.now
    while world.now < left + timedelta(seconds=29):
        assert world.deployments[f"cats-dogs-{second}"]["spec"]["replicas"] == 3
        world.wait(1)
        passes(world)
    world.settle()
    assert world.deployments[f"cats-dogs-{second}"]["spec"]["replicas"] == 0
    last = world.status["rollouts"][0]
    assert (last["fromRevision"], last["revision"], last["outcome"]) == (second, first, "Complete")


def test_the_preview_goes_with_the_strategy(world: World):
    world.edit(make_model_deployment())
    passes(world)
    assert on_preview(world) is None
