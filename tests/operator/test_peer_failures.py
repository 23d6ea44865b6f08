"""Failures that other rollout controllers have had, by name: none of them is possible here.

Each is told with an approximate provider and with an exact one, where that makes a difference.
`World` itself checks every write besides: see its invariants.
"""

from __future__ import annotations

import copy
from dataclasses import replace
from typing import Any

import pytest

from model_operator import actions, reasons, resources
from model_operator.diagnosis import is_ready
from model_operator.measurement import Counters, Measurement, RevisionMeasurement
from model_operator.traffic import router_objects
from tests.operator.builders import ModelDeploymentBuilder, crashed, make_model_deployment
from tests.operator.stories import canary, hold, in_step, passes, until
from tests.operator.world import World

ILL = Counters(requests=1000, errors=500)
WELL = Counters(requests=1000, predictions={"cat": 500, "dog": 500})
DELAY = 30


@pytest.fixture(params=["Service", "Router"])
def provider(request: pytest.FixtureRequest) -> str:
    name: str = request.param
    return name


def by(provider: str, resource: ModelDeploymentBuilder) -> ModelDeploymentBuilder:
    return resource.spec(traffic={"provider": provider})


def settled(resource: ModelDeploymentBuilder) -> World:
    world = World(resource)
    world.settle()
    return world


@pytest.fixture
def world(provider: str) -> World:
    """Version 1 serves, and a canary is what comes next."""
    world = settled(by(provider, canary()))
    assert world.routed() == (provider == "Router")
    return world


def edited(world: World, resource: ModelDeploymentBuilder) -> ModelDeploymentBuilder:
    """A spec with the world's provider."""
    return by(world.resource["spec"]["traffic"]["provider"], resource)


def introduced(world: World, index: int, version: int = 2) -> World:
    return in_step(world, index, edited(world, canary().version(version)))


def ready_pods(world: World, version: str) -> int:
    return sum(map(is_ready, world.pods_of(world.version_revision(version))))


INTRODUCING = {
    "Standard": make_model_deployment(),
    "Canary": canary({"setWeight": 50}),
    "BlueGreen": make_model_deployment().strategy("BlueGreen", blueGreen={"autoPromote": True}),
}


@pytest.mark.parametrize("strategy", INTRODUCING)
def test_selector_switched_after_the_old_pods_are_gone(provider: str, strategy: str):
    resource = by(provider, INTRODUCING[strategy])
    world = settled(resource)
    world.edit(resource.version(2))
    while world.serving_version() == "1":
        assert ready_pods(world, "1") == 3
        assert world.replicas_by_version()["1"] == 3
        passes(world, 1)
    assert ready_pods(world, "2") == 3
    passes(world, DELAY - 5)
    assert ready_pods(world, "1") == 3
    world.settle()
    assert world.replicas_by_version() == {"1": 0, "2": 3}


def test_stable_scaled_down_while_canary_pods_are_missing(world: World):
    introduced(world, 3)
    assert world.act("promote")["accepted"]
    hold(world, "2")
    world.play_pods()
    passes(world, 20)
    assert world.replicas_by_version()["1"] == 3
    assert world.weights_by_version()["1"] == 100


def test_stable_scaled_down_while_pods_that_have_just_taken_over_are_missing(world: World):
    introduced(world, 3)
    world.act("promote")
    until(world, lambda: world.serving_version() == "2")
    world.play_pods(at_most=1)
    for _ in range(DELAY + 20):
        world.one_pass()
        world.wait(1)
    assert world.replicas_by_version() == {"1": 3, "2": 3}
    world.settle()
    assert world.replicas_by_version() == {"1": 0, "2": 3}


@pytest.mark.parametrize("writes", range(5))
def test_weight_left_behind_after_an_abort(world: World, writes: int):
    introduced(world, 1)
    assert world.weights_by_version() == {"1": 75, "2": 25}
    world.ask("abort")
    for _ in range(2):
        world.one_pass(dies_after=writes)
    passes(world, 10)
    assert world.weights_by_version() == {"1": 100}
    given = [(part["weight"], part["actualWeight"]) for part in world.status["traffic"]]
    assert given == [(100, 100), (0, 0)]
    assert world.replicas_by_version() == {"1": 3, "2": 0}


