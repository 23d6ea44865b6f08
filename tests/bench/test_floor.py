from __future__ import annotations

from collections import Counter
from typing import Any, cast

import pytest

from tests.bench.counters import Counters
from tests.bench.floor import Floor, Sample
from tests.fault.admin import Admin

OWNER = {"metadata": {"name": "model-7", "namespace": "estate-0", "uid": "seven"}}
CHILD: dict[str, Any] = {
    "metadata": {
        "name": "model-0-9c1b04aa57",
        "labels": {"cvfactory.dev/model-deployment": "model-0"},
        "ownerReferences": [{"name": "model-0", "uid": "zero"}],
    }
}


def sample() -> Sample:
    return Sample(("estate-0", "model-0"), {}, {"Deployment": CHILD}, {"involvedObject": {}})


@pytest.mark.parametrize("each", [0.0, 0.25, 1.0, 2.5])
def test_over_all_resources_the_floor_makes_as_many_requests_as_were_counted(each: float):
    size = 40
    calls = {("get", "Service"): int(each * size), ("apply", "Deployment"): size}
    floor = Floor(cast("Admin", None), calls, size, sample())
    made = Counter(call for number in range(size) for call in floor.requests(number))
    assert made == Counter({call: count for call, count in calls.items() if count})


def test_the_floor_reads_before_it_writes_and_leaves_out_what_is_asked_once_for_all():
    calls = {("apply", "Deployment"): 1, ("get", "Service"): 1}
    calls |= {("watch", "Pod"): 1, ("get", "APIResourceList"): 1}
    floor = Floor(cast("Admin", None), calls, 1, sample())
    assert list(floor.requests(0)) == [("get", "Service"), ("apply", "Deployment")]


def test_a_child_is_made_again_for_another_resource():
    body = sample().child("Deployment", "model-7", OWNER)
    assert body["metadata"] == {
        "name": "model-7-9c1b04aa57",
        "namespace": "estate-0",
        "labels": {"cvfactory.dev/model-deployment": "model-7"},
        "ownerReferences": [{"name": "model-7", "uid": "seven"}],
    }
    assert CHILD["metadata"]["ownerReferences"][0]["uid"] == "zero"


def test_what_came_since_an_earlier_reading_is_the_difference():
    before = Counters({("get", "Pod"): 3}, passes=2, waiting=5)
    now = Counters({("get", "Pod"): 5, ("apply", "Service"): 1, ("watch", "Pod"): 1}, 6, 0)
    since = now.since(before)
    assert (since.total, since.writes, since.passes, since.waiting) == (3, 1, 4, 0)
