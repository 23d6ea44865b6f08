"""Troubles are told in the containers' own words."""

from __future__ import annotations

import pytest

from model_operator import reasons
from model_operator.diagnosis import crash_loop, diagnose, is_ready, runs_unready
from tests.operator.builders import crashed, make_pod, waiting


@pytest.mark.parametrize(
    ("pod", "reason", "words", "permanent"),
    [
        (
            make_pod(init_containers=[crashed(3, "sha256 differs", name="fetch")]),
            reasons.MODEL_REFUSED,
            "container fetch ended with exit status 3: sha256 differs",
            True,
        ),
        (
            make_pod(init_containers=[crashed(4, "no such version", name="fetch")]),
            reasons.MODEL_MISSING,
            "container fetch ended with exit status 4: no such version",
            True,
        ),
        (
            make_pod(init_containers=[crashed(5, "registry down", name="fetch")]),
            reasons.CONTAINER_CRASHED,
            "container fetch ended with exit status 5: registry down",
            False,
        ),
        (
            make_pod(containers=[crashed(139, None)]),
            reasons.CONTAINER_CRASHED,
            "container server ended with exit status 139: Error",
            False,
        ),
        (
            make_pod(containers=[waiting("ErrImagePull", "not\nfound")]),
            reasons.IMAGE_PULL_FAILED,
            'the image "example/server:1" cannot be pulled (ErrImagePull): not found',
            False,
        ),
        (
            make_pod(containers=[waiting("CreateContainerConfigError", 'secret "x" not found')]),
            reasons.CONTAINER_NOT_STARTED,
            'container server cannot start (CreateContainerConfigError): secret "x" not found',
            False,
        ),
        (
            make_pod(unschedulable="0/1 nodes are available"),
            reasons.UNSCHEDULABLE,
            "0/1 nodes are available",
            False,
        ),
    ],
)
def test_each_trouble_has_its_reason_and_the_containers_words(pod, reason, words, permanent):
    trouble = diagnose([pod], None, {})
    assert trouble is not None
    assert (trouble.reason, trouble.message, trouble.permanent) == (reason, words, permanent)


def test_pods_that_are_ready_starting_or_terminating_are_in_no_trouble():
    pods = [
        make_pod("a", ready=True, containers=[crashed(3, "long ago")]),
        make_pod("b", containers=[waiting("ContainerCreating")]),
        make_pod("c", terminating=True, containers=[crashed(1, "stopping")]),
    ]
    assert diagnose(pods, None, {}) is None


def test_permanent_trouble_comes_first():
    pods = [
        make_pod("a", containers=[waiting("ErrImagePull")]),
        make_pod("b", init_containers=[crashed(3, "refused", name="fetch")]),
    ]
    trouble = diagnose(pods, None, {})
    assert trouble is not None
    assert trouble.permanent


def test_pods_that_cannot_be_created_are_explained_by_their_deployment():
    deployment = {
        "status": {
            "conditions": [
                {"type": "ReplicaFailure", "status": "True", "message": "exceeded quota"}
            ]
        }
    }
    trouble = diagnose([], deployment, {})
    assert trouble is not None
    assert (trouble.reason, trouble.message) == (
        reasons.PODS_REFUSED,
        "pods cannot be created: exceeded quota",
    )


def test_a_terminating_pod_is_not_ready():
    assert is_ready(make_pod(ready=True))
    assert not is_ready(make_pod(ready=True, terminating=True))


def test_a_server_that_runs_without_being_ready_is_told_with_its_probes_answer():
    pod = make_pod(containers=[{"name": "server", "state": {"running": {}}}])
    pod["metadata"]["uid"] = "u1"
    answer = "Readiness probe failed: HTTP probe failed with statuscode: 503"
    trouble = diagnose([pod], None, {"u1": answer})
    assert trouble is not None
    assert (trouble.reason, trouble.permanent) == (reasons.NOT_READY, False)
    assert trouble.message.endswith(answer)
    assert diagnose([pod], None, {"another": answer}) is None


@pytest.mark.parametrize(
    ("container", "ready", "expected"),
    [
        ({"state": {"running": {}}}, False, True),
        ({"state": {"running": {}}}, True, False),
        ({"state": {"waiting": {"reason": "CrashLoopBackOff"}}}, False, False),
    ],
)
def test_probes_are_asked_about_only_where_everything_runs(container, ready, expected):
    pod = make_pod(ready=ready, containers=[container])
    pod["status"]["phase"] = "Running"
    assert runs_unready(pod) is expected


REQUEST = '{"status": 200, "event": "request", "level": "info"}'


@pytest.mark.parametrize(
    ("log", "told"),
    [
        ("one\ntwo", "one two"),
        (f"{REQUEST}\nTraceback\nValueError: no\n{REQUEST}\n", "Traceback ValueError: no"),
        (REQUEST, REQUEST),
        (f'cut": 1}}\n{"x" * 2040}\nMemoryError', "MemoryError"),
        (f"{'x' * 600}\nSegmentation fault", "Segmentation fault"),
        ("", "Error"),
    ],
    ids=["short", "requests", "nothing else", "cut off", "long before", "none"],
)
def test_of_a_containers_log_its_last_whole_lines_are_told_and_no_requests(log: str, told: str):
    trouble = diagnose([make_pod(containers=[crashed(1, log)])], None, {})
    assert trouble
    assert trouble.message == f"container server ended with exit status 1: {told}"


def test_a_container_that_fails_again_and_again_loops_although_its_pod_is_ready_now():
    failed = {"terminated": {"exitCode": 1, "message": "boom"}}
    running = {"name": "server", "state": {"running": {}}, "lastState": failed}
    pods = [make_pod(ready=True, containers=[{**running, "restartCount": 3}])]
    found = crash_loop(pods, None)
    assert found
    assert found.looping
    assert "boom" in found.message
    assert (
        crash_loop([make_pod(ready=True, containers=[{**running, "restartCount": 2}])], None)
        is None
    )
