from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Iterator
from dataclasses import replace

import httpx
import pytest

from model_server.errors import Overloaded
from model_server.lifecycle import Lifecycle
from model_server.loading import load_model
from model_server.settings import Settings
from model_server.workers import Workers
from tests.server import overload
from tests.server.artifacts import encode, make_picture

JPEG = {"content": encode(make_picture()), "headers": {"content-type": "image/jpeg"}}


@pytest.fixture
def settings(artifact) -> Settings:
    return Settings(
        model_path=artifact, inference_threads=1, queue_size=1, request_timeout_seconds=20
    )


@pytest.fixture
def gate(settings: Settings, workers: Workers, lifecycle: Lifecycle) -> Iterator[threading.Event]:
    """Holds every prediction of the real model back until it is set."""
    gate = threading.Event()
    model = load_model(settings, workers)

    def held_back(*given: object):
        gate.wait()
        return model.predict(*given)

    lifecycle.loaded(replace(model, predict=held_back))
    yield gate
    gate.set()


async def pending(workers: Workers, count: int) -> None:
    async with asyncio.timeout(10):
        while workers.pending != count:  # noqa: ASYNC110 - threads change it
            await asyncio.sleep(0)


async def test_a_full_queue_is_answered_503_with_retry_after_and_probes_are_not_held_up(
    loading_client: httpx.AsyncClient, workers: Workers, gate: threading.Event
):
    accepted = [asyncio.create_task(loading_client.post("/predict", **JPEG)) for _ in range(2)]
    await pending(workers, 2)
    rejected = await loading_client.post("/predict", **JPEG)
    assert rejected.status_code == 503
    assert rejected.headers["retry-after"] == "1"
    assert rejected.json()["type"] == "urn:cv-factory:problem:overloaded"
    for probe in ("/health", "/ready", "/metrics"):
        assert (await loading_client.get(probe)).status_code == 200
    assert await gauge(loading_client, "prediction_queue_depth") == 1
    assert await gauge(loading_client, "predictions_in_progress") == 1
    gate.set()
    assert [response.status_code for response in await asyncio.gather(*accepted)] == [200, 200]
    assert (await loading_client.post("/predict", **JPEG)).status_code == 200
    assert await gauge(loading_client, "prediction_queue_depth") == 0
    assert await gauge(loading_client, "predictions_in_progress") == 0


async def gauge(client: httpx.AsyncClient, name: str, labels: str = "") -> float:
    lines = (await client.get("/metrics")).text.splitlines()
    [sample] = [line for line in lines if line.startswith(f"{name}{{") and labels in line]
    return float(sample.split()[-1])


async def test_requests_that_wait_for_their_prediction_are_overdue_by_how_long(
    loading_client: httpx.AsyncClient, workers: Workers, gate: threading.Event
):
    waiting = [asyncio.create_task(loading_client.post("/predict", **JPEG)) for _ in range(2)]
    await pending(workers, 2)
    async with asyncio.timeout(10):
        while await gauge(loading_client, "predictions_overdue", 'seconds="1"') != 2:  # noqa: ASYNC110 - time changes it
            await asyncio.sleep(0.05)
    assert await gauge(loading_client, "predictions_overdue", 'seconds="30"') == 0
    gate.set()
    await asyncio.gather(*waiting)
    assert await gauge(loading_client, "predictions_overdue", 'seconds="1"') == 0


class TestWithALimitOfAge:
    @pytest.fixture
    def settings(self, settings: Settings) -> Settings:
        return settings.model_copy(update={"max_queue_seconds": 0.2})

    async def test_who_has_waited_for_so_long_is_answered_503_and_leaves_the_queue(
        self, loading_client: httpx.AsyncClient, workers: Workers, gate: threading.Event
    ):
        running = asyncio.create_task(loading_client.post("/predict", **JPEG))
        await pending(workers, 1)
        late = await loading_client.post("/predict", **JPEG)
        assert (late.status_code, late.headers["retry-after"]) == (503, "1")
        assert late.json()["type"] == "urn:cv-factory:problem:overloaded"
        assert "has waited for 0.2 s" in late.json()["detail"]
        await pending(workers, 1)
        gate.set()
        assert (await running).status_code == 200
        assert await gauge(loading_client, "prediction_batch_size_count") == 1
        assert await gauge(loading_client, "prediction_queue_wait_seconds_count") == 2

    async def test_a_prediction_whose_turn_comes_too_late_is_not_begun(
        self, loading_client: httpx.AsyncClient, workers: Workers, gate: threading.Event
    ):
        both = [asyncio.create_task(loading_client.post("/predict", **JPEG)) for _ in range(2)]
        await pending(workers, 2)
        time.sleep(0.3)  # the event loop is held up  # noqa: ASYNC251
        gate.set()
        while workers.pending:
            time.sleep(0.01)  # noqa: ASYNC251
        answers = await asyncio.gather(*both)
        assert sorted(answer.status_code for answer in answers) == [200, 503]
        assert await gauge(loading_client, "prediction_batch_size_count") == 1


