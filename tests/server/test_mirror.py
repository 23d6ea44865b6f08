"""The mirror in this process, with a target on the loopback. Processes: test_mirror_faults."""

from __future__ import annotations

import asyncio
import hashlib
import json
import os
import socket
import time
from collections import deque
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import httpx
import pytest
import structlog
from fastapi import FastAPI
from hypothesis import given
from hypothesis import strategies as st

from model_server.app import create_app
from model_server.lifecycle import Lifecycle
from model_server.loading import load_model
from model_server.metrics import MIRROR_OUTCOMES, Metrics
from model_server.mirror import sender, wire
from model_server.mirror.config import MirrorConfigRefused, Reading, look, parse
from model_server.mirror.copies import Copies, Copy
from model_server.mirror.sender import Mirror
from model_server.mirror.share import Share
from model_server.settings import Settings
from model_server.workers import Workers
from tests.server.artifacts import encode, make_picture
from tests.server.mirror_target import Target, mirror_target
from tests.server.test_metrics import value

JPEG = encode(make_picture())
IMAGE = {"content-type": "image/jpeg"}
GOOD = {"target": "http://shadow.vision.svc:8000", "percent": 30, "sourceRevision": "9c1b4d2e07"}


async def until(condition: Callable[[], bool], what: str) -> None:
    deadline = time.monotonic() + 10
    while not condition():
        assert time.monotonic() < deadline, f"not in time: {what}"
        await asyncio.sleep(0.01)


def make_copy(body: bytes = b"", labels: tuple[str, ...] = ("cat",)) -> Copy:
    return Copy("/predict", body, "image/jpeg", None, "id", None, labels)


# The configuration


@pytest.mark.parametrize("target", ["http://10.0.0.1:80", "http://[fd00::1]:8000", "http://a.b:1"])
def test_a_good_configuration_is_read(target: str):
    config = parse(json.dumps({**GOOD, "target": target}).encode())
    assert (config.target, config.percent, config.source_revision) == (target, 30, "9c1b4d2e07")


@pytest.mark.parametrize(
    ("content", "named"),
    [
        (b"", "json"),
        (b"[]", "object"),
        (b"\xff", "json"),
        (b'{"percent": 1, "sourceRevision": "a"}', "target"),
        ({**GOOD, "target": "https://shadow:8000"}, "target"),
        ({**GOOD, "target": "http://shadow"}, "target"),
        ({**GOOD, "target": "http://shadow:8000/"}, "target"),
        ({**GOOD, "target": "http://user:word@shadow:8000"}, "target"),
        ({**GOOD, "target": "http://shadow:8000\n"}, "target"),
        ({**GOOD, "target": "http://shadow:99999"}, "target"),
        ({**GOOD, "percent": 101}, "percent"),
        ({**GOOD, "percent": -1}, "percent"),
        ({**GOOD, "percent": 1.5}, "percent"),
        ({**GOOD, "percent": "30"}, "percent"),
        ({**GOOD, "percent": True}, "percent"),
        ({**GOOD, "sourceRevision": ""}, "sourceRevision"),
        ({**GOOD, "sourceRevision": "a b"}, "sourceRevision"),
        ({**GOOD, "retries": 3}, "retries"),
    ],
)
def test_a_wrong_configuration_is_refused_by_what_is_wrong(
    content: bytes | dict[str, Any], named: str
):
    raw = content if isinstance(content, bytes) else json.dumps(content).encode()
    with pytest.raises(MirrorConfigRefused, match=f"(?i){named}"):
        parse(raw)


def test_a_look_tells_no_file_from_one_that_cannot_be_read(tmp_path: Path):
    path = tmp_path / "mirror.json"
    assert look(path).state("any") == "absent"
    os.mkfifo(path)
    assert look(path).state("any") == "refused"
    path.unlink()
    path.mkdir()
    assert look(path).state("any") == "refused"
    path.rmdir()
    path.write_bytes(b" " * 70_000)
    assert look(path).state("any") == "refused"
    path.write_text(json.dumps(GOOD))
    assert look(path).state("9c1b4d2e07") == "active"
    assert look(path).state("another") == "idle"
    assert look(path).content_hash == hashlib.sha256(path.read_bytes()).hexdigest()


# The share and the queue


@given(percent=st.integers(0, 100), skipped=st.integers(0, 300))
def test_of_any_hundred_requests_in_a_row_exactly_the_percentage_is_taken(
    percent: int, skipped: int
):
    share = Share(percent)
    for _ in range(skipped):
        share.take()
    assert sum(share.take() for _ in range(100)) == percent


@given(
    max_count=st.integers(1, 5),
    max_bytes=st.integers(1, 100),
    steps=st.lists(
        st.one_of(st.binary(max_size=60), st.sampled_from(["get", "release", "clear"])),
        max_size=60,
    ),
)
def test_the_queue_never_holds_more_than_it_may(
    max_count: int, max_bytes: int, steps: list[bytes | str]
):
    async def play() -> None:
        copies = Copies(max_count=max_count, max_bytes=max_bytes)
        waiting: deque[Copy] = deque()
        under_way: list[Copy] = []
        for step in steps:
            if isinstance(step, bytes):
                copy = make_copy(step)
                held = sum(len(other.body) for other in [*waiting, *under_way])
                fits = len(waiting) < max_count and held + len(step) <= max_bytes
                assert copies.put(copy) == fits
                if fits:
                    waiting.append(copy)
            elif step == "get" and waiting:
                assert await copies.get() is waiting[0]
                under_way.append(waiting.popleft())
            elif step == "release" and under_way:
                copies.release(under_way.pop())
            elif step == "clear":
                assert copies.clear() == len(waiting)
                waiting.clear()
            assert copies.waiting == len(waiting) <= max_count
            held = sum(len(other.body) for other in [*waiting, *under_way])
            assert copies.held_bytes == held <= max_bytes

    asyncio.run(play())


# The whole way, from a client's request to the target


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


async def test_no_copy_goes_out_on_an_old_connection(
    client: httpx.AsyncClient,
    target: Target,
    metrics: Metrics,
    configure,
    monkeypatch: pytest.MonkeyPatch,
):
    assert sender._CONNECTION_SECONDS <= 15
    monkeypatch.setattr(sender, "_CONNECTION_SECONDS", 0.0)
    await configure(target.url)
    for count in range(1, 21):
        await post(client)
        await until(lambda count=count: outcomes(metrics) == {"sent": count}, "the copy is sent")
    assert len({copy.connection for copy in target.received}) == 20


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
