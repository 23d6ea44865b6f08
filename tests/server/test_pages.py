from __future__ import annotations

import asyncio
import re
import threading

import httpx
import pytest
from prometheus_client.parser import text_string_to_metric_families

from model_server.app import create_app
from model_server.lifecycle import Lifecycle
from model_server.metrics import Metrics
from model_server.rest import openapi
from model_server.settings import Settings
from model_server.workers import Workers
from tests.server.artifacts import encode, make_picture

JPEG = {"content": encode(make_picture()), "headers": {"content-type": "image/jpeg"}}
MODEL = {"model_name": "cats-dogs", "model_version": "3", "revision": "0123456789"}


async def samples(client: httpx.AsyncClient) -> dict[tuple[str, frozenset[tuple[str, str]]], float]:
    text = (await client.get("/metrics")).text
    return {
        (sample.name, frozenset(sample.labels.items())): sample.value
        for family in text_string_to_metric_families(text)
        for sample in family.samples
    }


def key(name: str, **labels: str) -> tuple[str, frozenset[tuple[str, str]]]:
    return name, frozenset({**MODEL, **labels}.items())


async def test_health_answers_before_the_model_is_loaded_and_ready_does_not(
    loading_client: httpx.AsyncClient,
):
    assert (await loading_client.get("/health")).json() == {"status": "ok"}
    response = await loading_client.get("/ready")
    assert response.status_code == 503
    assert "still being verified" in response.json()["detail"]


async def test_ready_names_the_model_and_its_digest(client: httpx.AsyncClient):
    answer = (await client.get("/ready")).json()
    assert answer["model"] == {"name": "cats-dogs", "version": "3", "revision": "0123456789"}
    assert re.fullmatch("[0-9a-f]{64}", answer["sha256"])


async def test_while_draining_ready_is_503_and_predictions_are_answered_closing(
    client: httpx.AsyncClient, lifecycle: Lifecycle
):
    assert "connection" not in (await client.get("/health")).headers
    lifecycle.end(drain=True)
    ready = await client.get("/ready")
    assert ready.status_code == 503
    assert "draining" in ready.json()["detail"]
    assert ready.headers["connection"] == "close"
    prediction = await client.post("/predict", **JPEG)
    assert prediction.status_code == 200
    assert prediction.headers["connection"] == "close"


async def test_requests_are_counted_by_method_path_and_status_with_the_model(
    client: httpx.AsyncClient,
):
    for _ in range(3):
        await client.post("/predict", **JPEG)
    await client.post("/predict", content=b"x", headers={"content-type": "image/png"})
    await client.get("/some/unknown/path")
    found = await samples(client)
    name = "http_requests_total"
    assert found[key(name, method="POST", path="/predict", status="200")] == 3
    assert found[key(name, method="POST", path="/predict", status="400")] == 1
    assert found[key(name, method="GET", path="other", status="404")] == 1
    duration = "http_request_duration_seconds"
    assert found[key(f"{duration}_count", path="/predict")] == 4
    assert found[key(f"{duration}_bucket", path="/predict", le="0.3")] == 4
    assert found[key("http_requests_in_progress")] == 1  # the reading itself


async def test_predictions_are_counted_by_class_and_their_inference_timed(
    client: httpx.AsyncClient,
):
    pictures = [("file", ("a", encode(make_picture(seed)), "image/jpeg")) for seed in range(4)]
    labels = [item["label"] for item in (await client.post("/predict", files=pictures)).json()]
    found = await samples(client)
    for label in set(labels):
        assert found[key("prediction_class_total", **{"class": label})] == labels.count(label)
    assert found[key("model_inference_time_seconds_count")] == 1
    assert found[key("model_inference_time_seconds_sum")] > 0


async def test_unknown_paths_and_methods_do_not_make_new_series(client: httpx.AsyncClient):
    before = set(await samples(client))
    for number in range(5):
        await client.get(f"/path-{number}")
        await client.request(f"VERB{number}", "/predict")
    made = {name for name in set(await samples(client)) - before if name[0].endswith("_total")}
    assert made == {key("http_requests_total", method="other", path="/predict", status="405")}


