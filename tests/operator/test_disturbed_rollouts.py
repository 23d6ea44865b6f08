"""What people change while a revision is introduced neither promotes it nor loses its judge."""

from __future__ import annotations

import copy
import dataclasses
from typing import Any

import pytest

from model_operator import reasons
from tests.operator.builders import ModelDeploymentBuilder, make_model_deployment
from tests.operator.stories import STEPS, canary, hold, in_step, passes
from tests.operator.test_judged_rollouts import canary as judged_canary
from tests.operator.test_judged_rollouts import counted, shadow, start
from tests.operator.test_judged_rollouts import passes as looks
from tests.operator.world import World

RISING_NOT = {"type": "Canary", "canary": {"steps": [{"setWeight": 50}, {"setWeight": 20}]}}


def change(world: World, **spec: Any) -> None:
    """Any edit, a wrong one too."""
    world.resource["spec"] = copy.deepcopy(world.resource["spec"]) | spec
    world.resource["metadata"]["generation"] += 1


@pytest.fixture
def world() -> World:
    world = World(canary())
    world.settle()
    return world


@pytest.mark.parametrize("index", [1, 3])
def test_an_invalid_strategy_leaves_a_canary_at_its_weight(world: World, index: int):
    in_step(world, index, canary().version(2))
    before = world.weights_by_version()
    change(world, strategy=RISING_NOT)
    passes(world)
    world.wait(100_000)
    passes(world)
    assert world.weights_by_version() == before
    assert world.condition("Stalled") == ("True", reasons.INVALID_SPEC)
    world.act("abort")
    passes(world)
    assert world.replicas_by_version() == {"1": 3, "2": 0}


@pytest.mark.parametrize(
    "wrong",
    [
        {"model": {"uri": "rubbish"}},
        {"replicas": -1},
        {"strategy": RISING_NOT},
        {"traffic": {"provider": "Nobody"}},
    ],
    ids=["model", "replicas", "strategy", "traffic"],
)
def test_an_invalid_spec_does_not_switch_the_analysis_off(wrong: dict[str, Any]):
    world = start(judged_canary())
    looks(world, 1)
    counted(world, "2", requests=100, errors=50)
    change(world, **wrong)
    looks(world, 4)
    assert world.weights_by_version() == {"1": 100}
    assert world.replicas_by_version()["2"] == 0
    assert world.status["lastFailure"]["reason"] == reasons.ANALYSIS_FAILED


def test_an_invalid_analysis_holds_the_steps():
    world = start(judged_canary())
    looks(world, 1)
    counted(world, "2", requests=100)
    change(world, analysis={"metrics": []})
    looks(world, 10)
    assert world.weights_by_version() == {"1": 75, "2": 25}


def test_a_shadow_is_compared_anew_when_it_comes_right_after_another():
    world = start(shadow())
    looks(world, 2)
    counted(world, "2", agreed={"cat": 100}, differed={"cat": 0})
    looks(world, 2)
    assert world.weights_by_version() == {"2": 100}
    world.measurement = None
    world.edit(shadow().version(3))
    passes(world, 12)
    assert world.weights_by_version() == {"2": 100}
    assert world.status["currentStepIndex"] == 1


def blue_green(**settings: Any) -> ModelDeploymentBuilder:
    return make_model_deployment().strategy("BlueGreen", blueGreen=settings)


@pytest.mark.parametrize("other", [blue_green(), shadow()], ids=["BlueGreen", "Shadow"])
@pytest.mark.parametrize("index", [1, 3])
def test_another_strategy_in_the_middle_begins_with_its_own_first_step(
    world: World, other: ModelDeploymentBuilder, index: int
):
    in_step(world, index, canary().version(2))
    world.edit(other.version(2))
    passes(world, 10)
    assert world.weights_by_version() == {"1": 100}
    assert world.status["currentStepIndex"] == 1


def test_fewer_steps_do_not_end_a_pause_that_waits_for_a_promotion(world: World):
    in_step(world, 3, canary().version(2))
    world.edit(canary(STEPS[0], {"pause": {}}).version(2))
    passes(world, 10)
    assert world.weights_by_version()["1"] >= 50
    assert world.status["phase"] == "Paused"


@pytest.mark.parametrize(
    "resource", [canary(), blue_green(), shadow()], ids=["Canary", "BlueGreen", "Shadow"]
)
def test_a_night_without_pods_promotes_nobody(resource: ModelDeploymentBuilder):
    world = World(resource)
    world.settle()
    in_step(world, 1, resource.version(2))
    world.edit(resource.version(2).replicas(0))
    passes(world, 10)
    assert world.serving_version() == "1"
    assert sum(world.replicas_by_version().values()) == 0
    world.edit(resource.version(2))
    passes(world, 10)
    assert world.serving_version() == "1"
    assert world.status["canary"]["version"] == "2"


