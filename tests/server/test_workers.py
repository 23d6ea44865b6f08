"""The inference threads and their queue: what they hold, how they end, what they log."""

from __future__ import annotations

import asyncio
import threading
import time
import weakref
from collections.abc import Iterator

import pytest
from structlog.testing import capture_logs

from model_server.errors import Abandoned, DamagedPicture
from model_server.workers import Workers
from tests.server.gate import Gate, until
from tests.server.processes import DEADLINE_SECONDS


@pytest.fixture
def workers() -> Iterator[Workers]:
    """One thread: what was given to it first is over first."""
    workers = Workers(queue_size=1, threads=1)
    yield workers
    workers.close()


@pytest.fixture
def gate() -> Iterator[Gate]:
    gate = Gate()
    yield gate
    gate.open.set()


def test_what_was_taken_out_of_the_queue_is_let_go_before_its_turn(workers: Workers, gate: Gate):
    class Body:
        """Stands for what a job holds."""

        def __call__(self) -> None:
            raise AssertionError("nobody wants it")

    async def play() -> bool:
        running = workers.run(lambda: gate.hold(lambda: True))
        body = Body()
        held = weakref.ref(body)
        waiting = workers.run(body)
        del body
        waiting.cancel()
        await asyncio.sleep(0)
        let_go = held() is None
        gate.open.set()
        await running
        return let_go

    assert asyncio.run(play())


def test_a_request_that_has_its_outcome_before_its_turn_holds_nothing_until_then(
    workers: Workers, gate: Gate
):
    """Its traceback holds what the request holds, its body too."""

    class Body:
        """Stands for one."""

    held: list[weakref.ref[Body]] = []

    async def request(waiting: asyncio.Future[None]) -> None:
        body = Body()
        held.append(weakref.ref(body))
        try:
            await waiting
        finally:
            del waiting

    async def play() -> bool:
        running = workers.run(lambda: gate.hold(lambda: True))
        waiting = workers.run(lambda: None)
        task = asyncio.create_task(request(waiting))
        await asyncio.sleep(0)
        waiting.set_exception(TimeoutError())
        del waiting
        with pytest.raises(TimeoutError):
            await task
        del task
        await asyncio.sleep(0)
        let_go = held[0]() is None
        gate.open.set()
        await running
        return let_go

    assert asyncio.run(play())


@pytest.mark.parametrize(
    ("error", "logged"), [(OSError("broken"), 1), (Abandoned(), 0), (DamagedPicture("cut off"), 0)]
)
def test_what_nobody_foresaw_is_logged_though_nobody_waits_for_it(
    workers: Workers, gate: Gate, error: Exception, logged: int
):
    def fail() -> None:
        gate.hold(lambda: True)
        raise error

    async def play() -> None:
        failing = workers.run(fail)
        await until(gate.entered.is_set, "it runs")
        failing.cancel()
        gate.open.set()
        await workers.run(lambda: None)  # behind it

    with capture_logs() as logs:
        asyncio.run(play())
    assert [line["log_level"] for line in logs] == ["error"] * logged


def test_a_job_that_ends_an_iterator_by_mistake_fails_as_any_other(workers: Workers):
    async def play() -> None:
        async with asyncio.timeout(DEADLINE_SECONDS):
            await workers.run(lambda: next(iter(())))

    with pytest.raises(RuntimeError, match="StopIteration"):
        asyncio.run(play())


def test_the_end_waits_no_longer_for_many_busy_threads_than_for_one():
    gate, begun = threading.Event(), threading.Semaphore(0)
    workers = Workers(queue_size=1, threads=8)

    def job() -> None:
        begun.release()
        gate.wait(DEADLINE_SECONDS)

    busy = threading.Thread(target=workers.run_in_each, args=(job,), daemon=True)
    busy.start()
    assert all(begun.acquire(timeout=DEADLINE_SECONDS) for _ in range(8))
    began = time.monotonic()
    assert not workers.close()
    took = time.monotonic() - began
    gate.set()
    busy.join(DEADLINE_SECONDS)
    assert took < 4  # eight, one after the other, would take 8
