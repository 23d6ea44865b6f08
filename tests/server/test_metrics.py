from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path

import httpx
import pytest
from PIL import Image
from prometheus_client import Metric
from prometheus_client.parser import text_string_to_metric_families

from model_server.errors import RequestError
from model_server.loading import load_model
from model_server.metrics import Metrics
from model_server.model import Identity
from model_server.workers import Workers
from tests.server.artifacts import CLASSES, SIDE, encode, make_picture

PREDICTING = (
    "/predict",
    "/v2/models/{model}/infer",
    "/v2/models/{model}/versions/{version}/infer",
)

JPEG = {"content": encode(make_picture()), "headers": {"content-type": "image/jpeg"}}
IDENTITY = {"model_name", "model_version", "revision"}
ROW = re.compile(r"^\| `([a-z_0-9]+)` \| (counter|gauge|histogram) \| (.*?) \|", re.MULTILINE)


def section() -> str:
    return Path("docs/server.md").read_text().split("\n## Metrics\n")[1].split("\n## ")[0]


async def families(client: httpx.AsyncClient) -> dict[str, Metric]:
    """The families by the name that the documentation gives them."""
    found = text_string_to_metric_families((await client.get("/metrics")).text)
    return {
        f"{family.name}_total" if family.type == "counter" else family.name: family
        for family in found
        if not family.name.startswith("process_")
    }


async def value(client: httpx.AsyncClient, name: str, **labels: str) -> float:
    for family in (await families(client)).values():
        for sample in family.samples:
            own = {key: text for key, text in sample.labels.items() if key not in IDENTITY}
            if (sample.name, own) == (name, labels):
                return sample.value
    raise AssertionError(f"no sample {name} {labels}")


def edges(family: Metric) -> list[float]:
    return sorted(
        {float(sample.labels["le"]) for sample in family.samples if "le" in sample.labels}
    )


async def counted(client: httpx.AsyncClient, name: str) -> dict[float, float]:
    """Of a histogram: how many were at most so much, in each bucket."""
    family = (await families(client))[name]
    return {float(x.labels["le"]): x.value for x in family.samples if "le" in x.labels}


def numbers(texts: Iterable[str]) -> list[float]:
    return [float(text) for text in texts]


async def test_the_documented_table_and_what_is_exported_are_the_same(client: httpx.AsyncClient):
    await client.post("/predict", **JPEG)
    documented = {
        name: (kind, set(re.findall("`([a-z0-9]+)`", labels)))
        for name, kind, labels in ROW.findall(section())
    }
    exported = {
        name: (
            family.type,
            {label for sample in family.samples for label in sample.labels} - IDENTITY - {"le"},
        )
        for name, family in (await families(client)).items()
    }
    assert exported == documented


async def test_every_sample_names_the_model(client: httpx.AsyncClient):
    for family in text_string_to_metric_families((await client.get("/metrics")).text):
        for sample in family.samples:
            assert {sample.labels[name] for name in IDENTITY} == {"cats-dogs", "3", "0123456789"}


async def test_the_buckets_are_the_documented_ones(client: httpx.AsyncClient):
    [listed] = re.findall(r"are fixed:\n(.*?)\.\n\n", section(), re.DOTALL)
    own = dict(
        re.findall(r"^\| `([a-z_]+)` .*its buckets are ([0-9., ]+)", section(), re.MULTILINE)
    )
    for name, family in (await families(client)).items():
        if family.type == "histogram":
            expected = own.get(name, listed)
            assert edges(family) == [*numbers(expected.split(",")), float("inf")], name


async def test_what_is_known_beforehand_is_there_as_0_before_the_first_request(
    client: httpx.AsyncClient,
):
    for label in CLASSES:
        assert await value(client, "prediction_class_total", **{"class": label}) == 0
    for label in (*CLASSES, "(unknown)"):
        for agreement in ("agree", "differ"):
            labels = {"class": label, "agreement": agreement}
            assert await value(client, "shadow_predictions_total", **labels) == 0
    for outcome in ("sent", "refused", "failed", "dropped"):
        assert await value(client, "mirror_requests_total", outcome=outcome) == 0
    for status in ("200", "400", "503"):
        labels = {"method": "POST", "path": "/predict", "status": status}
        assert await value(client, "http_requests_total", **labels) == 0
    for path in PREDICTING:
        assert await value(client, "http_request_duration_seconds_count", path=path) == 0


async def test_only_routes_that_predict_have_a_histogram_of_their_own(client: httpx.AsyncClient):
    for path in ("/health", "/ready", "/v2", "/docs", "/nothing"):
        await client.get(path)
    family = (await families(client))["http_request_duration_seconds"]
    assert {sample.labels["path"] for sample in family.samples} == {*PREDICTING, "other"}
    # Those, and the reading itself where it is over.
    assert await value(client, "http_request_duration_seconds_count", path="other") >= 5


async def test_the_reasons_of_refusals_are_the_problems_that_there_are(client: httpx.AsyncClient):
    family = (await families(client))["http_requests_rejected_total"]
    reasons = {sample.labels["reason"] for sample in family.samples}
    assert {"overloaded", "not-an-image", "body-timeout", "prediction-timeout"} <= reasons
    assert {"not-found", "method-not-allowed", "internal-error", "other"} <= reasons
    assert all(sample.value == 0 for sample in family.samples)


