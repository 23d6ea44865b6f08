"""Whose rollout may begin, and what a rollout looks like that may not."""

from __future__ import annotations

import copy
import functools
from dataclasses import replace
from typing import Any
from unittest.mock import Mock

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from model_operator import reasons, reconcile, standing
from model_operator.decide import decide
from model_operator.errors import ApiError
from model_operator.plan import Plan
from model_operator.runtime.turns import Turns
from tests.operator.builders import make_model_deployment
from tests.operator.stories import canary, hold
from tests.operator.world import World


class Crowded(World):
    """One resource among others that are rolled out."""

    elsewhere: int | None = None

    def observed(self) -> Any:
        return replace(super().observed(), rollouts_elsewhere=self.elsewhere)


def serving(world: World) -> dict[str, int]:
    """The wanted pods by version, of those that are to have any."""
    return {name: pods for name, pods in world.replicas_by_version().items() if pods}


def ready(world: World) -> tuple[str, str]:
    (found,) = (c for c in world.status["conditions"] if c["type"] == reasons.READY)
    return found["reason"], found["message"]


@pytest.mark.parametrize("strategy", ["Standard", "Recreate", "Canary", "BlueGreen", "Shadow"])
def test_a_rollout_that_has_no_turn_starts_nothing_and_goes_on_when_it_has_one(strategy: str):
    first = canary({"setWeight": 50}) if strategy == "Canary" else make_model_deployment()
    if strategy != "Canary":
        first = first.strategy(strategy)
    world = Crowded(first)
    world.settle()
    world.elsewhere = 20
    world.edit(first.version(2))
    for _ in range(5):
        world.one_pass()
        world.play_pods()
        world.wait(1000)
    assert serving(world) == {"1": 3}
    reason, words = ready(world)
    assert reason == reasons.WAITING_FOR_TURN
    assert "waits for its turn: 20 rollouts are under way" in words
    assert world.status["phase"] == "Progressing"
    assert standing.waits_for_its_turn(world.status)
    assert not standing.rolls_out(world.status)
    world.elsewhere = None
    world.one_pass()
    assert standing.rolls_out(world.status), "its deadline begins now"


def test_what_has_begun_goes_on_however_many_others_there_are():
    world = Crowded(make_model_deployment())
    world.settle()
    world.edit(make_model_deployment().version(2))
    world.one_pass()
    world.elsewhere = 1
    world.settle()
    assert serving(world) == {"2": 3}


def test_a_canary_that_waits_for_its_pause_to_end_keeps_nobody_from_beginning():
    world = Crowded(canary({"setWeight": 34}, {"pause": {"duration": "1h"}}))
    world.settle()
    world.edit(canary({"setWeight": 34}, {"pause": {"duration": "1h"}}).version(2))
    world.one_pass()
    assert standing.rolls_out(world.status), "its pods start"
    for _ in range(60):
        world.one_pass()
        world.play_pods()
        world.wait(1)
    assert ready(world)[0] == reasons.INTRODUCING
    assert standing.is_under_way(world.status)
    assert not standing.rolls_out(world.status)


def test_a_rollout_that_needs_no_place_is_under_way_all_the_same():
    """What is stuck must not look as if there were nothing: the alert goes by the oldest."""
    now, woken = [0.0], []
    turns = Turns[str](1, woken.append, lambda: now[0])
    turns.know("a", rolling=False)
    turns.know_all()
    now[0] = 7200.0
    assert (len(turns), turns.oldest()) == (1, 7200.0)
    assert turns.take("b"), "the place is free"
    turns.tell("b", rolling=True, waits=False)
    turns.tell("a", rolling=False, waits=False, under_way=True)
    assert (len(turns), turns.oldest()) == (2, 7200.0)
    turns.tell("a", rolling=False, waits=False)
    assert (len(turns), turns.oldest()) == (1, 0.0)


def test_a_first_revision_and_a_rollback_wait_for_nobody():
    world = Crowded(make_model_deployment())
    world.elsewhere = 1
    world.settle()
    assert serving(world) == {"1": 3}
    world.elsewhere = None
    before = world.status["stable"]["revision"]
    world.edit(make_model_deployment().version(2))
    world.settle()
    world.elsewhere = 1
    world.act("rollback", revision=before)
    world.settle()
    assert serving(world) == {"1": 3}


