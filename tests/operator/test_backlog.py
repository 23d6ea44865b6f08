"""The backlog, in virtual time."""

from __future__ import annotations

import asyncio

from model_operator.runtime.backlog import AT_ONCE, PAUSE_SECONDS, Backlog
from tests.operator.virtual_time import now, run


def test_the_first_are_handed_out_at_once_and_the_others_in_their_turn():
    async def scenario():
        heard: list[tuple[int, float]] = []
        backlog = Backlog[int](lambda key: heard.append((key, now())))
        for key in range(AT_ONCE + 3):
            backlog.add(key)
        task = asyncio.create_task(backlog.run())
        await asyncio.sleep(10)
        task.cancel()
        assert [key for key, _ in heard] == list(range(AT_ONCE + 3))
        assert {moment for _, moment in heard[: AT_ONCE + 1]} == {0}
        later = [round(moment, 3) for _, moment in heard[AT_ONCE + 1 :]]
        assert later == [PAUSE_SECONDS, 2 * PAUSE_SECONDS]

    run(scenario())


def test_a_key_that_waits_is_there_once_and_not_at_all_when_somebody_else_has_handed_it_out():
    async def scenario():
        heard: list[int] = []
        backlog = Backlog[int](heard.append)
        for key in (1, 2, 1, 3):
            backlog.add(key)
        backlog.discard(2)
        backlog.discard(7)
        assert len(backlog) == 2
        task = asyncio.create_task(backlog.run())
        await asyncio.sleep(1)
        backlog.add(4)
        await asyncio.sleep(1)
        task.cancel()
        assert heard == [1, 3, 4]

    run(scenario())
