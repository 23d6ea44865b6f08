"""One request from its header to its end: its deadline, its client's going, the process's end."""

from __future__ import annotations

import asyncio
import gc
import json
import socket
import struct
import time
from collections.abc import AsyncIterator, Callable, Iterator
from dataclasses import replace
from typing import Any

import httpx
import pytest
from starlette.types import ASGIApp
from structlog.testing import capture_logs

from model_server.app import create_app
from model_server.errors import Abandoned, RequestError
from model_server.lifecycle import Lifecycle
from model_server.loading import load_model
from model_server.metrics import Metrics
from model_server.mirror.sender import Mirror
from model_server.prediction import IsWanted, Predictions
from model_server.rest.protocol import CONNECTION, TimedProtocol
from model_server.settings import Settings
from model_server.workers import Workers
from tests.server.artifacts import encode, make_picture
from tests.server.gate import Gate, until
from tests.server.loopback import answers, play, running
from tests.server.processes import DEADLINE_SECONDS

JPEG = encode(make_picture())
IMAGE = {"content-type": "image/jpeg"}
LARGEST = len(JPEG)


@pytest.fixture
def settings(artifact) -> Settings:
    return Settings(
        model_path=artifact,
        inference_threads=1,
        queue_size=1,
        body_timeout_seconds=3600,
        request_timeout_seconds=3600,
        max_body_bytes=LARGEST,
        max_bodies_bytes=LARGEST * 2,
    )


@pytest.fixture
def gate(settings: Settings, workers: Workers, lifecycle: Lifecycle) -> Iterator[Gate]:
    gate = Gate()
    model = load_model(settings, workers)

    def held_back(images: list[bytes], is_wanted: IsWanted) -> Predictions:
        gate.hold(is_wanted)
        return model.predict(images, is_wanted)

    lifecycle.loaded(replace(model, predict=held_back))
    yield gate
    gate.open.set()


class Offers(Mirror):
    """A mirror that keeps what it is offered instead of sending it."""

    active = True  # type: ignore[assignment]

    def __init__(self, settings: Settings, metrics: Metrics) -> None:
        super().__init__(settings, metrics)
        self.offered: list[Any] = []

    def offer(self, copy: Any) -> None:
        self.offered.append(copy)


@pytest.fixture
def metrics() -> Metrics:
    return Metrics()


@pytest.fixture
def mirror(settings: Settings, metrics: Metrics) -> Offers:
    return Offers(settings, metrics)


@pytest.fixture
def app(
    settings: Settings, lifecycle: Lifecycle, workers: Workers, metrics: Metrics, mirror: Offers
) -> ASGIApp:
    return create_app(settings, lifecycle, workers, metrics, mirror)


@pytest.fixture
async def client(app: ASGIApp, gate: Gate) -> AsyncIterator[httpx.AsyncClient]:
    transport = httpx.ASGITransport(app)
    async with httpx.AsyncClient(transport=transport, base_url="http://server") as client:
        yield client


async def test_the_time_of_the_body_and_of_the_prediction_count_together(
    client: httpx.AsyncClient, gate: Gate, monkeypatch: pytest.MonkeyPatch
):
    loop = asyncio.get_running_loop()
    real, passed = loop.time, 0.0
    monkeypatch.setattr(loop, "time", lambda: real() + passed)

    async def late() -> AsyncIterator[bytes]:
        nonlocal passed
        yield JPEG[:100]
        passed += 3000
        yield JPEG[100:]

    answer = asyncio.create_task(client.post("/predict", content=late(), headers=IMAGE))
    await until(gate.entered.is_set, "the prediction runs")
    passed += 1000
    async with asyncio.timeout(DEADLINE_SECONDS):
        response = await answer
    assert response.status_code == 503
    assert response.json()["type"] == "urn:cv-factory:problem:prediction-timeout"
    assert "took longer than 3600 s" in response.json()["detail"]