def test_pods_stopped_before_the_data_plane_sends_them_nothing(world: World):
    introduced(world, 1)
    world.endpoint_lags = world.router.lags = True
    assert world.act("abort")["accepted"]
    passes(world)
    assert world.weights_by_version() == {"1": 100}
    assert world.replicas_by_version() == {"1": 3, "2": 1}
    world.endpoint_lags = world.router.lags = False
    passes(world)
    assert world.replicas_by_version() == {"1": 3, "2": 0}
    assert world.condition("Stalled") == ("True", reasons.ABORTED)


def test_an_aborted_canary_scaled_up_again(world: World):
    introduced(world, 1)
    world.act("abort")
    passes(world, 8)
    for _ in range(5):
        world.wait(1000)
        passes(world)
        assert world.replicas_by_version() == {"1": 3, "2": 0}
        assert world.weights_by_version() == {"1": 100}
    assert world.act("retry")["accepted"]
    passes(world)
    assert world.replicas_by_version()["2"] == 1
    assert world.status["currentStepIndex"] in (0, 1)


def test_an_abort_with_no_rollout_scaling_stable_to_0(world: World):
    assert not world.act("abort")["accepted"]
    passes(world)
    assert world.replicas_by_version() == {"1": 3}
    assert world.status["phase"] == "Healthy"


def test_an_abort_after_the_commit_scaling_what_serves_to_0(world: World):
    introduced(world, 3)
    world.act("promote")
    until(world, lambda: world.serving_version() == "2")
    assert not world.act("abort")["accepted"]
    world.settle()
    assert world.replicas_by_version() == {"1": 0, "2": 3}


def test_traffic_to_a_canary_whose_pods_are_not_ready_yet(world: World):
    hold(world, "2")
    world.edit(edited(world, canary().version(2)))
    passes(world, 10)
    assert world.weights_by_version().get("2", 0) == 0
    assert world.replicas_by_version() == {"1": 3, "2": 1}
    assert [part["weight"] for part in world.status["traffic"]] == [100, 0]


def test_traffic_to_a_zero_pod_canary(world: World):
    introduced(world, 3)
    hold(world, "2")
    world.play_pods()
    world.one_pass()
    assert world.weights_by_version()["1"] == 100
    passes(world)
    assert world.status["canary"]["readyReplicas"] == 0
    world.container = lambda revision: None
    until(world, lambda: world.weights_by_version() == {"1": 50, "2": 50})


def test_traffic_to_a_canary_that_somebody_scaled_to_0(world: World):
    introduced(world, 3)
    name = f"cats-dogs-{world.version_revision('2')}"
    world.deployments[name]["spec"]["replicas"] = 0
    world.play_pods()
    world.one_pass()
    assert world.weights_by_version()["1"] == 100
    until(world, lambda: world.weights_by_version() == {"1": 50, "2": 50})


def test_promotion_that_ignores_readiness(world: World):
    introduced(world, 3)
    world.play_pods(at_most=1)
    world.act("promote")
    for _ in range(10):
        world.one_pass()
        world.wait(1)
    assert world.serving_version() == "1"
    passes(world, 8)
    assert world.weights_by_version() == {"2": 100}


def test_a_third_revision_arriving_in_the_middle_of_a_canary(world: World):
    introduced(world, 3)
    two = world.version_revision("2")
    world.edit(edited(world, canary().version(3)))
    world.one_pass()
    assert world.weights_by_version()["1"] == 100
    assert world.status["canary"]["version"] == "2"
    while world.pods_of(two):
        assert "3" not in world.replicas_by_version() or not world.replicas_by_version()["2"]
        assert world.weights_by_version()["1"] == 100
        passes(world, 1)
    until(world, lambda: world.weights_by_version() == {"1": 75, "3": 25})
    assert world.replicas_by_version() == {"1": 3, "2": 0, "3": 1}
    assert world.status["canary"]["version"] == "3"