def test_a_cancelled_canary_is_not_taken_up_again_by_an_invalid_spec(world: World):
    in_step(world, 1, canary().version(2))
    world.endpoint_lags = True
    world.edit(canary().version(1))
    passes(world)
    change(world, nonsense=True)
    passes(world)
    world.endpoint_lags = False
    passes(world, 10)
    assert world.weights_by_version() == {"1": 100}
    assert world.replicas_by_version()["2"] == 0


def test_a_cancelled_blue_green_revision_is_not_promoted_when_it_is_asked_for_again():
    world = World(blue_green())
    world.settle()
    in_step(world, 1, blue_green().version(2))
    world.play_pods(at_most=2)
    world.edit(blue_green().version(1))
    world.one_pass()
    world.one_pass()
    world.edit(blue_green().version(2))
    passes(world, 10)
    assert world.weights_by_version() == {"1": 100}


def test_a_first_pause_without_a_weight_ends_although_there_is_nothing_to_judge():
    resource = canary({"pause": {"duration": "30s"}}, *STEPS)
    world = World(resource.spec(analysis=judged_canary().build()["spec"]["analysis"]))
    world.settle()
    world.edit(resource.spec(analysis=judged_canary().build()["spec"]["analysis"]).version(2))
    passes(world, 40)
    assert world.weights_by_version() == {"1": 75, "2": 25}


def test_a_mend_is_rolled_out_although_stable_lacks_a_pod(world: World):
    in_step(world, 1, canary().version(2))
    first = world.version_revision("1")
    world.container = lambda revision: None
    limping = next(pod["metadata"]["name"] for pod in world.pods_of(first))
    world.pods[limping]["status"]["conditions"] = []
    world.edit(canary().version(3))
    for _ in range(6):
        world.one_pass()
        world.wait(1)
    assert world.replicas_by_version()["2"] == 0
    assert world.replicas_by_version()["3"] == 1


def test_a_status_that_is_lost_during_a_pause_moves_no_request(world: World):
    in_step(world, 1, canary().version(2))
    world.edit(canary().version(2).paused())
    passes(world)
    world.lose_status()
    passes(world)
    assert world.weights_by_version() == {"1": 75, "2": 25}


def test_a_bad_canary_loses_its_requests_although_something_else_is_refused():
    world = start(judged_canary())
    looks(world, 1)
    world.refuse = lambda body: body["kind"] == "ControllerRevision"
    counted(world, "2", requests=100, errors=50)
    change(world, revisionHistoryLimit=1)
    looks(world, 4)
    assert world.weights_by_version() == {"1": 100}


def test_the_mirror_goes_with_its_shadow_although_the_spec_is_invalid():
    world = start(shadow())
    looks(world, 2)
    assert ("ConfigMap", "cats-dogs-mirror") in world.others
    change(world, nonsense=True)
    world.act("abort")
    looks(world, 2)
    assert "data" not in world.others["ConfigMap", "cats-dogs-mirror"]
    looks(world, 12)
    assert ("ConfigMap", "cats-dogs-mirror") not in world.others


def test_a_promotion_is_refused_while_no_pod_of_the_canary_is_ready(world: World):
    in_step(world, 3, canary().version(2))
    hold(world, "2")
    world.play_pods()
    assert not world.act("promote")["accepted"]


def test_after_a_switch_a_pause_does_not_keep_a_bad_revision():
    world = start(
        blue_green(autoPromote=True).spec(analysis=judged_canary().body["spec"]["analysis"])
    )
    counted(world, "2", requests=100)
    looks(world, 2)
    assert world.weights_by_version() == {"2": 100}
    counted(world, "2", requests=100, errors=50)
    change(world, paused=True)
    looks(world, 3)
    assert world.weights_by_version() == {"1": 100}


def test_while_nobody_answers_the_phase_is_not_paused(world: World):
    in_step(world, 3, canary().version(2))
    world.container = lambda revision: {"name": "server", "state": {"waiting": {"reason": "X"}}}
    passes(world)
    assert world.status["phase"] == "Degraded"


def test_an_abort_takes_the_weight_away_although_the_router_to_come_is_never_ready(world: World):
    in_step(world, 1, canary().version(2))
    change(world, traffic={"provider": "Router"})
    world.defaults = dataclasses.replace(world.defaults, router_image=None)
    passes(world)
    assert world.weights_by_version() == {"1": 75, "2": 25}
    world.act("abort")
    passes(world)
    assert world.weights_by_version() == {"1": 100}
