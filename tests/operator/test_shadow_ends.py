"""How a shadow ends: nobody else is ever given the address to which copies are still sent."""

from __future__ import annotations

import copy
import functools
from collections.abc import Callable

import pytest

from tests.operator.builders import ModelDeploymentBuilder, make_model_deployment
from tests.operator.world import World

CONFIG_MAP = ("ConfigMap", "cats-dogs-mirror")
SERVICE = ("Service", "cats-dogs-shadow")
TOLD = "cvfactory.dev/mirror"
SLOWEST_KUBELET = 90
"""Seconds until one that is not hurried has looked at what is mounted."""


def shadow() -> ModelDeploymentBuilder:
    return make_model_deployment().strategy("Shadow", shadow={"minSamples": 100})


@functools.cache
def _mirroring() -> World:
    world = World(shadow())
    world.settle()
    world.edit(shadow().version(2))
    for _ in range(6):
        world.one_pass()
        world.play_pods()
        world.wait(0.5)
    assert "data" in world.others[CONFIG_MAP]
    assert len(set(told(world).values())) == 1
    return world


@pytest.fixture
def world() -> World:
    """Version 2 gets copies, and every pod of version 1 was told to send them."""
    return copy.deepcopy(_mirroring())


def told(world: World) -> dict[str, str]:
    """What each pod of version 1 was told of the mirror last."""
    pods = world.pods_of(world.version_revision("1"))
    return {
        pod["metadata"]["name"]: pod["metadata"].get("annotations", {}).get(TOLD, "")
        for pod in pods
    }


def abort(world: World) -> None:
    assert world.act("abort")["accepted"]


def promote(world: World) -> None:
    assert world.act("promote")["accepted"]


def replace(world: World) -> None:
    world.edit(shadow().version(3))


def revert(world: World) -> None:
    world.edit(shadow())


def another_strategy(world: World) -> None:
    world.edit(make_model_deployment().strategy("Standard").version(2))


def a_preview_instead(world: World) -> None:
    world.edit(make_model_deployment().strategy("BlueGreen").version(2))


ENDS = (abort, promote, revert, another_strategy, a_preview_instead)


def until_ended(world: World, *, tick: float = 1) -> None:
    """Looks until the settings are gone from what is mounted."""
    for _ in range(20):
        if "data" not in world.others.get(CONFIG_MAP, {}):
            return
        world.one_pass()
        world.play_pods()
        world.wait(tick)
    raise AssertionError("copies go on")


@pytest.mark.parametrize("end", ENDS)
def test_at_the_end_the_pods_that_mirror_are_told_at_once(
    world: World, end: Callable[[World], None]
):
    before = set(told(world).values())
    end(world)
    until_ended(world)
    world.one_pass()
    after = set(told(world).values())
    assert len(after) == 1
    assert after != before
    assert CONFIG_MAP in world.others


@pytest.mark.parametrize("end", ENDS)
def test_the_address_is_kept_until_the_slowest_pod_has_noticed(
    world: World, end: Callable[[World], None]
):
    end(world)
    until_ended(world)
    address = world.others[SERVICE]["spec"]["clusterIP"]
    for _ in range(SLOWEST_KUBELET):
        world.one_pass()
        world.play_pods()
        world.wait(1)
        assert world.others[SERVICE]["spec"]["clusterIP"] == address
    world.settle()
    assert SERVICE not in world.others
    assert CONFIG_MAP not in world.others


def test_a_pass_comes_by_itself_when_the_address_may_be_given_back(world: World):
    abort(world)
    world.settle_quickly()
    assert SERVICE not in world.others
    assert CONFIG_MAP not in world.others


def test_nothing_but_that_waits_for_it(world: World):
    promote(world)
    for _ in range(60):
        world.one_pass()
        world.play_pods()
        world.wait(1)
    assert SERVICE in world.others
    assert world.status["phase"] == "Healthy"
    assert world.condition("Ready")[0] == "True"
    assert world.replicas_by_version() == {"1": 0, "2": 3}


def test_a_third_revision_gets_copies_at_the_same_address(world: World):
    address = world.others[SERVICE]["spec"]["clusterIP"]
    before = set(told(world).values())
    replace(world)
    emptied = False
    for _ in range(30):
        world.one_pass()
        world.play_pods()
        world.wait(1)
        assert world.others[SERVICE]["spec"]["clusterIP"] == address
        emptied = emptied or "data" not in world.others[CONFIG_MAP]
    selected = world.others[SERVICE]["spec"]["selector"]["cvfactory.dev/revision"]
    assert emptied
    assert world.version_of(selected) == "3"
    assert set(told(world).values()) == before
    assert "data" in world.others[CONFIG_MAP]


def test_without_a_mirror_its_service_goes_at_once():
    world = World(shadow())
    world.settle()
    world.edit(shadow().version(2))
    for _ in range(9):
        if SERVICE in world.others:
            break
        world.one_pass(dies_after=1)
        world.play_pods()
    assert CONFIG_MAP not in world.others
    abort(world)
    for _ in range(3):
        world.one_pass()
    assert SERVICE not in world.others


def writes_of(world: World, end: Callable[[World], None], *, dies_after: int | None) -> list[str]:
    """The writes from the end on, each of the first passes dying; what pods were told left out."""
    end(world)
    mark = len(world.writes)
    for number in range(12):
        world.one_pass(dies_after=dies_after if number < 6 else None)
        world.play_pods()
        world.wait(1)
    world.settle()
    beside = ("apply ConfigMap", "delete ConfigMap", "delete Service")
    return [write for write in world.writes[mark:] if write in beside]


@pytest.mark.parametrize("end", [promote, revert, another_strategy])
@pytest.mark.parametrize("dies_after", [0, 1, 2, 3])
def test_an_operator_that_dies_at_any_write_ends_it_by_the_same_writes(
    end: Callable[[World], None], dies_after: int
):
    whole = writes_of(copy.deepcopy(_mirroring()), end, dies_after=None)
    disturbed = writes_of(copy.deepcopy(_mirroring()), end, dies_after=dies_after)
    assert whole == ["apply ConfigMap", "delete ConfigMap", "delete Service"]
    assert disturbed == whole
