from __future__ import annotations

from tests.traffic.starts import SECONDS, Starts


def test_starts_that_come_at_once_follow_each_other():
    now = 100.0
    slept: list[float] = []
    starts = Starts(lambda: now, slept.append)
    for _ in range(3):
        starts.wait()
    now += 2.5 * SECONDS
    starts.wait()
    now += 10 * SECONDS
    starts.wait()
    assert slept == [0, SECONDS, 2 * SECONDS, SECONDS / 2, 0]
