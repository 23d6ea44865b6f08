"""Each safety rule by itself."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from model_operator.rollout.safety import (
    has_the_cluster_for_itself,
    may_have_weight,
    may_keep_weight,
    may_stop,
    may_take_over,
    must_stay,
    takes_requests_away,
)
from model_operator.rollout.view import Size, State, Step, View
from model_operator.route import Route

READY = Size(desired=3, ready=3, available=3)


def make_view(**changes: Any) -> View:
    """Version b is to take over from a, which serves with three pods."""
    facts: dict[str, Any] = {
        "target": "b",
        "serving": "a",
        "recorded_stable": "a",
        "sizes": {"a": READY, "b": READY, "old": READY},
        "replicas": 3,
        "now": datetime(2026, 1, 1, tzinfo=UTC),
        "scale_down_delay": timedelta(seconds=30),
        "progress_deadline": timedelta(seconds=600),
        "serving_confirmed": True,
    }
    return View(**facts | changes)


@pytest.mark.parametrize(
    ("available", "replicas", "serving_ready", "may"),
    [(3, 3, 3, True), (2, 3, 3, False), (3, 3, 5, False), (0, 0, 1, False), (0, 0, 0, True)],
)
def test_a_revision_takes_over_only_with_all_its_pods_and_as_many_as_serve(
    available, replicas, serving_ready, may
):
    sizes = {"a": Size(ready=serving_ready), "b": Size(desired=replicas, available=available)}
    assert may_take_over(make_view(sizes=sizes, replicas=replicas)) is may


@pytest.mark.parametrize("ending", [{"desired": 0}, {"desired": 3, "current": False}])
def test_pods_that_are_ready_and_about_to_end_take_nothing_over(ending: dict[str, Any]):
    sizes = {"a": READY, "b": Size(ready=3, available=3, **ending)}
    assert not may_take_over(make_view(sizes=sizes))


def test_the_way_back_stays_until_what_serves_has_all_its_pods():
    few = Size(desired=3, ready=1, available=1)
    assert not may_stop(make_view(sizes={"a": few, "old": READY}), "old", due=True)
    assert may_stop(make_view(), "old", due=True)


def test_a_ready_revision_is_stopped_when_that_is_due_and_the_requests_go_elsewhere():
    assert may_stop(make_view(), "old", due=True)


@pytest.mark.parametrize(
    ("changes", "due"),
    [
        ({}, False),
        ({"serving": None}, True),
        ({"serving_confirmed": False}, True),
    ],
    ids=["not due", "nobody knows what serves", "the endpoint is not confirmed"],
)
def test_a_ready_revision_is_not_stopped(changes, due):
    assert not may_stop(make_view(**changes), "old", due=due)


def test_a_revision_without_ready_pods_serves_nobody_and_is_stopped_when_due():
    view = make_view(serving=None, sizes={"old": Size(desired=3)})
    assert may_stop(view, "old", due=True)
    assert not may_stop(view, "old", due=False)


FEW = Size(desired=2, ready=1, available=1)
GONE = Size(desired=3)


def test_a_weight_is_raised_on_as_many_available_pods_as_it_needs():
    assert may_have_weight(make_view(), pods=3)
    assert not may_have_weight(make_view(), pods=4)


@pytest.mark.parametrize(
    "changes",
    [
        {"serving": None},
        {"recorded_stable": None},
        {"cannot_divide": "2 pods of older revisions have to end first"},
        {"serving_confirmed": False},
        {"sizes": {"a": GONE, "b": READY}},
        {"sizes": {"a": READY, "b": GONE}},
        {"sizes": {"a": READY, "b": Size(desired=1, ready=3, available=3)}},
        {"sizes": {"a": READY, "b": Size(desired=3, ready=3, available=3, current=False)}},
        {"sizes": {"a": READY, "b": Size(desired=3, ready=3)}},
    ],
    ids=[
        "nobody knows what serves",
        "status was lost",
        "requests cannot be divided yet",
        "the weight before is not confirmed",
        "stable has no ready pod",
        "it has none itself",
        "fewer pods are asked for",
        "its controller is about to end some",
        "its pods are ready too briefly",
    ],
)
def test_a_weight_is_not_raised(changes: dict[str, Any]):
    assert not may_have_weight(make_view(**changes), pods=2)


def test_no_weight_is_raised_on_no_pod_even_where_none_is_needed():
    assert not may_have_weight(make_view(sizes={"a": READY, "b": Size()}), pods=0)


@pytest.mark.parametrize(
    ("sizes", "may"),
    [
        ({"a": READY, "b": FEW}, True),
        ({"a": GONE, "b": FEW}, True),
        ({"a": READY, "b": GONE}, False),
        ({"a": GONE, "b": GONE}, True),
    ],
)
def test_a_weight_is_kept_by_what_answers_or_where_nothing_else_does(sizes, may):
    assert may_keep_weight(make_view(sizes=sizes)) is may


@pytest.mark.parametrize(
    ("wanted", "sizes", "stays"),
    [
        (Route("a"), {"a": GONE, "b": FEW}, True),
        (Route("a", "b", 10), {"a": GONE, "b": FEW}, True),
        (Route("a", "b", 80), {"a": GONE, "b": FEW}, False),
        (Route("a"), {"a": FEW, "b": FEW}, False),
        (Route("a"), {"a": GONE, "b": GONE}, False),
        (Route("b"), {"a": GONE, "b": FEW}, False),
    ],
)
def test_requests_stay_with_what_answers_while_stable_does_not(wanted, sizes, stays):
    assert must_stay(Route("a", "b", 50), wanted, sizes) is stays
    assert not must_stay(Route("a"), wanted, sizes)


@pytest.mark.parametrize(
    ("route", "step", "takes"),
    [
        (Route("a", "b", 50), Step(State.FAILED, "", "a", weight=50), True),
        (Route("a", "b", 50), Step(State.INTRODUCING, "", "a", weight=20), True),
        (Route("a", "b", 50), Step(State.INTRODUCING, "", "a", weight=50), False),
        (Route("a", "b", 50), Step(State.SWITCHED, "", "b"), False),
        (Route("a", "b", 0), Step(State.FAILED, "", "a"), False),
        (None, Step(State.FAILED, "", "a"), False),
    ],
)
def test_only_a_step_that_gives_requests_back_is_taken_whatever_stands_in_the_way(
    route, step, takes
):
    assert takes_requests_away(make_view(route=route), step) is takes


@pytest.mark.parametrize(
    ("other", "alone"),
    [(Size(), True), (Size(existing=1), False), (Size(desired=1), False)],
)
def test_a_revision_has_the_cluster_for_itself_once_no_other_pod_is_left_or_asked_for(other, alone):
    view = make_view(sizes={"a": other, "b": READY})
    assert has_the_cluster_for_itself(view, "b") is alone
