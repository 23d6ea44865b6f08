"""The mirror in this process, with a target on the loopback. Processes: test_mirror_faults."""

from __future__ import annotations

import asyncio
import hashlib
import json
import os
import socket
import threading
import time
from collections.abc import AsyncIterator, Callable
from functools import partial
from pathlib import Path
from typing import Any

import httpx
import pytest
import structlog
from fastapi import FastAPI
from starlette.responses import Response

from model_server.app import create_app
from model_server.lifecycle import Lifecycle
from model_server.loading import load_model
from model_server.metrics import MIRROR_OUTCOMES, Metrics
from model_server.mirror import sender, wire
from model_server.mirror.config import Reading, look
from model_server.mirror.copies import Copy
from model_server.mirror.sender import Mirror
from model_server.rest.telemetry import Telemetry
from model_server.settings import Settings
from model_server.workers import Workers
from tests.server.artifacts import encode, make_picture
from tests.server.mirror_target import Target, mirror_target
from tests.server.test_metrics import value

JPEG = encode(make_picture())
IMAGE = {"content-type": "image/jpeg"}


async def until(condition: Callable[[], bool], what: str) -> None:
    deadline = time.monotonic() + 10
    while not condition():
        assert time.monotonic() < deadline, f"not in time: {what}"
        await asyncio.sleep(0.01)


def make_copy(body: bytes = b"", labels: tuple[str, ...] = ("cat",)) -> Copy:
    return Copy("/predict", body, "image/jpeg", None, "id", None, labels)


@pytest.fixture
def settings(artifact: Path, tmp_path: Path) -> Settings:
    return Settings(
        model_path=artifact,
        model_version="3",
        revision="stable-1",
        inference_threads=1,
        max_body_bytes=20_000_000,
        mirror_config=tmp_path / "mirror.json",
        mirror_timeout_seconds=2,
    )


@pytest.fixture
async def target() -> AsyncIterator[Target]:
    async with mirror_target() as target:
        yield target


@pytest.fixture(autouse=True)
def looks(monkeypatch: pytest.MonkeyPatch) -> list[Reading]:
    """Has the configuration looked at often, and keeps what was seen."""
    seen: list[Reading] = []

    def looked(path: Path) -> Reading:
        seen.append(look(path))
        return seen[-1]

    assert sender._READ_SECONDS <= 1
    monkeypatch.setattr(sender, "_READ_SECONDS", 0.02)
    monkeypatch.setattr(sender, "look", looked)
    return seen


@pytest.fixture
def metrics() -> Metrics:
    return Metrics()


@pytest.fixture
def mirror(settings: Settings, metrics: Metrics) -> Mirror:
    return Mirror(settings, metrics)


@pytest.fixture
def app(settings: Settings, workers: Workers, metrics: Metrics, mirror: Mirror) -> FastAPI:
    """A server that is ready."""
    lifecycle = Lifecycle()
    model = load_model(settings, workers)
    metrics.identify(model)
    lifecycle.loaded(model)
    return create_app(settings, lifecycle, workers, metrics, mirror)


@pytest.fixture
async def client(app: FastAPI, mirror: Mirror) -> AsyncIterator[httpx.AsyncClient]:
    """A client of it, while its mirror runs."""
    transport = httpx.ASGITransport(app)
    running = asyncio.create_task(mirror.run())
    async with httpx.AsyncClient(transport=transport, base_url="http://server") as client:
        yield client
    running.cancel()
    await asyncio.wait([running])
    assert running.cancelled()


@pytest.fixture
def configure(settings: Settings, mirror: Mirror):
    """Writes the mirror's configuration and waits until it is followed."""

    async def configure(url: str, percent: int = 100, revision: str = "stable-1") -> None:
        content = {"target": url, "percent": percent, "sourceRevision": revision}
        settings.mirror_config.write_text(json.dumps(content))
        if revision == settings.revision:
            await until(lambda: mirror.active, "the mirror is active")

    return configure


def outcomes(metrics: Metrics) -> dict[str, float]:
    """What became of the copies so far."""
    samples = {
        sample.labels["outcome"]: sample.value
        for family in metrics.mirrored.collect()
        for sample in family.samples
    }
    assert set(samples) == set(MIRROR_OUTCOMES)
    return {outcome: count for outcome, count in samples.items() if count}


def configurations(metrics: Metrics) -> list[tuple[str, float]]:
    """The states that the metrics show the mirror's configuration in."""
    samples = [x for family in metrics._mirror_config.collect() for x in family.samples]
    return [(sample.labels["state"], sample.value) for sample in samples]