@pytest.mark.parametrize(
    ("method", "path", "reason"),
    [
        ("POST", "/predict", "not-an-image"),
        ("GET", "/predict", "method-not-allowed"),
        ("POST", "/nothing", "not-found"),
    ],
)
async def test_a_refused_request_is_counted_by_its_problem(
    client: httpx.AsyncClient, method: str, path: str, reason: str
):
    headers = {"content-type": "image/png"}
    answer = await client.request(method, path, content=b"x", headers=headers)
    assert answer.json()["type"].endswith(f":{reason}")
    assert await value(client, "http_requests_rejected_total", reason=reason) == 1


def test_a_problem_that_nobody_declared_is_counted_as_other():
    metrics = Metrics()
    metrics.reject("i-am-a-teapot")
    [line] = [line for line in metrics.text().splitlines() if b'reason="other"' in line]
    assert line.endswith(b" 1.0")


def test_every_problem_type_has_a_name_that_is_counted():
    text = Metrics().text().decode()

    def check(kind: type[RequestError]) -> None:
        if "slug" in vars(kind):
            assert f'reason="{kind.slug}"' in text
        for narrower in kind.__subclasses__():
            check(narrower)

    check(RequestError)


async def test_what_a_client_writes_into_a_path_makes_no_series(client: httpx.AsyncClient):
    before = {name: len(family.samples) for name, family in (await families(client)).items()}
    for number in range(4):
        await client.post(f"/v2/models/model-{number}/infer", json={})
        await client.get(f"/v2/models/model-{number}/ready")
        await client.get(f"/docs/assets/{number}")
    after = await families(client)
    paths = {sample.labels["path"] for sample in after["http_requests_total"].samples}
    assert {path for path in paths if "model-" in path or "assets" in path} == set()
    assert (
        len(after["http_request_duration_seconds"].samples)
        == (before["http_request_duration_seconds"])
    )


async def test_the_served_model_is_named_by_its_digest(client: httpx.AsyncClient):
    ready = (await client.get("/ready")).json()
    labels = {"sha256": ready["sha256"], "engine": ready["engine"]}
    assert await value(client, "model_info", **labels) == 1


async def test_batches_are_counted_by_their_size(client: httpx.AsyncClient):
    pictures = [("file", ("a", encode(make_picture(seed)), "image/jpeg")) for seed in range(3)]
    await client.post("/predict", files=pictures)
    await client.post("/predict", **JPEG)
    assert await value(client, "prediction_batch_size_sum") == 4
    assert await value(client, "prediction_batch_size_bucket", le="1.0") == 1
    assert await value(client, "prediction_queue_wait_seconds_count") == 2


@pytest.mark.parametrize("text", ["plain", 'a"b\\c', "two\nlines", "hätte{x} 1", "{", "\\"])
def test_any_name_of_a_model_and_of_a_class_comes_through(text: str, workers: Workers, settings):
    metrics = Metrics()
    model = load_model(settings, workers)
    metrics.identify(replace(model, identity=Identity(text, text, "r")))
    metrics.classes.labels(text).inc()
    for family in text_string_to_metric_families(metrics.text().decode()):
        for sample in family.samples:
            named = {name: sample.labels[name] for name in IDENTITY}
            assert named == {"model_name": text, "model_version": text, "revision": "r"}
            if family.name == "prediction_class" and sample.value:
                assert sample.labels["class"] == text


async def test_how_bright_and_how_large_pictures_are_and_how_sure_answers_is_counted(
    client: httpx.AsyncClient,
):
    sure = []
    for side, colour in ((32, 0), (64, 128), (600, 255)):
        picture = encode(Image.new("RGB", (side, side), (colour,) * 3), "PNG")
        answer = await client.post("/predict", files={"file": ("a.png", picture)})
        sure.append(answer.json()["confidence"])
    bright = await counted(client, "model_input_brightness")
    assert [bright[edge] for edge in (0.05, 0.5, 0.6, 0.95, 1)] == [1, 1, 2, 2, 3]
    pixels = await counted(client, "model_input_pixels")
    assert [pixels[edge] for edge in (1024, 4096, 262_144, 1_048_576)] == [1, 2, 2, 3]
    confident = await counted(client, "model_prediction_confidence")
    assert confident == {edge: sum(x <= edge for x in sure) for edge in confident}


async def test_a_ready_tensor_counts_its_confidence_and_is_no_picture(client: httpx.AsyncClient):
    values = {"name": "input", "datatype": "FP32", "shape": [1, 3, SIDE, SIDE]}
    content = {"inputs": [{**values, "data": [0.0] * 3 * SIDE * SIDE}]}
    answer = await client.post("/v2/models/cats-dogs/infer", json=content)
    assert answer.status_code == 200, answer.text
    assert (await counted(client, "model_prediction_confidence"))[1] == 1
    assert (await counted(client, "model_input_brightness"))[1] == 0


async def test_only_what_a_decoder_began_with_counts_as_its_failure(client: httpx.AsyncClient):
    whole = encode(make_picture(), "PNG")
    for content in (whole[:30], whole[: len(whole) // 2], b"no picture"):
        await client.post("/predict", files={"file": ("a.png", content)})
    assert await value(client, "model_decode_failures_total") == 1
