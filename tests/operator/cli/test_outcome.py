"""When a release has ended, and what a pipeline is told of it."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from model_operator.cli.outcome import End, Outcome, Release, judge, result
from tests.operator.builders import UID
from tests.operator.cli import statuses
from tests.operator.cli.statuses import NEW, OLD, condition, resource

RELEASE = Release("cats-dogs", "vision", UID, 7)


def of_generation(generation: int, kind: str, reason: str) -> dict[str, Any]:
    return resource(
        phase="Progressing", conditions=[condition(kind, "True", reason, generation=generation)]
    )


@pytest.mark.parametrize(
    ("body", "end", "reason"),
    [
        (statuses.ready(), End.READY, "Complete"),
        (statuses.rolled_back(), End.FAILED, "ModelRefused"),
        (statuses.canary(), None, "Canary"),
        (resource(), None, "NotObserved"),
        (of_generation(6, "Ready", "Complete"), None, "NotObserved"),
        (of_generation(6, "Stalled", "RolledBack"), None, "NotObserved"),
        (resource(generation=8, phase="Healthy"), End.FAILED, "Superseded"),
        (None, End.FAILED, "Deleted"),
        ({**statuses.ready(), "metadata": {"uid": "another"}}, End.FAILED, "Deleted"),
    ],
)
def test_only_what_status_says_of_this_very_generation_ends_the_wait(body, end, reason):
    outcome = judge(RELEASE, body)
    assert (outcome.end, outcome.reason) == (end, reason)


conditions = st.lists(
    st.builds(
        condition,
        st.sampled_from(["Available", "Ready", "Stalled", "Progressing"]),
        st.sampled_from(["True", "False", "Unknown"]),
        st.just("Reason"),
        generation=st.integers(5, 8),
    ),
    unique_by=lambda found: found["type"],
)


@given(conditions, st.integers(6, 8))
def test_ready_is_never_said_of_anything_but_a_ready_condition_of_the_live_generation(
    found, generation
):
    body = resource(generation=generation, conditions=found)
    outcome = judge(RELEASE, body)
    holds = [
        c
        for c in found
        if c["type"] == "Ready" and c["status"] == "True" and c["observedGeneration"] == 7
    ]
    assert (outcome.end is End.READY) == (generation == 7 and bool(holds))
    assert outcome.message


@pytest.mark.parametrize(
    ("body", "revision", "version"),
    [
        (statuses.ready(), NEW, "2"),
        (statuses.rolled_back(), NEW, "2"),
        (statuses.canary(), NEW, "2"),
        (resource(), None, None),
        (None, None, None),
    ],
)
def test_the_result_names_the_revision_that_was_released_not_the_one_before(
    body, revision, version
):
    told = result(RELEASE, body, judge(RELEASE, body), 12.34)
    assert (told["revision"], told["version"]) == (revision, version)
    assert told["durationSeconds"] == 12.3


def unresolved(body: dict[str, Any]) -> dict[str, Any]:
    """The same, where it is not known what the new spec means."""
    for found in body["status"]["conditions"]:
        if found["type"] == "ModelResolved":
            found["status"] = "False"
    return body


@pytest.mark.parametrize(
    ("body", "outcome"),
    [
        (statuses.ready(), Outcome(End.REFUSED, "ApplyRefused", "no such strategy")),
        (statuses.canary(), Outcome(End.REFUSED, "ApplyRefused", "no such strategy")),
        ({**statuses.ready(), "metadata": {}}, Outcome(End.TIMEOUT, "NotObserved", "not in time")),
        (unresolved(statuses.canary()), Outcome(End.TIMEOUT, "Resolving", "not in time")),
        (unresolved(statuses.rolled_back()), Outcome(End.FAILED, "ModelNotFound", "no such model")),
    ],
)
def test_what_serves_is_not_named_as_what_was_released(body, outcome):
    release = RELEASE if outcome.reason != "NotObserved" else replace(RELEASE, generation=8)
    told = result(release, body, outcome, 1)
    assert (told["revision"], told["version"]) == (None, None)


def test_a_revision_that_failed_and_is_introduced_no_more_is_named_with_its_version():
    body = statuses.rolled_back()
    del body["status"]["canary"]
    told = result(RELEASE, body, judge(RELEASE, body), 1)
    assert (told["revision"], told["version"]) == (NEW, "2")
    assert told["revision"] != OLD


def test_the_result_has_what_a_pipeline_needs():
    told = result(RELEASE, statuses.ready(), judge(RELEASE, statuses.ready()), 1)
    assert told == {
        "name": "cats-dogs",
        "namespace": "vision",
        "outcome": "ready",
        "endpoint": statuses.URL,
        "revision": NEW,
        "version": "2",
        "generation": 7,
        "durationSeconds": 1,
        "phase": "Healthy",
        "reason": "Complete",
        "message": f"revision {NEW} serves",
    }


def test_what_has_not_ended_is_a_timeout():
    under_way = Outcome(None, "Starting", "starting")
    assert result(RELEASE, statuses.canary(), under_way, 1)["outcome"] == "timeout"