def test_a_pass_in_the_crowd_changes_nothing_of_what_is_settled():
    world = World(make_model_deployment())
    world.settle()
    crowded = replace(world.observed(), rollouts_elsewhere=1)
    assert not decide(crowded, world.now).writes


KEYS = st.integers(0, 9)
LIMIT = 3


@given(st.lists(st.tuples(KEYS, st.booleans()), max_size=60))
def test_never_more_begin_than_may_and_somebody_waits_only_while_the_limit_is_reached(
    passes: list[tuple[int, bool]],
):
    woken: list[int] = []
    turns = Turns[int](LIMIT, woken.append)
    turns.know_all()
    rolling: set[int] = set()
    waiting: dict[int, None] = {}
    for key, wants in passes:
        before = set(rolling)
        may = turns.take(key)
        begins = wants and may
        turns.tell(key, rolling=begins, waits=wants and not may)
        rolling = rolling | {key} if begins else rolling - {key}
        if wants and not may:
            waiting.setdefault(key)  # who waits on keeps the place
        else:
            waiting.pop(key, None)
        assert len(rolling) <= LIMIT
        assert len(turns) == len(rolling)
        assert may == (key in before or len(before) < LIMIT)
        assert turns.waiting == len(waiting)
        if len(rolling) < LIMIT and waiting:
            assert next(iter(waiting)) in woken, "the one that waited longest was woken"


def test_before_everything_is_known_only_what_was_under_way_goes_on():
    woken: list[str] = []
    turns = Turns[str](2, woken.append)
    turns.know("old", rolling=True)
    assert turns.take("old")
    assert not turns.take("new")
    turns.tell("new", rolling=False, waits=True)
    turns.tell("old", rolling=True, waits=False)
    assert woken == []
    turns.know_all()
    assert woken == ["new"]
    assert turns.take("new")


def test_who_failed_is_not_woken_before_its_pause_is_over_and_the_others_are():
    woken: list[str] = []
    turns = Turns[str](1, woken.append)
    turns.know("old", rolling=True)
    turns.know_all()
    for key in ("first", "second"):
        turns.tell(key, rolling=False, waits=True)
    turns.tell("old", rolling=False, waits=False)
    assert woken == ["first"]
    for key in ("first", "second"):
        assert turns.take(key)
        turns.tell(key, rolling=False, waits=True, failed=True)
    assert woken == ["first", "second"], "and nobody again, or they would take turns without end"
    turns.take("first")
    turns.tell("first", rolling=True, waits=False)
    turns.tell("second", rolling=False, waits=True)
    turns.tell("first", rolling=False, waits=False)
    assert woken == ["first", "second", "second"]


async def test_a_pass_whose_writes_fail_does_not_wake_its_own_resource(
    monkeypatch: pytest.MonkeyPatch,
):
    world = Crowded(make_model_deployment())
    world.settle()
    world.elsewhere = 1
    world.edit(make_model_deployment().version(2))
    world.one_pass()
    assert standing.waits_for_its_turn(world.status)
    world.elsewhere = None

    async def observe(*_: object) -> Any:
        return world.observed()

    async def refuse(*_: object) -> None:
        raise ApiError(429, "later", retry_after=7)

    woken: list[object] = []
    turns = Turns[Any](1, woken.append)
    turns.know_all()
    monkeypatch.setattr(reconcile, "observe", observe)
    monkeypatch.setattr(reconcile, "apply", refuse)
    reconciler = reconcile.Reconciler(Mock(), Mock(), clock=lambda: world.now, turns=turns)
    with pytest.raises(ApiError):
        await reconciler.reconcile("vision", "cats-dogs")
    assert (turns.waiting, len(turns), woken) == (1, 0, [])


def test_a_pass_over_what_is_settled_wakes_nobody():
    woken: list[str] = []
    turns = Turns[str](1, woken.append)
    turns.know_all()
    turns.tell("waits", rolling=False, waits=True)
    assert woken == ["waits"]
    turns.tell("settled", rolling=False, waits=False)
    assert woken == ["waits"]


def test_without_a_limit_nobody_waits():
    turns = Turns[int](0, lambda _: None)
    assert all(turns.take(key) for key in range(1000))


