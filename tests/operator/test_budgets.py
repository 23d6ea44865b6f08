"""PodDisruptionBudgets: whose pods a drain of nodes may take one at a time."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from model_operator import budgets, naming
from model_operator.decide import decide
from tests.operator.builders import ModelDeploymentBuilder, make_model_deployment
from tests.operator.stories import canary, in_step, passes, until
from tests.operator.world import World

ROUTER = {"provider": "Router"}


def settled(resource: ModelDeploymentBuilder) -> World:
    world = World(resource)
    world.settle()
    return world


def covered(world: World) -> set[str | None]:
    """The versions whose pods are under a budget."""
    found = set()
    for name, selector in world.budgets().items():
        revision = selector.get(naming.REVISION_LABEL)
        if revision is not None:
            assert name == naming.revision_child("cats-dogs", revision)
            assert selector == naming.pod_selector("cats-dogs", revision)
            found.add(world.version_of(revision))
    return found


def budget(world: World, version: str) -> dict[str, Any]:
    name = naming.revision_child("cats-dogs", world.version_revision(version))
    return world.others[budgets.KIND, name]


def test_what_serves_on_several_pods_has_a_budget_over_its_own_pods(live: World):
    body = budget(live, "1")
    assert body["apiVersion"] == "policy/v1"
    assert body["spec"]["maxUnavailable"] == 1
    assert body["metadata"]["ownerReferences"][0]["controller"] is True
    assert body["metadata"]["labels"][naming.OWNER_LABEL] == "cats-dogs"
    assert covered(live) == {"1"}


@pytest.mark.parametrize("replicas", [0, 1])
def test_a_single_pod_has_none(replicas: int):
    assert covered(settled(make_model_deployment().replicas(replicas))) == set()


def test_it_comes_with_the_second_pod_and_goes_with_it():
    world = settled(make_model_deployment().replicas(1))
    world.edit(make_model_deployment().replicas(2))
    world.one_pass()
    assert covered(world) == {"1"}
    world.edit(make_model_deployment().replicas(1))
    world.settle()
    assert covered(world) == set()


def test_before_a_revision_serves_it_has_none():
    world = World(make_model_deployment())
    passes(world, 1)
    assert covered(world) == set()
    world.settle()
    world.edit(make_model_deployment().version(2))
    passes(world, 1)
    assert covered(world) == {"1"}


def test_it_is_there_before_the_first_request_and_stays_until_the_pods_are_stopped(live: World):
    live.edit(make_model_deployment().version(2))
    until(live, lambda: live.serving_version() == "2")
    assert covered(live) == {"1", "2"}
    live.settle()
    assert covered(live) == {"2"}


def test_a_canary_has_one_from_its_second_pod_on():
    world = settled(canary())
    in_step(world, 1, canary().version(2))
    assert world.replicas_by_version()["2"] == 1
    assert covered(world) == {"1"}
    in_step(world, 3, canary().version(2))
    assert world.replicas_by_version()["2"] == 3
    assert covered(world) == {"1", "2"}
    assert world.act("abort")["accepted"]
    world.settle()
    assert covered(world) == {"1"}


def test_a_shadow_has_none():
    world = settled(make_model_deployment().strategy("Shadow"))
    world.edit(make_model_deployment().strategy("Shadow").version(2))
    until(world, lambda: ("ConfigMap", "cats-dogs-mirror") in world.others)
    assert covered(world) == {"1"}


def test_what_waits_on_the_preview_has_none_until_it_is_promoted():
    resource = make_model_deployment().strategy("BlueGreen", blueGreen={"autoPromote": False})
    world = settled(resource)
    in_step(world, 1, resource.version(2))
    assert covered(world) == {"1"}
    assert world.act("promote")["accepted"]
    until(world, lambda: world.serving_version() == "2")
    assert covered(world) == {"1", "2"}


def test_nothing_that_was_stopped_by_strategy_recreate_has_one():
    resource = make_model_deployment().strategy("Recreate")
    world = settled(resource)
    world.edit(resource.version(2))
    world.one_pass()
    assert world.replicas_by_version() == {"1": 0}
    world.one_pass()
    assert covered(world) == set()
    world.settle()
    assert covered(world) == {"2"}


def test_the_routers_budget_is_left_to_the_router():
    world = settled(make_model_deployment().spec(traffic=ROUTER))
    assert covered(world) == {"1"}
    assert "cats-dogs-router" in world.budgets()


def test_an_older_cluster_has_it_in_an_earlier_version_and_one_without_it_serves_all_the_same():
    world = World(make_model_deployment())
    passes(world, 1)
    seen = world.observed()
    plan = decide(replace(seen, budget_api="v1beta1"), world.now)
    versions = [b["apiVersion"] for b in plan.applies if b["kind"] == budgets.KIND]
    assert versions == ["policy/v1beta1"]
    without = decide(replace(seen, budget_api=None), world.now)
    kinds = [body["kind"] for body in without.applies]
    assert budgets.KIND not in kinds
    assert "Service" in kinds


def test_what_somebody_has_changed_or_deleted_is_mended(live: World):
    budget(live, "1")["spec"]["maxUnavailable"] = 0
    live.one_pass()
    assert budget(live, "1")["spec"]["maxUnavailable"] == 1
    name = naming.revision_child("cats-dogs", live.version_revision("1"))
    del live.others[budgets.KIND, name]
    live.one_pass()
    assert covered(live) == {"1"}
    writes = len(live.writes)
    live.one_pass()
    assert len(live.writes) == writes


def test_one_whose_revision_was_forgotten_goes(live: World):
    left = {**budget(live, "1")}
    name = naming.revision_child("cats-dogs", "0123456789")
    left["metadata"] = {**left["metadata"], "name": name, "uid": "left"}
    live.others[budgets.KIND, name] = left
    live.one_pass()
    assert set(live.budgets()) == {naming.revision_child("cats-dogs", live.serving() or "")}


@pytest.mark.parametrize("writes", range(8))
def test_an_operator_that_dies_leaves_none_behind(live: World, writes: int):
    live.edit(make_model_deployment().version(2))
    until(live, lambda: live.serving_version() == "2")
    live.wait(60)
    live.one_pass(dies_after=writes)
    live.settle()
    assert covered(live) == {"2"}


OPERATIONS = st.lists(
    st.one_of(
        st.tuples(st.just("version"), st.integers(1, 3)),
        st.tuples(st.just("replicas"), st.integers(0, 4)),
        st.tuples(st.just("dies"), st.integers(0, 6)),
        st.tuples(st.just("act"), st.sampled_from(["promote", "abort", "retry"])),
        st.tuples(st.just("passes"), st.integers(1, 30)),
        st.tuples(st.just("lost"), st.none()),
    ),
    max_size=15,
)


@settings(max_examples=100, deadline=None)
@given(
    OPERATIONS,
    st.sampled_from(["Standard", "Canary", "BlueGreen", "Shadow", "Recreate"]),
    st.sampled_from(["Service", "Router"]),
)
def test_whatever_is_done_only_what_serves_on_several_pods_has_one_in_the_end(told, kind, provider):
    """`World` checks at each write that no request goes to several pods without a budget, and
    that no pod is under two.
    """
    base = canary() if kind == "Canary" else make_model_deployment().strategy(kind)
    resource = base.spec(traffic={"provider": provider})
    world = settled(resource)
    for what, value in told:
        if what == "version":
            resource = resource.version(value)
            world.edit(resource)
        elif what == "replicas":
            resource = resource.replicas(value)
            world.edit(resource)
        elif what == "act":
            world.ask(value)
        elif what == "lost":
            world.lose_status()
        elif what == "dies":
            world.one_pass(dies_after=value)
        passes(world, value if what == "passes" else 1)
    if world.status.get("canary"):
        world.ask("abort")
    world.settle_quickly()
    sizes = world.replicas_by_version()
    assert covered(world) == {version for version, size in sizes.items() if size and size > 1}