def test_a_spec_reverted_in_the_middle(world: World):
    introduced(world, 3)
    world.edit(edited(world, canary().version(1)))
    world.one_pass()
    assert world.weights_by_version()["1"] == 100
    passes(world, 8)
    assert world.replicas_by_version() == {"1": 3, "2": 0}
    assert world.status["phase"] == "Healthy"
    assert "failedRevision" not in world.status


def test_replicas_changed_in_the_middle(world: World):
    introduced(world, 1)
    world.edit(edited(world, canary().version(2).replicas(6)))
    passes(world)
    assert world.replicas_by_version() == {"1": 6, "2": 2}
    assert world.weights_by_version() == {"1": 75, "2": 25}
    world.edit(edited(world, canary().version(2).replicas(2)))
    passes(world)
    assert world.replicas_by_version() == {"1": 2, "2": 1}
    assert world.weights_by_version() == {"1": 75, "2": 25}


def test_status_lost_in_the_middle(world: World):
    introduced(world, 3)
    before = (world.weights_by_version(), world.replicas_by_version())
    world.lose_status()
    world.one_pass()
    assert (world.weights_by_version(), world.replicas_by_version()) == before
    passes(world)
    assert world.weights_by_version() == before[0]
    assert world.status["stable"]["version"] == "1"
    assert world.status["currentStepIndex"] == 3


def test_status_lost_after_the_commit(world: World):
    introduced(world, 3)
    world.act("promote")
    until(world, lambda: world.serving_version() == "2")
    world.lose_status()
    world.one_pass()
    assert world.replicas_by_version() == {"1": 3, "2": 3}
    world.settle()
    assert world.weights_by_version() == {"2": 100}
    assert world.replicas_by_version() == {"1": 0, "2": 3}


@pytest.mark.parametrize("writes", range(5))
def test_a_crash_between_the_traffic_switch_and_the_status_write(world: World, writes: int):
    steps = canary({"setWeight": 90}, {"pause": {}})
    in_step(world, 1, edited(world, steps.version(2)))
    world.ask("promote")
    for _ in range(2):  # the promotion is recorded, then it is done
        world.one_pass(dies_after=writes)
    assert world.serving_version() == ("2" if writes else "1")
    if writes == 1:
        assert world.status["stable"]["version"] == "1"
    for _ in range(DELAY - 5):
        world.play_pods()
        world.one_pass()
        assert world.replicas_by_version() == {"1": 3, "2": 3}
        world.wait(1)
    world.settle()
    assert world.status["lastAction"]["accepted"]
    assert world.weights_by_version() == {"2": 100}
    assert world.replicas_by_version() == {"1": 0, "2": 3}


@pytest.mark.parametrize("strategy", ["BlueGreen", "Shadow"])
@pytest.mark.parametrize("writes", range(1, 5))
def test_a_crash_that_forgets_who_was_promoted(provider: str, strategy: str, writes: int):
    resource = by(provider, make_model_deployment().strategy(strategy))
    world = settled(resource)
    world.edit(resource.version(2))
    until(world, lambda: world.status.get("currentStepIndex") == 1)
    passes(world, 2)
    world.ask("promote")
    while world.serving_version() == "1":
        world.one_pass(dies_after=writes)
        world.play_pods()
    world.settle()
    assert world.status["lastAction"]["accepted"]
    assert world.weights_by_version() == {"2": 100}


@pytest.mark.parametrize("writes", range(5))
def test_a_crash_that_forgets_a_judgement_and_takes_pods_away_again(world: World, writes: int):
    analysis = {"interval": "10s", "metrics": [{"name": "error-rate", "max": 0.01}]}
    resource = edited(world, canary().version(2)).spec(analysis=analysis)
    in_step(world, 1, resource)
    counted = RevisionMeasurement(window=WELL, step=WELL)
    world.measurement = Measurement(
        world.now,
        world.now,
        dict.fromkeys([world.version_revision(version) for version in "12"], counted),
    )
    world.wait(300)
    world.one_pass(dies_after=writes)
    world.measurement = None
    before = world.replicas_by_version()["2"]
    for _ in range(6):
        passes(world, 1)
        assert world.replicas_by_version()["2"] >= before
        before = world.replicas_by_version()["2"]