def test_the_age_of_the_oldest_rollout_counts_from_when_it_began_and_outlives_other_passes():
    now = [100.0]
    turns = Turns[str](0, lambda _: None, lambda: now[0])
    assert turns.oldest() == 0
    for key in ("first", "second"):
        turns.take(key)
        turns.tell(key, rolling=True, waits=False)
        now[0] += 10
    turns.take("first")
    turns.tell("first", rolling=True, waits=False)
    assert turns.oldest() == 20
    turns.tell("first", rolling=False, waits=False)
    assert turns.oldest() == 10
    turns.tell("second", rolling=False, waits=False)
    assert turns.oldest() == 0


def test_a_rollout_that_failed_waits_for_somebody_and_one_that_succeeded_does_not(live: World):
    assert not standing.is_stalled(live.status)
    hold(live, "2")
    live.edit(make_model_deployment().version(2))
    live.settle()
    assert standing.is_stalled(live.status)
    live.edit(make_model_deployment().version(3))
    live.settle()
    assert not standing.is_stalled(live.status)


class Estate:
    """Some resources under one limit, and passes over them that run at the same time."""

    def __init__(self, size: int) -> None:
        self.woken: list[int] = []
        self.turns = Turns[int](LIMIT_OF_ESTATE, self.woken.append)
        self.turns.know_all()
        self.worlds = [copy.deepcopy(_at_rest()) for _ in range(size)]
        self.under_way: dict[int, Plan] = {}

    def release(self, number: int) -> None:
        self.worlds[number].edit(make_model_deployment().version(2))

    def begin(self, number: int) -> None:
        """A pass up to its writes."""
        world = self.worlds[number]
        plan = reconcile.decide_in_turn(self.turns, number, world.observed(), world.now)
        self.under_way[number] = plan
        if plan.waits_for_turn:
            assert len(self.moving()) >= LIMIT_OF_ESTATE, "nobody else is under way"

    def end(self, number: int) -> None:
        """The pass writes, its status included, and tells how it has left the resource."""
        world, plan = self.worlds[number], self.under_way.pop(number)
        for write in world._writes_of(plan):
            write()
        told = world.resource["status"]
        rolling, waits = standing.rolls_out(told), standing.waits_for_its_turn(told)
        self.turns.tell(number, rolling=rolling, waits=waits)
        world.play_pods()
        world.wait(40)

    def moving(self) -> set[int]:
        """Whose rollout is under way by status, or is by the pass that runs."""
        told = {number: dict(world.resource["status"]) for number, world in enumerate(self.worlds)}
        planned = {n: dict(plan.status) for n, plan in self.under_way.items() if plan.status}
        return {
            number
            for number, status in told.items()
            if standing.rolls_out(status) or standing.rolls_out(planned.get(number, {}))
        }


LIMIT_OF_ESTATE = 1


@functools.cache
def _at_rest() -> World:
    world = World(make_model_deployment())
    world.settle()
    return world


ESTATE = 3
happenings = st.lists(
    st.tuples(st.sampled_from(["release", "pass", "pass"]), st.integers(0, ESTATE - 1)),
    max_size=40,
)


@settings(max_examples=25, suppress_health_check=[HealthCheck.too_slow])
@given(happenings)
def test_with_passes_at_the_same_time_only_what_would_begin_waits_and_only_for_what_is_under_way(
    story: list[tuple[str, int]],
):
    estate = Estate(ESTATE)
    for what, number in story:
        if what == "release":
            estate.release(number)
        elif number in estate.under_way:
            estate.end(number)
        else:
            estate.begin(number)
        assert len(estate.moving()) <= LIMIT_OF_ESTATE
    for _ in range(30):
        for number in range(ESTATE):
            if number not in estate.under_way:
                estate.begin(number)
            estate.end(number)
    assert len(estate.turns) == estate.turns.waiting == 0
    assert all(world.status["phase"] == "Healthy" for world in estate.worlds)


def test_a_pass_over_what_is_settled_makes_nobody_wait():
    estate = Estate(2)
    estate.begin(0)
    estate.release(1)
    estate.begin(1)
    assert not estate.under_way[1].waits_for_turn
    estate.end(1)
    assert reasons.WAITING_FOR_TURN not in str(estate.worlds[1].status)
    estate.end(0)


def test_one_that_is_under_way_is_spoken_of_as_one():
    world = Crowded(make_model_deployment())
    world.settle()
    world.elsewhere = 1
    world.edit(make_model_deployment().version(2))
    world.one_pass()
    assert "waits for its turn: 1 rollout is under way, as many as may be" in ready(world)[1]
