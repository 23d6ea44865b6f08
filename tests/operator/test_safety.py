"""Each safety rule by itself."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from model_operator.rollout.safety import may_stop, may_take_over
from model_operator.rollout.view import Size, View

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
