"""A pass that has settled a resource makes the one over its own status needless, and only that."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Mapping
from dataclasses import replace
from datetime import timedelta
from typing import Any
from unittest.mock import Mock

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from model_operator import reconcile, standing
from model_operator.clients.transport import Body
from model_operator.clients.view import Expect
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


@pytest.mark.parametrize("settled", [True, False])
async def test_a_version_is_expected_only_where_no_pass_is_needed(
    live: World, monkeypatch: pytest.MonkeyPatch, *, settled: bool
):
    if settled:
        live.resource["status"]["message"] = "nonsense"
    else:
        live.edit(make_model_deployment().version(2))

    async def observe(*_: object) -> Observed:
        return live.observed()

    async def put_status(body: Body) -> Body:
        return body

    async def apply(*given: Any) -> None:
        live.one_pass()
        assert given[-1] is not None
        await given[-1](live.resource)

    expected: list[Mapping[str, Any]] = []

    @contextlib.contextmanager
    def writing(metadata: Mapping[str, Any]) -> Iterator[Expect]:
        assert metadata == live.resource["metadata"]
        yield expected.append

    sources = Mock()
    sources.cluster.put_status = put_status
    monkeypatch.setattr(reconcile, "observe", observe)
    monkeypatch.setattr(reconcile, "apply", apply)
    turns = Turns[Any](0, lambda _: None)
    reconciler = reconcile.Reconciler(
        sources, Mock(), clock=lambda: live.now, turns=turns, writing=writing
    )
    await reconciler.reconcile("vision", "cats-dogs")
    assert expected == ([live.resource["metadata"]] if settled else [])


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