async def post(client: httpx.AsyncClient, body: bytes = JPEG, **headers: str) -> httpx.Response:
    return await client.post("/predict", content=body, headers={**IMAGE, **headers})


async def test_a_copy_has_the_request_and_the_prediction_and_nothing_private(
    client: httpx.AsyncClient, target: Target, metrics: Metrics, configure
):
    await configure(target.url)
    trace, parent = "4bf92f3577b34da6a3ce929d0e0e4736", "00f067aa0ba902b7"
    with structlog.testing.capture_logs() as lines:
        answer = await client.post(
            "/predict?token=secret",
            content=JPEG,
            headers={
                **IMAGE,
                "authorization": "Bearer secret",
                "cookie": "session=secret",
                "x-api-key": "secret",
                "x-request-id": "abc-1",
                "traceparent": f"00-{trace}-{parent}-01",
                "tracestate": "vendor=1",
            },
        )
    await until(lambda: outcomes(metrics) == {"sent": 1}, "the copy is sent")
    [copy] = target.received
    [line] = [line for line in lines if line["event"] == "request"]
    assert copy.path == "/predict"
    assert copy.body == JPEG
    own = {
        "content-type": "image/jpeg",
        "content-length": str(len(JPEG)),
        "x-request-id": "abc-1",
        "traceparent": f"00-{trace}-{line['span_id']}-01",
        "tracestate": "vendor=1",
        "x-cv-factory-mirror": "stable-1",
        "x-cv-factory-predictions": wire.encode((answer.json()["label"],)),
    }
    assert {**copy.headers, **own} == copy.headers
    assert set(copy.headers) == {*own, "host"}


async def test_nothing_is_done_for_a_copy_before_the_answer_is_written(
    client: httpx.AsyncClient,
    mirror: Mirror,
    metrics: Metrics,
    target: Target,
    app: FastAPI,
    configure,
):
    await configure(target.url)
    held: list[float] = []

    async def watched(scope, receive, send) -> None:
        async def send_watched(message) -> None:
            await asyncio.sleep(0)
            held.append(mirror._copies.held_bytes)
            await send(message)

        await app(scope, receive, send_watched)

    async with httpx.AsyncClient(
        transport=httpx.ASGITransport(watched), base_url="http://server"
    ) as watching:
        await post(watching)
    assert held == [0, 0], "the answer's start and its body"
    await until(lambda: outcomes(metrics) == {"sent": 1}, "the copy is sent")


@pytest.mark.parametrize(("status", "followed"), [(200, True), (400, False), (500, False)])
async def test_what_follows_an_answer_is_only_done_for_a_good_one(
    metrics: Metrics, status: int, *, followed: bool
):
    done: list[bool] = []

    async def routes(scope, receive, send) -> None:
        scope["state"]["after_answer"].append(lambda: done.append(True))
        await Response(status_code=status)(scope, receive, send)

    telemetry = Telemetry(routes, metrics, Lifecycle(), paths=(), log_lines_per_second=0)
    transport = httpx.ASGITransport(telemetry)
    async with httpx.AsyncClient(transport=transport, base_url="http://server") as client:
        assert (await client.get("/")).status_code == status
    assert done == [True] * followed


async def test_a_copy_waits_while_a_client_waits_for_a_prediction(
    client: httpx.AsyncClient,
    mirror: Mirror,
    metrics: Metrics,
    target: Target,
    configure,
    monkeypatch: pytest.MonkeyPatch,
):
    monkeypatch.setattr(sender, "_GIVE_WAY_SECONDS", 60.0)
    await configure(target.url)
    with mirror.quiet.broken():
        with mirror.quiet.broken():
            mirror.offer(make_copy(JPEG))
        await until(lambda: mirror._copies.waiting == 0, "a sender has the copy")
        await asyncio.sleep(0.05)
        assert target.received == []
    await until(lambda: outcomes(metrics) == {"sent": 1}, "the copy is sent")


async def test_a_client_that_is_answered_breaks_the_quiet_until_then(
    client: httpx.AsyncClient, mirror: Mirror, workers: Workers, configure, target: Target
):
    await configure(target.url)
    held = threading.Event()
    in_the_way = workers.run(held.wait)
    asked = asyncio.create_task(post(client))
    await until(lambda: workers.pending == 2, "the request waits for the thread")
    waiting = asyncio.create_task(mirror.quiet.wait(60))
    await asyncio.sleep(0.05)
    assert not waiting.done()
    held.set()
    assert (await asked).status_code == 200
    await waiting
    await in_the_way