async def test_a_caller_that_stops_waiting_gives_its_place_in_the_queue_back():
    workers = Workers(queue_size=1, threads=1)
    gate = threading.Event()
    running = workers.run(gate.wait)
    waiting = workers.run(gate.wait)
    await pending(workers, 2)
    with pytest.raises(Overloaded):
        await workers.run(gate.wait)
    waiting.cancel()
    await pending(workers, 1)
    again = workers.run(gate.wait)
    await pending(workers, 2)
    gate.set()
    assert await running
    assert await again
    workers.close()


async def test_a_job_that_waits_is_not_run_once_its_future_has_another_outcome():
    workers = Workers(queue_size=2, threads=1)
    gate, ran = threading.Event(), []
    running = workers.run(gate.wait)
    failed = workers.run(lambda: ran.append("failed"))
    failed.set_exception(ValueError("too late"))
    await pending(workers, 1)
    last = workers.run(lambda: ran.append("last"))
    gate.set()
    await asyncio.gather(running, last)
    assert ran == ["last"]
    with pytest.raises(ValueError, match="too late"):
        await failed
    workers.close()


async def test_closed_threads_end_and_what_waited_for_them_is_let_go():
    workers = Workers(queue_size=1, threads=1)
    begun, gate, let_go = threading.Event(), threading.Event(), []
    running = workers.run(lambda: begun.set() or gate.wait())
    assert await asyncio.to_thread(begun.wait, 10)
    threads = [one for one in threading.enumerate() if one.name.startswith("inference")]
    workers.run(lambda: let_go.append("was run"), lambda: let_go.append("was dropped"))
    assert not workers.close()
    assert (let_go, workers.pending) == (["was dropped"], 1)
    gate.set()
    assert await running
    assert workers.close()
    assert not any(thread.is_alive() for thread in threads)
    assert let_go == ["was dropped"]


def test_a_job_that_outlives_its_event_loop_leaves_its_place():
    workers = Workers(queue_size=0, threads=1)
    gate, left = threading.Event(), threading.Event()

    async def begin() -> None:
        workers.run(gate.wait, left.set)

    asyncio.run(begin())
    assert workers.pending == 1
    gate.set()
    assert left.wait(10)
    assert workers.pending == 0
    workers.close()


async def test_copies_that_wait_take_no_client_s_place_in_the_queue():
    workers = Workers(queue_size=0, threads=1)
    gate = threading.Event()
    copy = workers.run(gate.wait, copied=True)
    with pytest.raises(Overloaded):
        await workers.run(gate.wait, copied=True)
    assert workers.pending == 0
    assert await workers.run(lambda: "answered") == "answered"
    gate.set()
    assert await copy
    workers.close()


async def test_copies_are_predicted_one_at_a_time_however_many_threads_there_are():
    workers = Workers(queue_size=8, threads=4)
    gate, running, most = threading.Event(), [], []

    def job() -> None:
        running.append(None)
        most.append(len(running))
        gate.wait(0.05)  # another thread would begin meanwhile
        running.pop()

    await asyncio.gather(*(workers.run(job, copied=True) for _ in range(6)))
    assert max(most) == 1
    workers.close()


def test_a_job_run_in_each_thread_runs_once_in_each():
    workers = Workers(queue_size=0, threads=4)
    assert len(set(workers.run_in_each(threading.get_ident))) == 4
    workers.close()


GOOD, REFUSED = overload.Asked(0, 2.0, 200), overload.Asked(0, 1.0, 503, is_overload=True)


@pytest.mark.parametrize(
    ("prediction", "probe", "is_wrong"),
    [
        (REFUSED, GOOD, False),
        (overload.Asked(0, 1.0, 503), GOOD, True),
        (overload.Asked(0, 1.0, 500), GOOD, True),
        (overload.Asked(0, 1.0, 0), GOOD, True),
        (REFUSED, overload.Asked(0, 1001.0, 200), True),
        (REFUSED, overload.Asked(0, 1.0, 503, is_overload=True), True),
    ],
)
def test_the_measurement_of_overload_fails_where_somebody_is_answered_as_nobody_should_be(
    prediction: overload.Asked, probe: overload.Asked, is_wrong: bool
):
    good = overload.Load(1.0, [GOOD])
    record = overload.Record(
        good, good, overload.Load(1.0, [GOOD, REFUSED, prediction]), overload.Load(1.0, [probe])
    )
    assert overload.is_wrong(record) == is_wrong
