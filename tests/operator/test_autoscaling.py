"""A size that an autoscaler decides: followed, never fought, and never lost on the way."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from typing import Any
from unittest.mock import ANY

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from model_operator import autoscaling
from model_operator.decide import decide
from model_operator.errors import ResolutionRefused
from tests.operator.builders import ModelDeploymentBuilder, make_model_deployment
from tests.operator.stories import canary, in_step, passes, until
from tests.operator.world import World

LIMITS = {"minReplicas": 2, "maxReplicas": 6, "targetCPUUtilizationPercentage": 70}


def autoscaled(
    resource: ModelDeploymentBuilder | None = None, **limits: int
) -> ModelDeploymentBuilder:
    return (resource or make_model_deployment()).spec(autoscaling={**LIMITS, **limits})


def live(resource: ModelDeploymentBuilder, pods: int = 3) -> World:
    """Version 1 serves with so many pods."""
    world = World(resource)
    world.settle()
    world.load(pods)
    world.settle()
    return world


def autoscaler(world: World) -> dict[str, Any]:
    return world.others[autoscaling.KIND, "cats-dogs"]


def limits(world: World) -> tuple[str | None, int, int]:
    """The version that is scaled, the least and the most."""
    spec = autoscaler(world)["spec"]
    revision = spec["scaleTargetRef"]["name"].removeprefix("cats-dogs-")
    return world.version_of(revision), spec["minReplicas"], spec["maxReplicas"]


def test_the_autoscaler_is_on_the_stable_revision_and_goes_by_cpu():
    world = live(autoscaled())
    assert limits(world) == ("1", 2, 6)
    (metric,) = autoscaler(world)["spec"]["metrics"]
    target = {"type": "Utilization", "averageUtilization": 70}
    assert metric == {"type": "Resource", "resource": {"name": "cpu", "target": target}}
    assert autoscaler(world)["apiVersion"] == "autoscaling/v2"


@pytest.mark.parametrize(("replicas", "pods"), [(0, 2), (1, 2), (3, 3), (9, 6)])
def test_the_first_pods_are_replicas_within_the_limits(replicas, pods):
    world = World(autoscaled(make_model_deployment().replicas(replicas)))
    world.settle()
    assert world.replicas_by_version() == {"1": pods}


def test_before_anything_serves_nothing_is_autoscaled():
    world = World(autoscaled())
    world.one_pass()
    assert (autoscaling.KIND, "cats-dogs") not in world.others


def test_what_the_autoscaler_decides_is_status_and_is_not_written():
    world = live(autoscaled())
    writes = len(world.writes)
    world.load(5)
    world.settle()
    assert world.replicas_by_version() == {"1": 5}
    assert world.status["replicas"] == 5
    assert world.condition("Ready") == ("True", "Complete")
    assert set(world.writes[writes:]) == {"status"}


def test_replicas_of_the_spec_are_not_enforced():
    world = live(autoscaled(), 5)
    world.edit(autoscaled(make_model_deployment().replicas(2)))
    world.settle()
    assert world.replicas_by_version() == {"1": 5}


@pytest.mark.parametrize("pods", [2, 3, 6])
def test_switching_it_on_changes_no_size(pods):
    world = live(make_model_deployment().replicas(pods))
    world.edit(autoscaled(make_model_deployment().replicas(pods)))
    world.settle()
    assert world.replicas_by_version() == {"1": pods}
    assert limits(world)[0] == "1"


def test_switching_it_off_keeps_the_pods_until_replicas_is_changed():
    world = live(autoscaled(), 6)
    world.edit(make_model_deployment())
    world.settle()
    assert (autoscaling.KIND, "cats-dogs") not in world.others
    assert world.replicas_by_version() == {"1": 6}
    world.edit(make_model_deployment().version(2))
    world.settle()
    assert world.replicas_by_version()["2"] == 6, "another edit keeps them too"
    world.edit(make_model_deployment().version(2).replicas(4))
    world.settle()
    assert world.replicas_by_version()["2"] == 4
    assert "autoscaled" not in world.status
    world.edit(make_model_deployment().version(2))
    world.settle()
    assert world.replicas_by_version()["2"] == 3


def test_what_is_switched_off_and_resized_in_one_edit_has_the_new_size():
    world = live(autoscaled(), 6)
    world.edit(make_model_deployment().replicas(2))
    world.settle()
    assert world.replicas_by_version() == {"1": 2}
    assert (autoscaling.KIND, "cats-dogs") not in world.others


@pytest.mark.parametrize("writes", [0, 1, 2])
def test_an_operator_that_dies_while_it_is_switched_off_forgets_no_pod(writes):
    world = live(autoscaled(), 6)
    world.edit(make_model_deployment())
    world.one_pass(dies_after=writes)
    world.settle()
    assert world.replicas_by_version() == {"1": 6}


@pytest.mark.parametrize("replicas", [2, 3])
def test_whatever_stands_in_the_way_an_autoscaler_that_is_switched_off_goes(replicas):
    world = live(autoscaled(), 3)
    world.resolution_error = ResolutionRefused("ModelNotFound", "there is no version 2")
    world.edit(make_model_deployment().version(2).replicas(replicas))
    world.settle()
    assert (autoscaling.KIND, "cats-dogs") not in world.others


def test_an_autoscaler_that_could_not_be_deleted_yet_is_not_forgotten():
    world = live(autoscaled(), 3)
    world.edit(make_model_deployment())
    foreign = {"kind": "ConfigMap", "metadata": {"name": "cats-dogs-taken"}}
    world.foreign = [foreign]
    passes(world)
    assert (autoscaling.KIND, "cats-dogs") in world.others
    assert world.status["autoscaled"]
    world.foreign = []
    world.settle()
    assert (autoscaling.KIND, "cats-dogs") not in world.others
    assert "autoscaled" not in world.status


def test_an_autoscaler_whose_end_is_held_up_is_deleted_once_and_looked_for_now_and_then():
    world = live(autoscaled(), 3)
    world.edit(make_model_deployment())
    held = world.others[(autoscaling.KIND, "cats-dogs")]
    held["metadata"] = {**held["metadata"], "deletionTimestamp": "2026-01-02T03:04:05Z"}
    last = passes(world).one_pass()
    assert not last.deletes
    assert last.requeue_after == autoscaling.ENDING_POLL
    assert world.status["autoscaled"]


def test_a_lost_status_is_no_reason_to_lose_pods():
    world = live(autoscaled(), 6)
    world.edit(make_model_deployment())
    world.lose_status()
    world.settle()
    assert world.replicas_by_version() == {"1": 6}


def test_an_invalid_spec_leaves_it_as_it_is():
    world = live(autoscaled(), 5)
    world.edit(make_model_deployment().spec(autoscaling={"minReplicas": 3, "maxReplicas": 1}))
    world.settle()
    assert world.condition("Stalled") == ("True", "InvalidSpec")
    world.load(6)
    world.settle()
    assert world.replicas_by_version() == {"1": 6}
    assert limits(world) == ("1", 2, 6)


def test_while_a_canary_takes_requests_the_autoscaler_may_not_shrink_stable():
    world = live(autoscaled(canary()), 6)
    in_step(world, 1, autoscaled(canary().version(2)))
    assert limits(world) == ("1", 6, 6)
    world.load(2)
    passes(world)
    assert world.replicas_by_version()["1"] == 6
    assert world.replicas_by_version()["2"] == 2


def test_a_stable_that_grows_in_a_canary_is_followed_and_does_not_shrink_again():
    world = live(autoscaled(canary(), maxReplicas=12), 4)
    in_step(world, 1, autoscaled(canary().version(2), maxReplicas=12))
    world.load(8)
    passes(world)
    assert world.replicas_by_version() == {"1": 8, "2": 3}
    assert limits(world) == ("1", 8, 12)


def test_a_promotion_takes_the_autoscaler_along_and_the_number_of_pods_stays():
    world = live(autoscaled(canary()), 6)
    in_step(world, 3, autoscaled(canary().version(2)))
    assert world.act("promote")["accepted"]
    until(world, lambda: world.serving_version() == "2")
    assert len(world.serving_pods()) == 6
    assert limits(world) == ("2", 6, 6)
    world.settle()
    assert limits(world) == ("2", 2, 6)
    assert world.replicas_by_version() == {"1": 0, "2": 6}


@pytest.mark.parametrize("provider", ["Service", "Router"])
@pytest.mark.parametrize("count", range(8))
def test_an_autoscaler_that_wants_more_in_the_middle_of_a_switch_gets_them(
    provider: str, count: int
):
    """`World` checks that nobody else sizes what it does."""
    resource = autoscaled(make_model_deployment().spec(traffic={"provider": provider}))
    world = live(resource, 4)
    world.edit(resource.version(2))
    passes(world, count)
    scaled = limits(world)[0]
    world.load(5)
    world.settle()
    assert world.replicas_by_version() == {"1": 0, "2": 5 if scaled == "2" else ANY}


def test_an_aborted_canary_leaves_stable_with_all_its_pods():
    world = live(autoscaled(canary()), 6)
    in_step(world, 1, autoscaled(canary().version(2)))
    assert world.act("abort")["accepted"]
    world.settle()
    assert world.replicas_by_version() == {"1": 6, "2": 0}
    assert limits(world) == ("1", 2, 6)


def aborted(world: World) -> None:
    assert world.act("abort")["accepted"]


def replaced(world: World) -> None:
    world.edit(autoscaled(canary().version(3)))


def reverted(world: World) -> None:
    world.edit(autoscaled(canary()))


@pytest.mark.parametrize("end", [aborted, replaced, reverted])
def test_requests_that_come_back_find_every_pod_although_the_autoscaler_has_not_heard_of_them(end):
    world = live(autoscaled(canary()), 6)
    in_step(world, 1, autoscaled(canary().version(2)))
    end(world)
    for _ in range(100):
        world.load(2)
        passes(world, 1)
        assert world.replicas_by_version()["1"] == 6


def test_two_minutes_after_a_rollout_the_autoscaler_is_free_again_and_not_before():
    world = live(autoscaled(canary()), 6)
    in_step(world, 3, autoscaled(canary().version(2)))
    assert world.act("promote")["accepted"]
    until(world, lambda: world.condition("Ready") == ("True", "Complete"))
    ended = world.now
    world.load(2)
    until(world, lambda: limits(world) == ("2", 2, 6))
    assert abs(world.now - ended - autoscaling.SETTLING) <= timedelta(seconds=2)
    assert world.replicas_by_version()["2"] == 6
    world.load(2)
    world.settle()
    assert world.replicas_by_version()["2"] == 2
    assert world.status["autoscaled"] == {"requested": 3}


@pytest.mark.parametrize("writes", range(5))
def test_an_operator_that_dies_as_a_rollout_ends_holds_the_size_all_the_same(writes):
    world = live(autoscaled(canary()), 6)
    in_step(world, 1, autoscaled(canary().version(2)))
    world.ask("abort")
    world.one_pass(dies_after=writes)
    for _ in range(100):
        world.load(2)
        passes(world, 1)
        assert world.replicas_by_version()["1"] == 6


def test_after_the_first_start_nothing_is_held():
    world = World(autoscaled())
    until(world, lambda: world.condition("Ready") == ("True", "Complete"))
    assert limits(world) == ("1", 2, 6)


def test_a_rollback_starts_as_many_pods_as_serve():
    world = live(autoscaled(), 3)
    world.edit(autoscaled(make_model_deployment().version(2)))
    world.settle()
    world.load(6)
    world.settle()
    assert world.act("rollback", revision=world.version_revision("1"))["accepted"]
    until(world, lambda: world.serving_version() == "1")
    assert len(world.serving_pods()) == 6


def test_recreate_starts_as_many_pods_as_it_has_ended():
    world = live(autoscaled(make_model_deployment().strategy("Recreate")), 5)
    world.edit(autoscaled(make_model_deployment().strategy("Recreate").version(2)))
    world.settle()
    assert world.serving_version() == "2"
    assert world.replicas_by_version() == {"1": 0, "2": 5}


def test_an_older_cluster_has_it_in_an_earlier_version():
    world = live(make_model_deployment())
    world.edit(autoscaled())
    seen = world.observed()
    plan = decide(replace(seen, autoscaling_api="v2beta2"), world.now)
    assert [b["apiVersion"] for b in plan.applies] == ["autoscaling/v2beta2"]
    without = decide(replace(seen, autoscaling_api=None), world.now)
    assert "leave spec.autoscaling out" in str(without.status)


OPERATIONS = st.lists(
    st.one_of(
        st.tuples(st.just("load"), st.integers(0, 8)),
        st.tuples(st.just("version"), st.integers(1, 3)),
        st.tuples(st.just("switch"), st.booleans()),
        st.tuples(st.just("dies"), st.integers(0, 4)),
        st.tuples(st.just("act"), st.sampled_from(["promote", "abort", "retry"])),
        st.tuples(st.just("passes"), st.integers(1, 30)),
        st.tuples(st.just("lost"), st.none()),
    ),
    max_size=20,
)


@settings(max_examples=150, deadline=None)
@given(
    OPERATIONS,
    st.sampled_from(["Standard", "Canary", "BlueGreen", "Shadow"]),
    st.sampled_from(["Service", "Router"]),
)
def test_nothing_that_is_done_brings_less_pods_than_the_autoscaler_left(told, kind, provider):
    """`World` checks at each write that the operator never sizes what the autoscaler does."""
    base = canary() if kind == "Canary" else make_model_deployment().strategy(kind)
    base = base.spec(traffic={"provider": provider})
    resource = autoscaled(base)
    world = live(resource, 4)
    for what, value in told:
        if what == "load":
            world.load(value)
            world.play_pods()
            continue
        before = len(world.pods_of(world.serving() or ""))
        if what == "version":
            resource = resource.version(value)
            world.edit(resource)
        elif what == "switch":
            resource = autoscaled(resource) if value else resource.spec(autoscaling=None)
            world.edit(resource)
        elif what == "act":
            world.ask(value)
        elif what == "lost" and (autoscaling.KIND, "cats-dogs") in world.others:
            world.lose_status()  # later nothing else knows of pods that spec does not ask for
        elif what == "dies":
            world.one_pass(dies_after=value)
        passes(world, value if what == "passes" else 1)
        assert len(world.pods_of(world.serving() or "")) >= before
    world.settle_quickly()