@pytest.mark.parametrize(
    ("strategy", "beside"),
    [
        ("Shadow", ("ConfigMap", "cats-dogs-mirror")),
        ("BlueGreen", ("Service", "cats-dogs-preview")),
    ],
)
def test_a_crash_that_forgets_a_verdict_and_shows_or_mirrors_to_what_failed_again(
    strategy: str, beside: tuple[str, str]
):
    analysis = {"interval": "10s", "failureLimit": 0, "metrics": [{"name": "error-rate", "max": 0}]}
    resource = make_model_deployment().strategy(strategy).spec(analysis=analysis)
    world = settled(resource)
    world.edit(resource.version(2))
    until(world, lambda: world.status.get("currentStepIndex") == 1)
    passes(world)
    ill = RevisionMeasurement(window=ILL, step=ILL)
    world.measurement = Measurement(world.now, world.now, {world.version_revision("2"): ill})
    before = world.others[beside]
    world.one_pass()
    assert world.status["failedRevision"] == world.version_revision("2")
    assert world.others[beside] == before
    world.one_pass()
    assert world.others.get(beside) != before


def test_a_crash_between_a_weight_and_the_status_write(world: World):
    world.edit(edited(world, canary().version(2)))
    while len(world.weights_by_version()) == 1:
        world.play_pods()
        world.one_pass(dies_after=1)
        world.wait(1)
    until(world, lambda: world.status["currentStepIndex"] == 1)
    assert world.weights_by_version() == {"1": 75, "2": 25}


def test_a_repeated_action(world: World):
    introduced(world, 1)
    identity = world.ask("promote")
    passes(world, 1)
    annotation = world.resource["metadata"]["annotations"][actions.ANNOTATION]
    until(world, lambda: world.status.get("currentStepIndex") == 3)
    world.ask("pause")
    world.one_pass()
    world.ask("resume")
    world.one_pass()
    world.resource["metadata"]["annotations"][actions.ANNOTATION] = annotation
    passes(world, 5)
    assert identity in world.status["earlierActionIds"]
    assert world.status["currentStepIndex"] == 3
    assert world.weights_by_version() == {"1": 50, "2": 50}


@pytest.mark.parametrize("stale", [{"step": 1}, {"revision": "0" * 10}, {"generation": 1}])
def test_a_stale_action(world: World, stale: dict[str, Any]):
    introduced(world, 3)
    assert not world.act("promote", **stale)["accepted"]
    assert not world.act("abort", **stale)["accepted"]
    passes(world, 5)
    assert world.status["currentStepIndex"] == 3
    assert world.weights_by_version() == {"1": 50, "2": 50}


def foreign(kind: str, name: str) -> dict[str, Any]:
    """A child of the ModelDeployment that is called like its endpoint, or has such a child."""
    owner = {"kind": "ModelDeployment", "name": name, "uid": "another", "controller": True}
    labels = {"cvfactory.dev/model-deployment": "cats-dogs"}
    return {
        "kind": kind,
        "metadata": {"name": name, "labels": labels, "uid": "x", "ownerReferences": [owner]},
        "spec": {"selector": {"mine": "yes"}},
    }


@pytest.mark.parametrize("kind", ["ConfigMap", "Deployment"])
def test_a_resource_named_like_another_ones_child_the_router(kind: str):
    world = settled(by("Service", canary()))
    world.foreign = [foreign(kind, "cats-dogs-router")]
    world.edit(by("Router", canary()))
    passes(world, 5)
    assert world.condition("Stalled") == ("True", reasons.NAME_CONFLICT)
    assert (kind, "cats-dogs-router") not in world.others
    assert world.weights_by_version() == {"1": 100}
    assert world.condition("Available")[0] == "True"
    world.foreign = []
    world.settle()
    assert world.status["phase"] == "Healthy"


