"""When a container has crashed again, and how long a bad canary had requests."""

from __future__ import annotations

from typing import Any

import pytest

from tests.traffic.bad_canaries import had_requests, second_ends

ENDED = {"terminated": {"exitCode": 1, "finishedAt": "1970-01-01T00:01:00Z"}}
BEFORE = {"terminated": {"exitCode": 1, "finishedAt": "1970-01-01T00:00:30Z"}}
RUNS: dict[str, Any] = {"running": {}}
WAITS: dict[str, Any] = {"waiting": {"reason": "CrashLoopBackOff"}}


def pod(restarts: int, state: dict[str, Any], last: dict[str, Any]) -> dict[str, Any]:
    told = {"restartCount": restarts, "state": state, "lastState": last}
    return {"status": {"containerStatuses": [told]}}


@pytest.mark.parametrize(
    "crashed_once", [pod(0, RUNS, {}), pod(0, ENDED, {}), pod(1, RUNS, BEFORE)]
)
def test_one_crash_is_no_loop_yet(crashed_once):
    assert second_ends([crashed_once]) == []


@pytest.mark.parametrize(
    "crashed_again", [pod(1, ENDED, BEFORE), pod(1, WAITS, ENDED), pod(2, RUNS, ENDED)]
)
def test_the_second_crash_is_told_with_its_time(crashed_again):
    assert second_ends([pod(0, RUNS, {}), crashed_again]) == [60.0]


@pytest.mark.parametrize(
    ("spans", "shown", "seconds"),
    [
        ([], None, None),
        ([(10.0, 14.0)], None, 4.0),
        ([(10.0, 14.0), (60.0, 62.0)], None, 52.0),
        ([(10.0, 14.0), (60.0, 62.0)], 59.0, 3.0),
    ],
)
def test_a_bad_canary_that_had_requests_again_had_them_since_the_first(spans, shown, seconds):
    assert had_requests(spans, shown) == seconds
