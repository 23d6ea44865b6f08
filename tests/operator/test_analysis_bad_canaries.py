"""Canaries that are bad in ways of their own, from their pods' HTTP ports to the verdict."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack
from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest

from model_operator import api
from model_operator.clients import measuring
from model_operator.clients.measuring import Measurer
from model_operator.clients.pods import DirectPodReader
from model_operator.clients.prometheus import Prometheus
from model_operator.rollout.analysis import Judgement, judge
from model_operator.rollout.view import Findings
from tests.operator.measured import BEGAN, CANARY, STABLE, make_analysis
from tests.operator.metrics_pods import MetricsPod, Pods, hang
from tests.operator.test_measuring import answer, make_resource

FAILURE_LIMIT = 2
INTERVAL = timedelta(seconds=5)
SETTINGS: dict[str, Any] = {
    "interval": "5s",
    "failureLimit": FAILURE_LIMIT,
    "minRequests": 20,
}
ERRORS = {"name": "error-rate", "max": 0.01}
LATENCY = {"name": "latency-p95-ms", "max": 300}
Traffic = Callable[[MetricsPod], None]


@pytest.fixture
async def stack() -> AsyncIterator[AsyncExitStack]:
    async with AsyncExitStack() as opened:
        yield opened


def serve(pod: MetricsPod) -> None:
    pod.requests += 50


def fail(pod: MetricsPod) -> None:
    pod.requests += 50
    pod.errors += 10


def take_and_keep(pod: MetricsPod) -> None:
    pod.overdue += 40


def get_none(pod: MetricsPod) -> None:
    """No request comes."""


async def judgements(
    stack: AsyncExitStack, metrics: list[dict[str, Any]], traffic: Traffic, **canary: Any
) -> list[Judgement]:
    """As many as may be needed to end a rollout."""
    pods = Pods(stack)
    new, old = await pods.start("c-0", **canary), await pods.start("s-0", requests=100_000)
    reader = DirectPodReader()
    stack.push_async_callback(reader.close)
    measurer = Measurer(reader, Prometheus(None))
    settings = make_analysis(*metrics, **SETTINGS)
    resource = make_resource()
    assert resource.spec is not None
    resource = replace(resource, spec=resource.spec.model_copy(update={"analysis": settings}))
    recorded: tuple[api.MetricStatus, ...] = ()
    found, judged_at = [], None
    for turn in range(FAILURE_LIMIT + 2):
        measurement = await measurer.measure(
            resource,
            {CANARY: [new.body], STABLE: [old.body]},
            canary=CANARY,
            stable=STABLE,
            step_started_at=BEGAN,
            last_judged_at=judged_at,
            now=BEGAN + turn * INTERVAL,
        )
        traffic(new)
        serve(old)
        if measurement is not None:
            judged_at = measurement.until
            found.append(judge(settings, measurement, recorded, CANARY, STABLE))
            recorded = found[-1].metrics
    assert len(found) == FAILURE_LIMIT + 1
    return found


@pytest.mark.parametrize(
    ("metrics", "traffic", "canary", "words"),
    [
        ([ERRORS], fail, {}, "error-rate is 0.2 (10 of 50)"),
        ([LATENCY], serve, {"seconds": 0.9}, "latency-p95-ms is 965, its limit is max 300"),
        ([LATENCY], serve, {"seconds": 60}, "latency-p95-ms is more than 1 s"),
        ([ERRORS], take_and_keep, {}, "of them waiting for more than 2.5 s"),
        ([LATENCY], take_and_keep, {}, "latency-p95-ms is more than its limit"),
        ([ERRORS], serve, {"classes": ("0", "1")}, "does not know 0, 1"),
        ([ERRORS], serve, {"answer": hang}, "did not answer within 0.4 s"),
        ([ERRORS], serve, {"answer": answer("<html>")}, "it is no model server's"),
    ],
    ids=["500", "slow", "slower", "hangs", "hangs 2", "wrong classes", "silent", "nonsense"],
)
async def test_a_bad_canary_fails_at_the_first_judgement_that_is_not_forgiven(
    stack, monkeypatch, metrics, traffic, canary, words
):
    patience = 0.4 if canary.get("answer") is hang else 20
    monkeypatch.setattr(measuring, "READ_SECONDS", patience)
    *forgiven, last = await judgements(stack, metrics, traffic, **canary)
    assert [one.failure for one in forgiven] == [None] * FAILURE_LIMIT
    assert all(one.holds for one in forgiven)
    assert last.failure is not None
    assert words in last.failure.message
    assert f"failed {FAILURE_LIMIT + 1} times in a row" in last.failure.message


async def test_a_good_canary_passes_at_each_judgement(stack):
    found = await judgements(stack, [ERRORS, LATENCY], serve)
    assert all(one.findings == Findings() for one in found)


async def test_a_canary_without_requests_neither_passes_nor_fails(stack):
    found = await judgements(stack, [ERRORS, LATENCY], get_none)
    assert not any(one.findings == Findings() or one.failure for one in found)
    assert "0 of minRequests 20 requests since the step began" in found[-1].holds