async def test_unknown_paths_and_wrong_methods_are_problems(client: httpx.AsyncClient):
    missing = await client.get("/nothing")
    assert (missing.status_code, missing.headers["content-type"]) == (
        404,
        "application/problem+json",
    )
    wrong = await client.get("/predict")
    assert (wrong.status_code, wrong.headers["allow"]) == (405, "POST")
    assert wrong.headers["content-type"] == "application/problem+json"


async def test_the_index_links_to_pages_that_are_there(client: httpx.AsyncClient):
    links = (await client.get("/")).json()["links"]
    assert set(links) == {"predict", "v2", "health", "ready", "metrics", "docs", "openapi"}
    for name, path in links.items():
        assert (await client.get(path)).status_code == (405 if name == "predict" else 200)


async def test_the_docs_page_loads_everything_from_this_server(client: httpx.AsyncClient):
    page = (await client.get("/docs")).text
    assert "://" not in page
    assets = re.findall(r'(?:src|href)="\./([^"]+)"', page)
    assert len(assets) == 3
    for asset in assets:
        response = await client.get(f"/{asset}")
        assert response.status_code == 200
        assert response.content


async def test_the_schema_is_of_a_version_that_the_packaged_docs_page_reads(
    client: httpx.AsyncClient,
):
    schema = (await client.get("/openapi.json")).json()
    script = (await client.get("/docs/assets/swagger-ui-bundle.js")).text
    assert schema["openapi"].startswith("3.0.")
    assert '"3.0."' in script


async def test_however_many_read_the_metrics_at_a_time_they_are_written_once_and_hold_nobody_up(
    settings: Settings, lifecycle: Lifecycle, workers: Workers
):
    go, written = threading.Event(), []

    class Slow(Metrics):
        def text(self) -> bytes:
            written.append(None)
            assert go.wait(30)
            return super().text()

    metrics = Slow()
    transport = httpx.ASGITransport(create_app(settings, lifecycle, workers, metrics))
    async with (
        httpx.AsyncClient(transport=transport, base_url="http://server") as client,
        asyncio.timeout(30),
    ):
        first = asyncio.create_task(client.get("/metrics"))
        while not written:  # noqa: ASYNC110 - a thread changes it
            await asyncio.sleep(0)
        others = [asyncio.create_task(client.get("/metrics")) for _ in range(50)]
        assert (await client.get("/health")).status_code == 200
        first.cancel()  # whoever asked first
        await asyncio.sleep(0)
        go.set()
        answers = await asyncio.gather(*others)
    assert {answer.status_code for answer in answers} == {200}
    assert len(written) <= 2


async def test_the_schema_is_made_once(
    loading_client: httpx.AsyncClient, monkeypatch: pytest.MonkeyPatch
):
    made, make = [], openapi.models_json_schema

    def counted(*given: object, **options: object) -> object:
        made.append(None)
        return make(*given, **options)

    monkeypatch.setattr(openapi, "models_json_schema", counted)
    answers = [await loading_client.get("/openapi.json") for _ in range(3)]
    assert len({answer.content for answer in answers}) == 1
    assert answers[0].headers["content-type"] == "application/json"
    assert len(made) == 1


V2_READY = ("/v2/health/ready", "/v2/models/cats-dogs/ready")


async def test_the_protocols_probes_say_what_ready_and_health_say(
    client: httpx.AsyncClient, lifecycle: Lifecycle
):
    for path in V2_READY:
        answer = (await client.get(path)).json()
        assert answer["ready"] is True
    lifecycle.end(drain=True)
    for path in V2_READY:
        response = await client.get(path)
        assert (response.status_code, response.headers["retry-after"]) == (503, "1")
        assert "draining" in response.json()["error"]
    assert (await client.get("/v2/health/live")).json() == {"live": True}
    assert (await client.get("/v2/models/cats-dogs")).status_code == 200


async def test_while_the_model_loads_the_protocol_names_the_server_and_no_model(
    loading_client: httpx.AsyncClient,
):
    assert "binary_tensor_data" in (await loading_client.get("/v2")).json()["extensions"]
    assert (await loading_client.get("/v2/health/live")).status_code == 200
    for path in (*V2_READY, "/v2/models/cats-dogs"):
        response = await loading_client.get(path)
        assert response.status_code == 503
        assert "still being verified" in response.json()["error"]
    infer = await loading_client.post("/v2/models/cats-dogs/infer", json={})
    assert infer.status_code == 503
