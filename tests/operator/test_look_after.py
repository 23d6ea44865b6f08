"""A pass that has settled a resource makes the one over its own status needless, and only that."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from typing import Any
from unittest.mock import AsyncMock, Mock

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from model_operator import api, reconcile, standing
from model_operator.clients.transport import Body
from model_operator.clients.view import View
from model_operator.decide import decide
from model_operator.observed import Observed
from model_operator.plan import Delete, Plan
from model_operator.reconcile import look_after
from model_operator.runtime.turns import Turns
from tests.operator.builders import crashed, make_model_deployment
from tests.operator.world import World


def one_pass(world: World) -> tuple[bool, bool]:
    """Makes one pass; whether the next is said to be needless, and whether that would do nothing
    and ask to be looked at again at the same moment.
    """
    observed = world.observed()
    plan = world.one_pass()
    if plan.status is None:
        return False, True
    then = look_after(observed, plan, world.resource, world.now)
    following = decide(world.observed(), world.now)
    nothing = not (following.writes or following.events)
    same = then is not None and then.requeue_after == following.requeue_after
    return then is not None, nothing and (then is None or same)


def test_the_last_pass_of_a_first_revision_needs_none_after_it():
    world = World(make_model_deployment())
    needless = []
    while not standing.is_settled(world.resource):
        needless.append(one_pass(world)[0])
        world.play_pods()
    assert needless[-1]
    assert not any(needless[:-1])


def settling(live: World) -> tuple[Observed, Plan]:
    """A pass that writes nothing but the status that has settled the resource."""
    live.resource["status"]["message"] = "nonsense"
    observed = live.observed()
    plan = live.one_pass()
    assert plan.status is not None
    assert look_after(observed, plan, live.resource, live.now) is not None
    return observed, plan


@pytest.mark.parametrize(
    "more",
    [{"deletes": (Delete("Service", "old", "uid"),)}, {"back_off": timedelta(seconds=5)}],
    ids=["another write", "something to try again"],
)
def test_a_pass_that_does_more_than_settle_is_followed_by_another(
    live: World, more: dict[str, Any]
):
    observed, plan = settling(live)
    assert look_after(observed, replace(plan, **more), live.resource, live.now) is None


def test_a_status_over_which_there_is_something_to_write_is_looked_at_again(live: World):
    observed, plan = settling(live)
    lying = {**live.resource, "status": {**live.resource["status"], "message": "another nonsense"}}
    assert standing.is_settled(lying)
    assert look_after(observed, plan, lying, live.now) is None


def test_what_waits_for_people_is_looked_at_again_though_nothing_is_to_be_done(live: World):
    live.container = lambda r: crashed(3, "no") if live.version_of(r) == "2" else None
    live.edit(make_model_deployment().version(2))
    live.settle()
    live.resource["status"]["message"] = "nonsense"
    observed = live.observed()
    plan = live.one_pass()
    following = decide(live.observed(), live.now)
    assert plan.status is not None
    assert not following.writes
    assert not following.events
    assert look_after(observed, plan, live.resource, live.now) is None


def test_a_model_whose_job_failed_after_it_had_settled_is_looked_at_again():
    world = World(make_model_deployment().spec(model={"uri": "https://models.example/a.tar.gz"}))
    world.settle()
    world.resolver.ends = lambda _: (4, "gone")
    world.ask("resolve")
    passes = 0
    while world.status.get("lastAction", {}).get("message") != "gone":
        is_needless, would_do_nothing = one_pass(world)
        assert would_do_nothing or not is_needless
        world.play_pods()
        passes += 1
        assert passes < 20
    assert standing.is_settled(world.resource)


class Watched:
    """A reconciler of one resource, and a watch that tells of its writes before the answer."""

    def __init__(self, live: World, monkeypatch: pytest.MonkeyPatch, *told: str) -> None:
        self.heard: list[tuple[str, str]] = []
        self._told = told
        self._view = View(api.KIND, None, self.heard.append)
        live.resource["metadata"]["resourceVersion"] = "4"
        self._view.tell("ADDED", live.resource["metadata"])
        self.heard.clear()

        async def observe(*_: object) -> Observed:
            return live.observed()

        monkeypatch.setattr(reconcile, "observe", observe)
        self.reconciler = reconcile.Reconciler(
            Mock(cluster=AsyncMock(put_status=self._put_status)),
            AsyncMock(),
            clock=lambda: live.now,
            turns=Turns[Any](0, lambda _: None),
            writing=self._view.writing,
        )

    async def _put_status(self, body: Body) -> Body:
        for version in self._told:
            self._view.tell("MODIFIED", {**body["metadata"], "resourceVersion": version})
        return {**body, "metadata": {**body["metadata"], "resourceVersion": "5"}}


async def test_no_pass_is_made_over_a_settling_status_though_the_watch_is_faster_than_the_answer(
    live: World, monkeypatch: pytest.MonkeyPatch
):
    live.resource["status"]["message"] = "nonsense"
    watched = Watched(live, monkeypatch, "5")
    await watched.reconciler.reconcile("vision", "cats-dogs")
    assert watched.heard == []


async def test_the_next_look_is_when_the_pass_that_is_not_made_would_have_asked_for_it(
    live: World, monkeypatch: pytest.MonkeyPatch
):
    live.resource["status"]["message"] = "nonsense"
    then = replace(decide(live.observed(), live.now), requeue_after=timedelta(seconds=77))
    monkeypatch.setattr(reconcile, "look_after", lambda *_: then)
    plan = await Watched(live, monkeypatch).reconciler.reconcile("vision", "cats-dogs")
    assert plan.requeue_after == then.requeue_after


async def test_a_pass_is_made_where_others_have_written_too(
    live: World, monkeypatch: pytest.MonkeyPatch
):
    live.resource["status"]["message"] = "nonsense"
    watched = Watched(live, monkeypatch, "5", "6")
    await watched.reconciler.reconcile("vision", "cats-dogs")
    assert watched.heard == [("vision", "cats-dogs")]


async def test_a_pass_is_made_over_a_status_that_settles_nothing(
    live: World, monkeypatch: pytest.MonkeyPatch
):
    live.edit(make_model_deployment().version(2))
    watched = Watched(live, monkeypatch, "5")
    await watched.reconciler.reconcile("vision", "cats-dogs")
    assert watched.heard == [("vision", "cats-dogs")]


@settings(max_examples=60, deadline=None)
@given(
    kind=st.sampled_from(["Standard", "Recreate"]),
    ready=st.lists(st.integers(0, 3), min_size=1, max_size=12),
    seconds=st.lists(st.integers(0, 90), min_size=12, max_size=12),
)
def test_what_is_called_needless_would_have_done_nothing(kind, ready, seconds):
    world = World(make_model_deployment().strategy(kind))
    world.settle()
    world.edit(make_model_deployment().strategy(kind).version(2))
    for pods, pause in zip(ready, seconds, strict=False):
        needless, nothing = one_pass(world)
        assert nothing or not needless
        world.play_pods(at_most=pods)
        world.wait(pause)
