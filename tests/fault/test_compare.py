"""What the campaign compares: requests, masked ends and paths of a status, without a server."""

from __future__ import annotations

from typing import Any

import pytest

from tests.fault import workflows
from tests.fault.campaign import Outcome, compare, names, trials
from tests.fault.end_state import differences, mask
from tests.fault.faults import When
from tests.fault.paths import Request, parse
from tests.fault.workflows import Workflow


@pytest.mark.parametrize(
    ("method", "path", "watch", "verb", "resource"),
    [
        ("GET", "/api/v1/pods", False, "list", "pods"),
        ("GET", "/api/v1/pods", True, "watch", "pods"),
        ("GET", "/api/v1/namespaces/vision", False, "get", "namespaces"),
        ("GET", "/api/v1/namespaces/vision/pods", False, "list", "pods"),
        ("GET", "/api/v1/namespaces/vision/pods/p", False, "get", "pods"),
        ("PATCH", "/apis/apps/v1/namespaces/v/deployments/d", False, "patch", "deployments"),
        ("PATCH", "/apis/apps/v1/namespaces/v/deployments/d/scale", False, "patch",
         "deployments/scale"),
        ("DELETE", "/apis/apps/v1/namespaces/v/deployments/d", False, "delete", "deployments"),
        ("POST", "/api/v1/namespaces/v/events", False, "create", "events"),
        ("GET", "/version", False, "", ""),
        ("GET", "/apis/apps/v1", False, "", ""),
    ],
)  # fmt: skip
def test_a_request_is_read_as_the_authorizer_reads_it(method, path, watch, verb, resource):
    request = parse(method, path, watch=watch)
    assert (request.verb, request.resource) == (verb, resource)
    if verb:
        assert request.path == path


def test_only_what_asks_for_all_namespaces_is_led_into_one():
    everywhere = parse("GET", "/apis/apps/v1/deployments", watch=True).within("mine")
    assert everywhere.path == "/apis/apps/v1/namespaces/mine/deployments"
    for path in ("/api/v1/namespaces/other/pods", "/api/v1/nodes", "/api/v1/nodes/n"):
        assert parse("GET", path).within("mine").path == path


def test_news_is_a_write_that_is_not_counted():
    event = parse("POST", "/api/v1/namespaces/v/events")
    assert (event.writes, event.counted) == (True, False)
    assert Request("patch", plural="services").counted


def test_what_differs_by_chance_is_masked_and_nothing_else():
    one = {"metadata": {"uid": "1", "name": "p-abc", "generation": 3}, "status": {"podIP": "1"}}
    other = {"metadata": {"uid": "2", "name": "p-xyz", "generation": 3}, "status": {"podIP": "2"}}
    masked = mask(one, {"p-abc": "p-*"})
    assert masked == mask(other, {"p-xyz": "p-*"})
    assert masked == {"metadata": {"name": "p-*", "generation": 3}, "status": {}}


def test_a_difference_is_named_by_its_place():
    one = {"services a 0": {"spec": {"selector": {"revision": "1"}}}}
    other = {"services a 0": {"spec": {"selector": {"revision": "2"}}}}
    assert differences(one, one) == []
    assert differences(one, other) == ['/services a 0/spec/selector/revision: "2" instead of "1"']


def outcome(**changes: Any) -> Outcome:
    whole: dict[str, Any] = {
        "end": {},
        "counts": {"patch services a": 1},
        "milestones": ["starting", "switched", "complete"],
        "writes": (),
        "violations": (),
    }
    return Outcome(**(whole | changes))


@pytest.mark.parametrize(
    "milestones", [["starting", "switched", "complete"], ["starting", "complete"], []]
)
def test_a_status_may_pass_milestones_over(milestones):
    assert not list(compare(outcome(), outcome(milestones=milestones)))


@pytest.mark.parametrize(
    "milestones",
    [["starting", "failed", "complete"], ["switched", "starting"], ["starting", "starting"]],
    ids=["a new one", "one comes back", "one comes twice"],
)
def test_a_status_that_leaves_the_path_is_a_divergence(milestones):
    (divergence,) = list(compare(outcome(), outcome(milestones=milestones)))[:1]
    assert "is not on the undisturbed path" in divergence


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"counts": {"patch services a": 2}}, "patch services a: written 2 times instead of 1"),
        ({"counts": {}}, "patch services a: written 0 times instead of 1"),
        ({"end": {"pods p 0": {}}}, "end state: /pods p 0"),
        ({"violations": ("weights",)}, "weights"),
    ],
)
def test_each_other_difference_is_a_divergence(changes, words):
    (divergence,) = compare(outcome(), outcome(**changes))
    assert words in divergence


def test_a_write_is_named_by_its_label_and_its_number():
    found = [str(name) for name in names(["patch a", "create events", "patch a"])]
    assert found == ["patch a #1", "create events #1", "patch a #2"]


def test_the_operator_dies_on_both_sides_of_a_childs_write_and_once_at_any_other():
    written = names(["patch services a", "update modeldeployments/status a", "create events"])
    story = Workflow("story", workflows.nothing, workflows.nothing)
    found = [
        (trial.at.label, trial.when) for trial in trials(story, outcome(writes=tuple(written)))
    ]
    assert found == [
        ("patch services a", When.BEFORE),
        ("patch services a", When.AFTER),
        ("update modeldeployments/status a", When.BEFORE),
        ("create events", When.BEFORE),
    ]
