"""`status` as a tree: what a release engineer sees at each moment."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from model_operator import naming
from model_operator.cli import describe
from model_operator.cli.terminal import Style
from model_operator.cli.tree import Snapshot, render
from tests.operator.builders import crashed, make_pod, waiting
from tests.operator.cli import statuses
from tests.operator.cli.statuses import NEW, OLD, condition, resource

NOW = datetime(2026, 1, 2, 3, 1, 12, tzinfo=UTC)
PLAIN = Style()


def pod(revision: str, name: str, **state: Any) -> dict[str, Any]:
    labels = naming.pod_selector("cats-dogs", revision)
    return make_pod(f"cats-dogs-{revision}-{name}", labels=labels, **state)


def shown(body: dict[str, Any], *pods: dict[str, Any], style: Style = PLAIN) -> list[str]:
    return render(Snapshot(body, list(pods), NOW), style)


def test_a_canary_is_shown_whole():
    restarted = [waiting("CrashLoopBackOff") | {"restartCount": 3}]
    lines = shown(
        statuses.canary(),
        pod(OLD, "b", ready=True),
        pod(OLD, "a", ready=True),
        pod(NEW, "c", containers=restarted),
    )
    title, *rest = lines
    assert title == (
        "modeldeployment/cats-dogs in vision   Progressing   "
        f"revision {NEW} gets 10% of the requests"
    )
    assert rest == [
        "├─ model      models:/cats-dogs/2: version 2",
        "├─ endpoint   http://cats-dogs.vision.svc",
        "├─ strategy   Canary, step 2 of 4: wait 5m (for 1m12s)",
        f"├─ stable     {OLD}   version 1   90% of the requests   3 ready",
        f"│  ├─ pod cats-dogs-{OLD}-a   ready",
        f"│  └─ pod cats-dogs-{OLD}-b   ready",
        f"├─ canary     {NEW}   version 2   10% of the requests   1 ready",
        f"│  └─ pod cats-dogs-{NEW}-c   not ready, 3 restarts",
        "└─ analysis",
        "   └─ error-rate         Pass     0.002, stable 0.001, of 312 requests",
    ]


@pytest.mark.parametrize(
    ("asked", "action", "words"),
    [
        (True, None, "; paused by spec.paused"),
        (True, {"paused": False, "generation": 7}, "; spec.paused is set, resumed by an action"),
        (True, {"paused": False, "generation": 6}, "; paused by spec.paused"),
        (False, {"paused": True, "generation": 7}, "; paused by an action"),
        (False, {"paused": True, "generation": 6}, ""),
        (False, {"paused": False, "generation": 7}, ""),
        (False, None, ""),
    ],
)
def test_a_pause_is_told_by_whoever_asked_last(
    asked: bool, action: dict[str, Any] | None, words: str
):
    body = statuses.canary()
    body["spec"]["paused"] = asked
    body["status"] |= {"heldPause": action} if action else {}
    (strategy,) = (line for line in shown(body) if "strategy" in line)
    assert strategy == f"├─ strategy   Canary, step 2 of 4: wait 5m (for 1m12s){words}"


def test_a_failure_says_why_in_the_containers_own_words():
    failed = [crashed(3, "bad bytes") | {"restartCount": 1}]
    lines = shown(
        statuses.rolled_back(), pod(OLD, "a", ready=True), pod(NEW, "b", containers=failed)
    )
    text = "\n".join(lines)
    assert "not ready, 1 restart: container server ended with exit status 3: bad bytes" in text
    assert f"Stalled=True ModelRefused: revision {NEW} was stopped" in text
    assert lines[-1] == f"└─ last failure {NEW}: ModelRefused: bad bytes"


def test_conditions_that_are_as_they_should_be_are_not_shown():
    assert not any("=True" in line or "=False" in line for line in shown(statuses.ready()))


@pytest.mark.parametrize(
    ("actual", "words"),
    [
        (10, "10% of the requests"),
        (4, "10% asked, 4% confirmed"),
        (None, "10% asked, not confirmed"),
    ],
)
def test_a_weight_that_is_not_confirmed_is_not_shown_as_if_it_were(actual, words):
    (line,) = [
        line for line in shown(statuses.canary(actual=actual)) if f"canary     {NEW}" in line
    ]
    assert f"   {words}   " in line


def test_a_pod_that_ends_and_one_of_a_revision_that_is_no_more_in_play_are_told_apart():
    lines = shown(
        statuses.ready(), pod(NEW, "a", ready=True, terminating=True), pod(OLD, "b", ready=True)
    )
    assert f"│  └─ pod cats-dogs-{NEW}-a   ending" in lines
    assert lines[-2:] == [f"└─ other      {OLD}", f"   └─ pod cats-dogs-{OLD}-b   ready"]


def test_a_revision_that_is_kept_for_a_while_after_the_switch_is_shown_as_retiring():
    body = statuses.ready()
    body["status"]["retiring"] = OLD
    assert f"└─ retiring   {OLD}" in shown(body, pod(OLD, "a", ready=True))


def test_a_rollout_that_waits_for_somebody_says_what_to_type():
    body = statuses.canary(step=3)
    body["status"]["conditions"] = [condition("Ready", "False", "AwaitingPromotion")]
    assert describe.progress(body, "waiting").endswith("waiting (`kubectl md promote cats-dogs`)")


def test_who_may_not_list_pods_is_told_so_and_sees_the_rest():
    lines = render(Snapshot(statuses.ready(), None, NOW), PLAIN)
    assert lines[-1] == "└─ pods are not shown: you may not list them"
    assert any("100% of the requests" in line for line in lines)


def test_a_resource_without_status_says_that_the_operator_has_not_seen_it():
    lines = shown(resource())
    assert "Pending   the operator has not looked at it yet" in lines[0]
    assert lines[1].endswith("models:/cats-dogs/2: not resolved")


def test_a_spec_that_is_newer_than_status_is_told():
    body = statuses.ready()
    body["metadata"]["generation"] = 8
    body["spec"]["model"] = {"uri": "models:/cats-dogs/3"}
    lines = shown(body)
    assert lines[1].endswith("models:/cats-dogs/3: not resolved")
    assert lines[-1] == "└─ the operator has seen generation 7 of 8"


@pytest.mark.parametrize(
    ("metric", "words"),
    [
        ({"name": "m", "verdict": "NoData"}, "NoData   no value"),
        (
            {"name": "m", "verdict": "NoData", "message": "no pod answers"},
            "no value, no pod answers",
        ),
        (
            {"name": "m", "verdict": "Fail", "value": 0.5, "failures": 2},
            "0.5, failures in a row: 2",
        ),
    ],
)
def test_a_metric_without_a_value_and_one_that_fails_are_shown_as_such(metric, words):
    body = statuses.canary()
    body["status"]["analysis"] = [metric]
    assert shown(body)[-1].endswith(words)


def test_colours_and_lines_of_a_tree_come_only_where_they_are_wanted():
    plain = "\n".join(shown(statuses.canary(), style=Style(unicode=False)))
    assert plain.isascii()
    assert "\x1b" not in plain
    coloured = "\n".join(shown(statuses.canary(), style=Style(colours=True)))
    assert "\x1b[33mProgressing\x1b[0m" in coloured
    bad = "\n".join(shown(statuses.rolled_back(), style=Style(colours=True)))
    assert "\x1b[31mDegraded\x1b[0m" in bad


@pytest.mark.parametrize(
    ("strategy", "index", "words"),
    [
        (statuses.CANARY, 0, "step 1 of 4: 10% of the requests to the new revision"),
        (statuses.CANARY, 3, "step 4 of 4: wait until it is promoted"),
        (statuses.CANARY, 4, "all 4 steps taken: every new pod starts"),
        (statuses.CANARY, 5, "all 4 steps taken: the old revision is kept for a while"),
        ({}, 9, "step 10 of 10"),
        ({"type": "BlueGreen"}, 1, "step 2 of 4: on the preview Service, until promoted"),
        ({"type": "Shadow"}, 1, "step 2 of 4: its predictions are compared"),
        ({"type": "Recreate"}, 0, "step 1 of 2: the old pods end"),
        ({}, 0, "step 1 of 2: the new pods start"),
        ({}, None, ""),
    ],
)
def test_the_step_is_told_in_words(strategy, index, words):
    body = resource(spec={"strategy": strategy}, phase="Progressing", currentStepIndex=index)
    assert describe.step(body) == words


@pytest.mark.parametrize(
    ("since", "words"),
    [
        ("2026-01-02T03:01:00Z", "12s"),
        ("2026-01-02T03:00:00Z", "1m12s"),
        ("2026-01-02T02:31:00Z", "30m"),
        ("2026-01-02T00:01:00Z", "3h"),
        ("2025-12-20T00:00:00Z", "13d"),
        ("2026-01-03T00:00:00Z", "0s"),
        (None, ""),
    ],
)
def test_times_are_told_by_their_age(since, words):
    assert describe.age(since, NOW) == words


def test_progress_is_one_line_with_the_step_and_what_is_confirmed():
    assert describe.progress(statuses.canary(actual=4), "waiting") == (
        "cats-dogs  Progressing  step 2 of 4: wait 5m  10% asked, 4% confirmed  waiting"
    )
    assert describe.progress(None, "the resource was deleted") == "the resource was deleted"


names = st.sampled_from([OLD, NEW])
weights = st.lists(
    st.builds(
        lambda revision, asked, actual: {"revision": revision, "weight": asked, **actual},
        names,
        st.integers(0, 100),
        st.just({}) | st.builds(lambda n: {"actualWeight": n}, st.integers(0, 100)),
    ),
    max_size=2,
)
parts = st.fixed_dictionaries(
    {},
    optional={
        "phase": st.sampled_from(["Pending", "Progressing", "Paused", "Healthy", "Degraded"]),
        "stable": st.builds(lambda r: {"revision": r}, names),
        "canary": st.builds(lambda r: {"revision": r, "readyReplicas": 1}, names),
        "traffic": weights,
        "currentStepIndex": st.integers(0, 12),
        "stepStartedAt": st.sampled_from(["2026-01-02T03:00:00Z", "nonsense"]),
        "conditions": st.just([condition("Stalled", "True", "Aborted")]),
    },
)


@settings(max_examples=40)
@given(parts, st.sampled_from([{}, statuses.CANARY, {"type": "Shadow"}]), st.booleans())
def test_any_status_is_drawn_as_a_tree_with_one_line_per_node(status, strategy, unicode):
    body = resource(spec={"strategy": strategy}, **status)
    lines = shown(body, pod(OLD, "a"), style=Style(unicode=unicode))
    assert all(line and "\n" not in line for line in lines)
    assert lines[0].startswith("modeldeployment/cats-dogs")
    assert sum(f"{OLD}-a" in line for line in lines) >= 1
