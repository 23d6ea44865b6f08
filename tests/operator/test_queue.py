"""The work queue, in virtual time."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from model_operator.runtime import queue as queue_module
from model_operator.runtime.queue import WorkQueue
from tests.operator.virtual_time import now, run


def exact_queue() -> WorkQueue[str]:
    return WorkQueue(jitter=lambda: 1.0)


async def next_key(queue: WorkQueue[str], *, within: float) -> tuple[str, float] | None:
    """The next key and when it came; None when none comes in time."""
    try:
        async with asyncio.timeout(within):
            return await queue.get(), now()
    except TimeoutError:
        return None


def test_a_key_that_waits_is_there_once():
    async def scenario():
        queue = exact_queue()
        for key in ("a", "b", "a", "a"):
            queue.add(key)
        assert len(queue) == 2
        assert [await queue.get(), await queue.get()] == ["a", "b"]
        queue.done("a")
        queue.done("b")
        assert await next_key(queue, within=1000) is None

    run(scenario())


def test_a_key_is_never_worked_on_twice_at_a_time_and_comes_again_when_added_meanwhile():
    async def scenario():
        queue = exact_queue()
        queue.add("a")
        await queue.get()
        queue.add("a")
        queue.add("a")
        assert await next_key(queue, within=1000) is None, "handed out while it is worked on"
        queue.done("a")
        assert await next_key(queue, within=0.001) is not None
        queue.done("a")
        assert await next_key(queue, within=1000) is None, "two adds during one pass are one"

    run(scenario())


def test_a_key_that_was_not_added_meanwhile_does_not_come_again():
    async def scenario():
        queue = exact_queue()
        queue.add("a")
        queue.done(await queue.get())
        assert await next_key(queue, within=1000) is None

    run(scenario())


@pytest.mark.parametrize("appointments", [(10, 300), (300, 10)])
def test_the_earlier_of_two_appointments_stays_and_the_later_is_gone(appointments):
    async def scenario():
        queue = exact_queue()
        for seconds in appointments:
            queue.add_after("a", seconds)
        assert await next_key(queue, within=1000) == ("a", 10)
        queue.done("a")
        assert await next_key(queue, within=1000) is None

    run(scenario())


def test_an_add_at_once_takes_the_place_of_an_appointment():
    async def scenario():
        queue = exact_queue()
        queue.add_after("a", 10)
        queue.add("a")
        assert await next_key(queue, within=1000) == ("a", 0)
        queue.done("a")
        assert await next_key(queue, within=1000) is None

    run(scenario())


def test_an_appointment_that_comes_due_during_a_pass_is_kept_after_it():
    async def scenario():
        queue = exact_queue()
        queue.add("a")
        await queue.get()
        queue.add_after("a", 5)
        assert await next_key(queue, within=100) is None
        queue.done("a")
        assert await next_key(queue, within=0.001) is not None

    run(scenario())


def test_pauses_double_to_their_cap_and_begin_anew_once_a_pass_went_well():
    async def scenario():
        queue = exact_queue()
        pauses = [queue.add_with_back_off("a") for _ in range(8)]
        assert pauses == [1, 2, 4, 8, 16, 32, 60, 60]
        assert queue.add_with_back_off("b") == 1, "each key has its own pause"
        queue.forget("a")
        assert queue.add_with_back_off("a") == 1

    run(scenario())


def test_a_key_comes_back_exactly_after_the_pause_that_it_was_given():
    async def scenario():
        queue = exact_queue()
        expected = 0.0
        for _ in range(4):
            expected += queue.add_with_back_off("a")
            assert await next_key(queue, within=1000) == ("a", expected)
            queue.done("a")

    run(scenario())


def test_pauses_are_spread_by_at_most_a_fifth_so_that_keys_do_not_return_together():
    async def scenario():
        queue: WorkQueue[int] = WorkQueue()
        pauses = {queue.add_with_back_off(key) for key in range(100)}
        first = queue_module.FIRST_PAUSE_SECONDS
        assert len(pauses) > 50
        assert all(0.8 * first <= pause <= 1.2 * first for pause in pauses)

    run(scenario())


KEYS = st.sampled_from("abc")
ACTIONS = st.one_of(
    st.tuples(st.just("add"), KEYS),
    st.tuples(st.just("later"), KEYS, st.floats(0, 100)),
    st.tuples(st.just("back off"), KEYS),
    st.tuples(st.just("forget"), KEYS),
    st.tuples(st.just("get")),
    st.tuples(st.just("done"), KEYS),
    st.tuples(st.just("wait"), st.floats(0, 100)),
)


class Bookkeeper:
    """Plays workers at random, and notes what was asked for and what was handed out."""

    def __init__(self) -> None:
        self.queue = exact_queue()
        self.working: set[str] = set()
        self.unanswered: set[str] = set()
        """Asked for, and not handed out since."""

    async def act(self, action: str, *arguments: Any) -> None:
        match action:
            case "add":
                self.queue.add(*arguments)
            case "later":
                self.queue.add_after(*arguments)
            case "back off":
                self.queue.add_with_back_off(*arguments)
            case "forget":
                self.queue.forget(*arguments)
            case "get":
                await self.take(within=0.001)
            case "done":
                self.finish(*arguments)
            case "wait":
                await asyncio.sleep(*arguments)
        if action in ("add", "later", "back off"):
            self.unanswered.add(arguments[0])

    async def take(self, *, within: float) -> bool:
        taken = await next_key(self.queue, within=within)
        if taken:
            assert taken[0] not in self.working, "worked on twice at a time"
            self.working.add(taken[0])
            self.unanswered.discard(taken[0])
        return taken is not None

    def finish(self, key: str) -> None:
        if key in self.working:
            self.working.remove(key)
            self.queue.done(key)

    async def drain(self) -> None:
        while True:
            for key in tuple(self.working):
                self.finish(key)
            if not await self.take(within=1000):
                return


@given(st.lists(ACTIONS, max_size=40))
def test_whatever_is_done_in_whatever_order_nothing_that_was_asked_for_is_lost(actions):
    async def scenario():
        bookkeeper = Bookkeeper()
        for action in actions:
            await bookkeeper.act(*action)
        await bookkeeper.drain()
        assert not bookkeeper.unanswered

    run(scenario())


def test_a_pause_is_at_least_what_the_other_side_asked_for():
    async def scenario():
        queue = exact_queue()
        assert queue.add_with_back_off("a", at_least=7) == 7
        assert queue.add_with_back_off("a", at_least=1) == 2

    run(scenario())


def test_a_closed_queue_keeps_no_appointment():
    async def scenario():
        queue = exact_queue()
        queue.add("a")
        queue.add_after("b", 5)
        queue.close()
        assert (len(queue), queue.oldest_wait()) == (0, 0)
        assert await next_key(queue, within=0.001) == ("a", 0), "nobody asks for it any more"
        assert await next_key(queue, within=1000) is None

    run(scenario())