async def test_a_server_that_is_never_quiet_sends_its_copies_all_the_same(
    client: httpx.AsyncClient, mirror: Mirror, metrics: Metrics, target: Target, configure
):
    await configure(target.url)
    with mirror.quiet.broken():
        mirror.offer(make_copy(JPEG))
        await until(lambda: outcomes(metrics) == {"sent": 1}, "the copy is sent")


async def test_a_copy_of_a_v2_request_names_no_version_and_keeps_its_header(
    client: httpx.AsyncClient, target: Target, metrics: Metrics, configure
):
    await configure(target.url)
    header = json.dumps(
        {
            "inputs": [
                {
                    "name": "image",
                    "datatype": "BYTES",
                    "shape": [1],
                    "parameters": {"binary_data_size": len(JPEG) + 4},
                }
            ]
        }
    ).encode()
    body = header + len(JPEG).to_bytes(4, "little") + JPEG
    answer = await client.post(
        "/v2/models/cats-dogs/versions/3/infer",
        content=body,
        headers={
            "content-type": "application/octet-stream",
            "inference-header-content-length": str(len(header)),
        },
    )
    assert answer.status_code == 200, answer.text
    await until(lambda: outcomes(metrics) == {"sent": 1}, "the copy is sent")
    [copy] = target.received
    assert copy.path == "/v2/models/cats-dogs/infer"
    assert copy.body == body
    assert copy.headers["inference-header-content-length"] == str(len(header))


async def test_a_large_body_arrives_whole(
    client: httpx.AsyncClient, target: Target, metrics: Metrics, configure
):
    await configure(target.url)
    picture = JPEG + os.urandom(8_000_000)  # what follows a JPEG's end is passed over
    assert (await post(client, picture)).status_code == 200
    await until(lambda: outcomes(metrics) == {"sent": 1}, "the copy is sent")
    assert target.received[0].body == picture
    assert "transfer-encoding" not in target.received[0].headers


async def test_only_the_configured_share_is_copied(
    client: httpx.AsyncClient, target: Target, metrics: Metrics, configure
):
    await configure(target.url, percent=30)
    for _ in range(100):
        assert (await post(client)).status_code == 200
    await until(lambda: outcomes(metrics) == {"sent": 30}, "30 of 100 are copied")
    assert len(target.received) == 30


async def test_refused_and_mirrored_requests_are_not_copied(
    client: httpx.AsyncClient, target: Target, metrics: Metrics, configure
):
    await configure(target.url)
    assert (await post(client, b"no picture")).status_code == 400
    assert (await post(client, JPEG, **{wire.REVISION_HEADER: "another"})).status_code == 200
    assert (await client.get("/health")).status_code == 200
    await post(client, JPEG, **{"x-request-id": "copied"})
    await until(lambda: outcomes(metrics) == {"sent": 1}, "the last one is copied")
    assert [copy.headers["x-request-id"] for copy in target.received] == ["copied"]


async def test_another_revisions_mirror_is_idle_here(
    client: httpx.AsyncClient, target: Target, metrics: Metrics, configure, settings: Settings
):
    await configure(target.url, revision="another")
    found = hashlib.sha256(settings.mirror_config.read_bytes()).hexdigest()
    await shown(metrics, found, "idle")
    await post(client)
    assert outcomes(metrics) == {}
    assert target.received == []


async def shown(metrics: Metrics, content_hash: str, state: str) -> None:
    """Wait until the metrics show this configuration, and no other."""

    def there() -> bool:
        lines = metrics.text().decode().splitlines()
        found = [line for line in lines if line.startswith("mirror_config_info{")]
        return len(found) == 1 and f'hash="{content_hash}",state="{state}"}} 1.0' in found[0]

    await until(there, f"state {state}")


async def test_a_configuration_that_goes_or_breaks_ends_the_mirroring_and_is_said_once(
    client: httpx.AsyncClient,
    target: Target,
    metrics: Metrics,
    configure,
    settings: Settings,
    looks: list[Reading],
):
    with structlog.testing.capture_logs() as lines:
        await configure(target.url)
        content = settings.mirror_config.read_bytes()
        await shown(metrics, hashlib.sha256(content).hexdigest(), "active")
        settings.mirror_config.write_bytes(b"{}")
        await shown(metrics, hashlib.sha256(b"{}").hexdigest(), "refused")
        await post(client)
        looks.clear()
        await until(lambda: len(looks) > 2, "the file is read again")
        settings.mirror_config.unlink()
        await shown(metrics, "none", "absent")
    assert outcomes(metrics) == {}
    refusals = [line for line in lines if line["log_level"] == "error"]
    assert [line["reason"] for line in refusals] == ["target: field required"]


