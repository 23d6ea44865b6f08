"""The backlog, in virtual time."""

from __future__ import annotations

import asyncio

import pytest

from model_operator.runtime.backlog import (
    AT_ONCE,
    LONGEST_PAUSE_SECONDS,
    PAUSE_SECONDS,
    Backlog,
)
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


def test_while_others_wait_the_next_one_waits_for_them_but_not_for_ever():
    async def scenario():
        heard: list[tuple[int, float]] = []
        others = 1
        backlog = Backlog[int](lambda key: heard.append((key, now())), lambda: others)
        for key in range(AT_ONCE + 4):
            backlog.add(key)
        task = asyncio.create_task(backlog.run())
        await asyncio.sleep(1.5 * LONGEST_PAUSE_SECONDS)
        others = 0
        await asyncio.sleep(10)
        task.cancel()
        later = [moment for _, moment in heard[AT_ONCE + 1 :]]
        assert later[0] == pytest.approx(LONGEST_PAUSE_SECONDS)
        assert later[1] == pytest.approx(1.5 * LONGEST_PAUSE_SECONDS, abs=2 * PAUSE_SECONDS)
        assert later[2] == pytest.approx(later[1] + PAUSE_SECONDS)

    run(scenario())


def test_each_time_that_it_was_empty_the_first_are_handed_out_at_once_again():
    async def scenario():
        heard: list[float] = []
        backlog = Backlog[int](lambda _: heard.append(now()))
        task = asyncio.create_task(backlog.run())
        for first in (0, 1000):
            for key in range(first, first + AT_ONCE):
                backlog.add(key)
            await asyncio.sleep(1)
        task.cancel()
        assert heard == [0.0] * AT_ONCE + [1.0] * AT_ONCE

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