async def test_what_the_end_of_the_process_cancels_is_a_problem_with_a_status_of_its_own(
    client: httpx.AsyncClient, gate: Gate
):
    with capture_logs() as logs:
        answer = asyncio.create_task(client.post("/predict", content=JPEG, headers=IMAGE))
        await until(gate.entered.is_set, "the prediction runs")
        answer.cancel()
        response = await answer
    assert (response.status_code, response.headers["retry-after"]) == (503, "1")
    assert response.json()["type"] == "urn:cv-factory:problem:cut-off"
    [line] = logs
    assert (line["event"], line["status"], line["problem"]) == ("request", 503, "cut-off")


class Line(TimedProtocol):
    """A connection that nothing is sent through, as the application sees it."""

    def __init__(self) -> None:
        self.tell: Callable[[], None] | None = None

    age, is_at_end = 0.0, False

    def tell_when_lost(self, tell: Callable[[], None]) -> None:
        self.tell = tell

    def tell_nobody(self) -> None:
        self.tell = None


class Caller:
    """A client that can hang up, right at the application."""

    def __init__(self, app: ASGIApp) -> None:
        self._messages: asyncio.Queue[dict[str, Any]] = asyncio.Queue()
        self._line = Line()
        self.answered: list[Any] = []
        self.scope = self._scope()
        self.task = asyncio.create_task(app(self.scope, self._messages.get, self._send))

    def send_body(self, body: bytes, *, more: bool = False) -> None:
        self._messages.put_nowait({"type": "http.request", "body": body, "more_body": more})

    def hang_up(self) -> None:
        self._messages.put_nowait({"type": "http.disconnect"})
        if self._line.tell is not None:
            self._line.tell()

    @property
    def status(self) -> int:
        return int(self.answered[0]["status"])

    @property
    def problem(self) -> Any:
        return json.loads(self.answered[1]["body"])

    async def _send(self, message: Any) -> None:
        self.answered.append(message)

    def _scope(self) -> dict[str, Any]:
        return {
            "type": "http",
            "asgi": {"version": "3.0"},
            "http_version": "1.1",
            "method": "POST",
            "scheme": "http",
            "path": "/predict",
            "raw_path": b"/predict",
            "root_path": "",
            "query_string": b"",
            "headers": [(b"content-type", b"image/jpeg")],
            "server": ("server", 80),
            "state": {CONNECTION: self._line},
        }


async def test_a_client_that_hangs_up_leaves_the_queue_is_counted_499_and_is_not_mirrored(
    app: ASGIApp, gate: Gate, workers: Workers, mirror: Offers
):
    running, waiting = Caller(app), Caller(app)
    running.send_body(JPEG)
    await until(gate.entered.is_set, "the first is predicted")
    waiting.send_body(JPEG)
    await until(lambda: workers.pending == 2, "the second waits")
    with capture_logs() as logs:
        waiting.hang_up()
        async with asyncio.timeout(DEADLINE_SECONDS):
            await waiting.task
        assert workers.pending == 1
        assert gate.is_wanted()
        running.hang_up()
        async with asyncio.timeout(DEADLINE_SECONDS):
            await running.task
    assert [line["status"] for line in logs] == [499, 499]
    gate.open.set()
    await until(lambda: workers.pending == 0, "nothing is left to do")
    assert (gate.count, gate.is_wanted()) == (1, False)
    assert (running.answered, waiting.answered, mirror.offered) == ([], [], [])
    stays = Caller(app)
    stays.send_body(JPEG)
    async with asyncio.timeout(DEADLINE_SECONDS):
        await stays.task
    assert [stays.answered[0]["status"], len(mirror.offered)] == [200, 1]
    assert stays.scope["state"]["after_answer"] == [], "a copy, with its body"


def reset(client: socket.socket) -> None:
    """Close it as a client does that is gone; without the reset it might only send no more."""
    client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    client.close()