async def test_an_answer_other_than_2xx_is_a_refusal_and_no_redirect_is_followed(
    client: httpx.AsyncClient, target: Target, metrics: Metrics, configure
):
    await configure(target.url)
    target.status, target.location = 307, f"{target.url}/elsewhere"
    await post(client)
    await until(lambda: outcomes(metrics) == {"refused": 1}, "the redirect is a refusal")
    target.status, target.location = 503, ""
    await post(client)
    await until(lambda: outcomes(metrics) == {"refused": 2}, "503 is a refusal")
    assert [copy.path for copy in target.received] == ["/predict"] * 2


async def test_labels_that_fit_no_header_are_dropped(
    mirror: Mirror, client: httpx.AsyncClient, target: Target, metrics: Metrics, configure
):
    await configure(target.url)
    mirror.offer(make_copy(labels=("label",) * 5000))
    await until(lambda: outcomes(metrics) == {"dropped": 1}, "it is dropped")
    assert target.received == []


class TestOneSender:
    @pytest.fixture
    def settings(self, settings: Settings) -> Settings:
        return settings.model_copy(update={"mirror_concurrency": 1})

    async def test_connections_are_used_again_but_not_for_long(
        self,
        client: httpx.AsyncClient,
        target: Target,
        configure,
        monkeypatch: pytest.MonkeyPatch,
    ):
        assert sender._CONNECTION_SECONDS <= 15
        monkeypatch.setattr(sender, "_CONNECTION_SECONDS", 0.3)
        await configure(target.url)

        def connections() -> int:
            return len({copy.connection for copy in target.received})

        deadline = time.monotonic() + 10
        while connections() < 3:
            await post(client)
            assert time.monotonic() < deadline, "not in time: a third connection"
        assert len(target.received) > connections()


class TestSlowTarget:
    """A target that accepts and never answers, and few places to wait in."""

    @pytest.fixture
    def settings(self, settings: Settings) -> Settings:
        bounds = {"mirror_queue_size": 3, "mirror_concurrency": 2, "mirror_timeout_seconds": 0.2}
        return settings.model_copy(update=bounds)

    async def test_what_has_no_room_is_dropped_and_what_has_no_answer_fails(
        self, client: httpx.AsyncClient, metrics: Metrics, configure
    ):
        with socket.create_server(("127.0.0.1", 0)) as silent:
            await configure(f"http://127.0.0.1:{silent.getsockname()[1]}")
            answers = await asyncio.gather(*(post(client) for _ in range(20)))
            assert {answer.status_code for answer in answers} == {200}
            assert await value(client, "mirror_queue_requests") <= 3
            assert outcomes(metrics)["dropped"] >= 1
            await until(lambda: sum(outcomes(metrics).values()) == 20, "all 20 are accounted for")
            assert outcomes(metrics)["failed"] >= 2
            assert await value(client, "mirror_queue_bytes") == 0

    async def test_the_end_of_mirroring_waits_for_nothing_and_accounts_for_all(
        self, mirror: Mirror, settings: Settings, metrics: Metrics
    ):
        with socket.create_server(("127.0.0.1", 0)) as silent:
            url = f"http://127.0.0.1:{silent.getsockname()[1]}"
            content = {"target": url, "percent": 100, "sourceRevision": "stable-1"}
            settings.mirror_config.write_text(json.dumps(content))
            running = asyncio.create_task(mirror.run())
            await until(lambda: mirror.active, "the mirror is active")
            for _ in range(10):
                mirror.offer(make_copy(b"body"))
            await asyncio.sleep(0)
            running.cancel()
            async with asyncio.timeout(5):
                await asyncio.wait([running])
            assert not mirror.active
            mirror.offer(make_copy())
            assert sum(outcomes(metrics).values()) == 10
            assert configurations(metrics) == [("ended", 1.0)]


def test_a_change_of_the_configuration_is_never_seen_as_none(
    metrics: Metrics, monkeypatch: pytest.MonkeyPatch
):
    """What another thread could read in between, looked at after each step."""
    seen: list[int] = []
    gauge = metrics._mirror_config

    def watched(plain: Callable[..., Any], *labels: str) -> Any:
        done = plain(*labels)
        seen.append(len(configurations(metrics)))
        return done

    for step in ("clear", "remove", "labels"):
        monkeypatch.setattr(gauge, step, partial(watched, getattr(gauge, step)))
    metrics.mirror_config("a", "active")
    metrics.mirror_config("a", "active")
    metrics.mirror_config("b", "idle")
    assert 0 not in seen
    assert configurations(metrics) == [("idle", 1.0)]
