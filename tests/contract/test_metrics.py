"""What the server counts is what rollouts read: the server's own text, read by the operator."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from model_operator.clients import exposition
from model_operator.rollout.metrics import LONGEST_PATIENCE_SECONDS, SHORTEST_PATIENCE_SECONDS
from model_server.metrics import DURATION_BUCKETS, OVERDUE_SECONDS, UNKNOWN_CLASS, Metrics

PREDICTIONS = (
    "/predict",
    "/v2/models/{model}/infer",
    "/v2/models/{model}/versions/{version}/infer",
)
OTHERS = ("/health", "/ready", "/metrics", "/v2/health/ready", "/v2/models/{model}", "/docs")


@pytest.fixture
def metrics() -> Metrics:
    return Metrics()


@pytest.mark.parametrize("path", PREDICTIONS)
@pytest.mark.parametrize(
    ("status", "is_an_error"),
    [(200, False), (400, False), (422, False), (500, True), (503, True), (499, True)],
)
def test_predictions_are_counted_and_those_that_the_server_failed_are_errors(
    metrics: Metrics, path: str, status: int, is_an_error: bool
):
    metrics.requests.labels("POST", path, str(status)).inc(3)
    metrics.duration.labels(path).observe(0.3)
    counters = exposition.parse(metrics.text()).counters
    assert (counters.requests, counters.errors) == (3, 3 if is_an_error else 0)
    assert (counters.durations[0.25], counters.durations[0.3]) == (0, 1)
    assert sorted(counters.durations) == [*DURATION_BUCKETS, float("inf")]


@pytest.mark.parametrize("path", OTHERS)
def test_probes_and_pages_are_not_counted(metrics: Metrics, path: str):
    metrics.requests.labels("GET", path, "503").inc()
    metrics.duration.labels(path).observe(1)
    counters = exposition.parse(metrics.text()).counters
    assert (counters.requests, counters.errors, counters.durations) == (0, 0, {})


@pytest.mark.parametrize("name", ["cat", 'a"b\\c', "two\nlines", "tr\u2028icky", "hätte{x} 1", ""])
def test_any_name_of_a_class_comes_through(metrics: Metrics, name: str):
    metrics.requests.labels("POST", "/predict", "200").inc()
    metrics.classes.labels(name).inc(2)
    metrics.shadow.labels(name, "agree").inc(4)
    metrics.shadow.labels(UNKNOWN_CLASS, "differ").inc(5)
    counters = exposition.parse(metrics.text()).counters
    assert counters.predictions == {name: 2}
    assert counters.agreed == {name: 4}
    assert counters.differed == {UNKNOWN_CLASS: 5}


def test_requests_without_an_answer_are_told_by_how_long_they_wait(metrics: Metrics):
    metrics.requests.labels("POST", "/predict", "200").inc(0)
    with metrics.awaiting_prediction():
        reading = exposition.parse(metrics.text())
    assert reading.overdue == dict.fromkeys(OVERDUE_SECONDS, 0)
    assert min(reading.overdue) <= SHORTEST_PATIENCE_SECONDS
    assert max(reading.overdue) >= LONGEST_PATIENCE_SECONDS


def test_a_process_says_when_it_began_so_that_a_restart_shows(metrics: Metrics):
    metrics.requests.labels("POST", "/predict", "200").inc(0)
    assert exposition.parse(metrics.text()).started_at


def test_the_manual_of_the_analysis_lists_the_edges_and_waits_that_there_are():
    page = Path("docs/analysis.md").read_text()
    (edges,) = re.findall(r"in milliseconds: ([0-9., \n]+)\.\n", page)
    assert [float(edge) / 1000 for edge in edges.split(",")] == pytest.approx(DURATION_BUCKETS)
    (waits,) = re.findall(r"rounded up to ([0-9., \n]+) s\)", page)
    assert [float(seconds) for seconds in waits.split(",")] == list(OVERDUE_SECONDS)