def test_a_client_whose_connection_is_lost_leaves_its_prediction_and_room_to_others(
    app: ASGIApp, lifecycle: Lifecycle, gate: Gate, workers: Workers
):
    head = b"POST /predict HTTP/1.1\r\nHost: server\r\nContent-Type: image/jpeg\r\n"
    request = head + b"Connection: close\r\nContent-Length: %d\r\n\r\n" % len(JPEG) + JPEG

    async def scene() -> bytes:
        async with running(app, lifecycle=lifecycle) as server:
            begun = server.connect()
            begun.sendall(request)
            await until(gate.entered.is_set, "the first is predicted")
            waiting = server.connect()
            waiting.sendall(request)
            await until(lambda: workers.pending == 2, "the second waits")
            reset(waiting)
            await until(lambda: workers.pending == 1, "the second has left")
            reset(begun)
            await until(lambda: not gate.is_wanted(), "nobody wants the first")
            gate.open.set()
            third = server.connect()
            third.sendall(request)
            return await answers(third)

    assert play(scene()).startswith(b"HTTP/1.1 200")
    assert workers.pending == 0


def predict_request(body: bytes) -> bytes:
    head = b"POST /predict HTTP/1.1\r\nHost: server\r\nContent-Type: image/jpeg\r\n"
    return head + b"Content-Length: %d\r\n\r\n" % len(body) + body


@pytest.mark.parametrize("first", [1000, 10**9], ids=["in two parts", "at once"])
def test_a_client_that_is_lost_behind_a_large_body_is_noticed_too(
    first: int,
    settings: Settings,
    lifecycle: Lifecycle,
    gate: Gate,
    workers: Workers,
    metrics: Metrics,
):
    """While so much lies unread, uvicorn reads no more."""
    body = JPEG.ljust(3_000_000, b"x")
    larger = settings.model_copy(
        update={"max_body_bytes": len(body), "max_bodies_bytes": 2 * len(body)}
    )
    app = create_app(larger, lifecycle, workers, metrics)

    async def scene() -> None:
        async with running(app, lifecycle=lifecycle) as server:
            client = server.connect()
            request = predict_request(body)
            await asyncio.to_thread(client.sendall, request[:first])
            if request[first:]:
                connection = await server.accepted()
                await until(lambda: connection.cycle is not None, "its head was read")
                await asyncio.to_thread(client.sendall, request[first:])
            await until(gate.entered.is_set, "it is predicted")
            reset(client)
            await until(lambda: not gate.is_wanted(), "nobody wants it")
            gate.open.set()

    play(scene())


def test_where_two_requests_lose_their_connection_the_first_is_told_and_no_error_is_logged(
    app: ASGIApp,
    lifecycle: Lifecycle,
    gate: Gate,
    caplog: pytest.LogCaptureFixture,
):
    async def scene() -> None:
        async with running(app, lifecycle=lifecycle) as server:
            client = server.connect()
            client.sendall(2 * predict_request(JPEG))
            await until(gate.entered.is_set, "the first is predicted")
            connection = await server.accepted()
            await until(lambda: len(connection.pipeline) == 1, "the second waits behind it")
            reset(client)
            await until(lambda: not connection.tasks, "the first is over")
            gate.open.set()

    with capture_logs() as logs:
        play(scene())
    assert [line["status"] for line in logs] == [499]
    assert (gate.count, caplog.messages) == (1, [])


@pytest.mark.parametrize("lowered", ["request_timeout_seconds", "max_queue_seconds"])
def test_an_outcome_that_is_there_in_time_counts_though_the_loop_comes_late(
    lowered: str,
    settings: Settings,
    lifecycle: Lifecycle,
    gate: Gate,
    workers: Workers,
    metrics: Metrics,
):
    """It is held up until the time is over, while the thread does all that it has to do."""
    app = create_app(settings.model_copy(update={lowered: 0.5}), lifecycle, workers, metrics)
    ends_late = lowered == "max_queue_seconds"  # the second is then too old for its turn

    async def scene() -> list[int]:
        callers = [Caller(app) for _ in range(1 + ends_late)]
        for caller in callers:
            caller.send_body(JPEG)
        while workers.pending != len(callers):  # noqa: ASYNC110 - nobody tells
            await asyncio.sleep(0)
        asked = time.monotonic()
        if ends_late:
            time.sleep(0.6)  # noqa: ASYNC251 - holds the loop up, which is what is tried
        gate.open.set()
        while workers.pending or time.monotonic() < asked + 0.6:
            time.sleep(0.01)  # noqa: ASYNC251
        await ended(*callers)
        return [caller.status for caller in callers]

    assert play(scene()) == ([200, 503] if ends_late else [200])
    [line] = [
        line
        for line in metrics.text().decode().splitlines()
        if line.startswith("prediction_queue_wait_seconds_count")
    ]
    assert float(line.split()[-1]) == 1 + ends_late


