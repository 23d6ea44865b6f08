"""Queries of Prometheus: to a real one, and to what is none."""

from __future__ import annotations

import asyncio
import json
import math
from collections.abc import AsyncIterator, Iterator
from contextlib import AsyncExitStack
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from aiohttp import web

from model_operator.clients import prometheus as prometheus_module
from model_operator.clients.measuring import Measurer
from model_operator.clients.pods import DirectPodReader
from model_operator.clients.prometheus import Prometheus
from model_operator.measurement import Measurement, QueryResult
from tests.operator.loopback import serving
from tests.operator.measured import BEGAN, CANARY, STABLE, make_analysis
from tests.operator.metrics_pods import hang
from tests.operator.prometheus_process import prometheus_process
from tests.operator.test_measuring import make_resource


@pytest.fixture(scope="module")
def running(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    with prometheus_process(tmp_path_factory.mktemp("prometheus")) as url:
        yield url


@pytest.fixture
async def prometheus(running: str) -> AsyncIterator[Prometheus]:
    asked = Prometheus(running, timeout=20)
    yield asked
    await asked.close()


# --- a real Prometheus ---------------------------------------------------------------------------


@pytest.mark.api
@pytest.mark.parametrize(
    ("query", "value"),
    [
        ("vector(0.25)", 0.25),
        ("42", 42.0),
        ("vector(1) / 0", math.inf),
        ("-1 / vector(0)", -math.inf),
    ],
)
async def test_one_number_is_the_value(prometheus: Prometheus, query: str, value: float):
    assert await prometheus.query(query) == QueryResult(value)


@pytest.mark.api
@pytest.mark.parametrize(
    ("query", "words"),
    [
        ("vector(0) / 0", "the query's result is NaN, as of a ratio without requests"),
        ("nobody_counts_this", "the query found no series"),
        (
            'label_replace(vector(1), "a", "b", "", "") or vector(2)',
            "the query's result has 2 series: it must be one number, so aggregate it",
        ),
        ('"text"', "the query's result is a string: it must be one number"),
        ("up[1m]", "the query's result is a matrix: it must be one number"),
        ("sum(", "Prometheus refused the query: bad_data: invalid parameter"),
    ],
)
async def test_anything_else_is_no_value_and_a_sentence(
    prometheus: Prometheus, query: str, words: str
):
    result = await prometheus.query(query)
    assert result.value is None
    assert result.missing.startswith(words)


@pytest.mark.api
async def test_a_rollouts_query_asks_about_its_own_revisions_by_what_was_scraped(tmp_path: Path):
    async def metrics(_: web.BaseRequest) -> web.StreamResponse:
        lines = [f'score{{revision="{r}"}} {v}' for r, v in ((CANARY, 0.7), (STABLE, 0.9))]
        return web.Response(text="\n".join([*lines, ""]))

    query = 'sum(score{revision="$(revision)"})'
    async with AsyncExitStack() as stack:
        target = (await stack.enter_async_context(serving(metrics))).removeprefix("http://")
        starting = asyncio.to_thread(stack.enter_context, prometheus_process(tmp_path, target))
        asked = Prometheus(await starting, timeout=20)
        stack.push_async_callback(asked.close)
        async with asyncio.timeout(30):
            while (await asked.query("count(score)")).value != 2:  # noqa: ASYNC110 - it scrapes
                await asyncio.sleep(0.1)
        results = (await measured(asked, query, maxRatioToStable=2)).queries
    assert results[("custom", CANARY)] == QueryResult(0.7)
    assert results[("custom", STABLE)] == QueryResult(0.9)


async def measured(prometheus: Prometheus, query: str, **limits: float) -> Measurement:
    """What the first window of a rollout without pods has of one query."""
    reader = DirectPodReader()
    try:
        measurer = Measurer(reader, prometheus)
        resource = make_resource()
        assert resource.spec is not None
        analysis = make_analysis({"name": "custom", "prometheus": {"query": query}, **limits})
        asking = replace(resource, spec=resource.spec.model_copy(update={"analysis": analysis}))
        fixed: dict[str, Any] = {
            "canary": CANARY,
            "stable": STABLE,
            "step_started_at": BEGAN,
            "last_judged_at": None,
        }
        assert await measurer.measure(asking, {}, now=BEGAN, **fixed) is None
        later = BEGAN + timedelta(seconds=30)
        measurement = await measurer.measure(asking, {}, now=later, **fixed)
        assert measurement is not None
        return measurement
    finally:
        await reader.close()


# --- what is no Prometheus -----------------------------------------------------------------------


async def asked_of(text: str, status: int = 200) -> tuple[QueryResult, list[str]]:
    """The result, and the queries that arrived."""
    queries = []

    async def respond(request: web.BaseRequest) -> web.StreamResponse:
        queries.append(str((await request.post())["query"]))
        return web.Response(text=text, status=status, content_type="application/json")

    async with serving(respond) as url:
        prometheus = Prometheus(url, timeout=10)
        result = await prometheus.query("up")
        await prometheus.close()
    return result, queries


@pytest.mark.parametrize(
    ("text", "status"),
    [
        ("<html>", 200),
        ("{}", 200),
        ("[]", 200),
        ('"success"', 200),
        ('{"status": "success", "data": null}', 200),
        ('{"status": "success", "data": {"resultType": "vector", "result": [{}]}}', 200),
        ('{"status": "success", "data": {"resultType": "vector", "result": 1}}', 200),
        ('{"status": "success", "data": {"resultType": "scalar", "result": [1, "x"]}}', 200),
        ("not found", 404),
        ("moved", 302),
    ],
)
async def test_an_answer_that_is_not_prometheus_is_said_to_be_none(text: str, status: int):
    result, _ = await asked_of(text, status)
    assert result.value is None
    assert f"status {status} at CV_FACTORY_PROMETHEUS_URL is not the query API" in result.missing


async def test_an_endless_answer_is_cut_off(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(prometheus_module, "MOST_BYTES", 100)
    result, _ = await asked_of(json.dumps("x" * 101))
    assert "the answer is longer than 100 bytes" in result.missing


async def test_a_prometheus_that_does_not_answer_in_time_is_no_value():
    async def respond(_: web.BaseRequest) -> web.StreamResponse:
        return await hang()

    async with serving(respond) as url:
        prometheus = Prometheus(url, timeout=0.1)
        assert await prometheus.query("up") == QueryResult(
            missing="Prometheus did not answer within 0.1 s"
        )
        await prometheus.close()


async def test_a_prometheus_that_cannot_be_reached_is_no_value():
    prometheus = Prometheus("http://127.0.0.1:9", timeout=5)
    assert "Prometheus cannot be reached" in (await prometheus.query("up")).missing
    await prometheus.close()


async def test_without_a_prometheus_the_sentence_names_the_setting():
    assert "set CV_FACTORY_PROMETHEUS_URL" in (await Prometheus(None).query("up")).missing


async def test_a_baseline_needs_a_query_that_says_which_revision():
    query = "sum(rate(x[$(interval)]))"
    asked = Recorded()
    results = (await measured(asked, query, maxRatioToStable=2)).queries
    assert results[("custom", STABLE)].missing == "the query does not say $(revision)"
    assert asked.queries == ["sum(rate(x[30s]))"]


async def test_without_a_ratio_only_the_canary_is_asked_about():
    asked = Recorded()
    query = "x{revision='$(revision)',ns='$(namespace)',md='$(name)'}"
    await measured(asked, query, max=1)
    assert asked.queries == [f"x{{revision='{CANARY}',ns='vision',md='cats-dogs'}}"]


class Recorded(Prometheus):
    """Keeps the queries, and asks nobody."""

    def __init__(self) -> None:
        super().__init__(None)
        self.queries: list[str] = []

    async def query(self, expression: str) -> QueryResult:
        self.queries.append(expression)
        return QueryResult(1.0)