def test_a_resource_named_like_another_ones_child_the_preview():
    blue_green = make_model_deployment().strategy("BlueGreen", blueGreen={"autoPromote": True})
    world = settled(make_model_deployment())
    world.foreign = [foreign("Service", "cats-dogs-preview")]
    world.edit(blue_green.version(2))
    passes(world, 5)
    assert world.condition("Stalled") == ("True", reasons.NAME_CONFLICT)
    assert ("Service", "cats-dogs-preview") not in world.others
    assert world.weights_by_version() == {"1": 100}


def test_a_resource_named_like_another_ones_child_a_revision(world: World):
    introduced(world, 1)
    three = f"cats-dogs-{revision_of(world, 3)}"
    world.foreign = [foreign("Deployment", three)]
    world.edit(edited(world, canary().version(3)))
    passes(world, 5)
    assert world.condition("Stalled") == ("True", reasons.NAME_CONFLICT)
    assert three not in world.deployments
    assert world.replicas_by_version()["1"] == 3


def revision_of(world: World, version: int) -> str:
    """The revision that a version would have, seen in a world of its own."""
    other = settled(make_model_deployment().version(version))
    return other.version_revision(str(version))


@pytest.mark.parametrize("index", [None, 1, 3])
def test_an_upgrade_of_the_operator(world: World, index: int | None, monkeypatch):
    if index is not None:
        introduced(world, index)
    passes(world, 5)
    before = copy.deepcopy([world.deployments, world.others])
    world.defaults = replace(
        world.defaults, server_image="example/server:2", router_image="example/router:2"
    )
    for module, builder in ((resources, "pod_template"), (router_objects, "_template")):
        made = getattr(module, builder)

        def later(*arguments: Any, made: Any = made, **named: Any) -> Any:
            template = made(*arguments, **named)
            template["spec"]["nodeSelector"] = {"a": "later release"}
            return template

        monkeypatch.setattr(module, builder, later)
    world.writes.clear()
    passes(world, 10)
    assert world.writes == []
    assert [world.deployments, world.others] == before


def test_a_crash_loop_that_keeps_its_weight(world: World):
    introduced(world, 1)
    world.container = lambda revision: (
        crashed(1, "boom") if world.version_of(revision) == "2" else None
    )
    world.play_pods()
    passes(world, 2)
    assert world.weights_by_version()["1"] == 100
    passes(world)
    assert world.status["lastFailure"]["reason"] == reasons.CONTAINER_CRASHED
    assert "boom" in world.status["message"]
    assert world.replicas_by_version() == {"1": 3, "2": 0}


def autoscaled(world: World, version: int) -> ModelDeploymentBuilder:
    limits = {"minReplicas": 2, "maxReplicas": 6}
    return edited(world, canary().version(version).spec(autoscaling=limits))


@pytest.mark.parametrize(
    ("verb", "left"), [("abort", {"1": 6, "2": 0}), ("promote", {"1": 0, "2": 6})]
)
def test_an_autoscaler_and_a_canary_together(world: World, verb: str, left: dict[str, int]):
    """Neither sizes what the other does: `World` refuses the operator's write, and the autoscaler
    may not take from stable what an abort would need.
    """
    world.edit(autoscaled(world, 1))
    world.settle()
    world.load(6)
    world.settle()
    in_step(world, 3, autoscaled(world, 2))
    world.load(2)
    passes(world)
    assert world.replicas_by_version()["1"] == 6
    assert world.act(verb)["accepted"]
    until(world, lambda: world.weights_by_version() in ({"1": 100}, {"2": 100}, {"1": 100, "2": 0}))
    assert len(world.pods_of(world.serving() or "")) == 6
    world.load(6)
    world.settle()
    assert world.replicas_by_version() == left