async def ended(*callers: Caller) -> None:
    async with asyncio.timeout(DEADLINE_SECONDS):
        await asyncio.wait([caller.task for caller in callers])


async def test_bodies_have_room_for_what_has_arrived_of_them_until_their_prediction_is_over(
    app: ASGIApp, gate: Gate, workers: Workers
):
    predicted, arriving, more = Caller(app), Caller(app), Caller(app)
    predicted.send_body(JPEG)
    arriving.send_body(JPEG[:-1], more=True)
    more.send_body(b"x", more=True)
    await until(gate.entered.is_set, "the first is predicted")
    refused = Caller(app)
    refused.send_body(b"x", more=True)
    await ended(refused)
    assert refused.status == 503
    assert refused.problem["type"] == "urn:cv-factory:problem:overloaded"
    assert (b"retry-after", b"1") in refused.answered[0]["headers"]
    assert not arriving.task.done()
    predicted.hang_up()
    more.hang_up()
    await ended(predicted, more)
    still_predicted = Caller(app)
    still_predicted.send_body(b"xx")
    await ended(still_predicted)
    assert still_predicted.status == 503
    gate.open.set()
    await until(lambda: workers.pending == 0, "the prediction is over")
    arriving.send_body(JPEG[-1:])
    whole = Caller(app)
    whole.send_body(JPEG)
    await ended(arriving, whole)
    assert (arriving.status, whole.status) == (200, 200)


@pytest.mark.parametrize("spoiled", [JPEG + b"x", JPEG[:9]], ids=["too long", "cut off"])
async def test_a_body_that_comes_to_nothing_gives_its_room_back(
    app: ASGIApp, gate: Gate, spoiled: bytes
):
    gate.open.set()
    for _ in range(5):
        caller = Caller(app)
        caller.send_body(JPEG[:9], more=True)
        caller.send_body(spoiled, more=True)
        caller.hang_up()
        await ended(caller)
        assert caller.answered == []
    callers = [Caller(app), Caller(app)]
    for caller in callers:
        caller.send_body(JPEG)
    await ended(*callers)
    assert [caller.status for caller in callers] == [200, 200]


def test_a_prediction_that_nobody_wants_any_more_stops_at_its_next_picture(
    settings: Settings, workers: Workers
):
    predict = load_model(settings, workers).predict
    asked: list[int] = []

    def is_wanted() -> bool:
        asked.append(len(asked))
        return len(asked) < 2

    damaged = JPEG[: len(JPEG) // 2]
    with pytest.raises(Abandoned):
        predict([JPEG, JPEG, damaged], is_wanted)
    assert asked == [0, 1]


def refusals() -> list[str]:
    """Those that exist, what is kept on purpose among them, in order."""
    return sorted(str(one) for one in gc.get_objects() if issubclass(type(one), RequestError))


async def test_a_refused_request_leaves_nothing_for_the_collector_to_find(
    client: httpx.AsyncClient, gate: Gate
):
    """Until it came, its body would be held without being counted."""
    gate.open.set()
    broken = JPEG[: len(JPEG) // 2]
    await client.post("/predict", content=broken, headers=IMAGE)
    gc.collect()
    gc.disable()
    try:
        before = refusals()
        for _ in range(5):
            answer = await client.post("/predict", content=broken, headers=IMAGE)
            assert answer.status_code == 400
        assert refusals() == before
    finally:
        gc.enable()
