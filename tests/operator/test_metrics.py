"""The operator's metrics: what they count, and that docs/operator.md names each of them."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest
from aiohttp import web
from prometheus_client import CollectorRegistry

from model_operator.clients.view import View
from model_operator.errors import ApiError, ApiUnreachable
from model_operator.metrics import Metrics
from tests.operator.loopback import cluster_of
from tests.operator.test_cluster_client import service
from tests.operator.test_view import Clock, listed, pod, swept

PREFIX = "cv_factory_"


def value(metrics: Metrics, name: str, **labels: str) -> float | None:
    return metrics.registry.get_sample_value(f"{PREFIX}{name}", labels)


def described(registry: CollectorRegistry) -> dict[str, set[str]]:
    """The operator's own metrics with their labels, by the names that a query uses."""
    found = {}
    for collector in registry._collector_to_names:
        name, labels = getattr(collector, "_name", ""), getattr(collector, "_labelnames", ())
        if name.startswith(PREFIX):
            total = "_total" if collector._type == "counter" else ""
            found[f"{name}{total}"] = set(labels)
    return found


def test_the_documentation_has_a_row_for_each_metric_with_its_labels(repository: Path):
    rows = re.findall(
        rf"^\| `({PREFIX}\w+)` \|([^|]*)\| [^|]+ \|$",
        (repository / "docs/operator.md").read_text(),
        re.MULTILINE,
    )
    documented = {name: set(re.findall(r"`(\w+)`", labels)) for name, labels in rows}
    assert documented == described(Metrics("1").registry)


def test_no_metric_is_labelled_by_resource():
    labels = set().union(*described(Metrics("1").registry).values())
    assert labels == {"outcome", "verb", "kind", "code", "version"}


def test_the_age_of_a_kinds_watch_is_that_of_its_oldest(clock: Clock):
    metrics = Metrics("1")
    views = [View("Pod", name, lambda _: None, clock) for name in ("a", "b")]
    metrics.follow_views(views)
    views[0].replace(listed(pod("x", "1"), pod("y", "1")))
    views[1].replace(listed(pod("z", "1")))
    clock.now += 30
    swept(views[0], pod("x", "1"), pod("y", "1"))
    assert value(metrics, "watch_age_seconds", kind="Pod") == 30
    assert value(metrics, "watched_objects", kind="Pod") == 3


@pytest.fixture
def clock() -> Clock:
    return Clock()


def test_what_sweeps_find_is_there_from_the_beginning_and_counts(clock: Clock):
    metrics = Metrics("1")
    metrics.follow_views([View("Pod", None, lambda _: None, clock)])
    assert value(metrics, "watch_missed_total", kind="Pod") == 0
    metrics.sweep_found("Pod", 3)
    metrics.watch_missed("Pod", 2)
    assert value(metrics, "sweep_differences_total", kind="Pod") == 3
    assert value(metrics, "watch_missed_total", kind="Pod") == 2


def test_passes_and_restarts_are_counted():
    metrics = Metrics("1")
    metrics.reconciled("changed", 0.02)
    metrics.kopf_restarted()
    assert value(metrics, "kopf_restarts_total") == 1
    assert value(metrics, "reconcile_duration_seconds_count", outcome="changed") == 1
    assert value(metrics, "reconcile_duration_seconds_sum", outcome="changed") == 0.02


def test_who_leads_is_asked_when_the_metrics_are_read():
    metrics, leads = Metrics("1"), [False]
    assert value(metrics, "leader") == 0
    metrics.follow_lead(lambda: leads[0])
    assert value(metrics, "leader") == 0
    leads[0] = True
    assert value(metrics, "leader") == 1


def test_where_only_sweeps_tell_a_watch_is_no_older_than_the_next_one_is_late(clock: Clock):
    metrics, view = Metrics("1"), View("Pod", None, lambda _: None, clock)
    metrics.follow_views([view])
    view.replace(listed(pod("x", "1")))
    view.swept_every = 200
    clock.now += 200
    assert value(metrics, "watch_age_seconds", kind="Pod") == 0
    clock.now += 70
    assert value(metrics, "watch_age_seconds", kind="Pod") == 70


def test_what_is_watched_no_more_has_no_age(clock: Clock):
    metrics = Metrics("1")
    metrics.follow_views([View("Pod", None, lambda _: None, clock)])
    metrics.forget_term()
    assert value(metrics, "watch_age_seconds", kind="Pod") is None
    assert value(metrics, "watched_objects", kind="Pod") is None
    metrics.follow_views([View("Pod", None, lambda _: None, clock)])
    assert value(metrics, "watch_age_seconds", kind="Pod") == 0


def test_a_process_that_leads_no_more_has_nothing_that_waits():
    metrics = Metrics("1")
    metrics.follow_queue(lambda: 1, lambda: 1)
    metrics.follow_rollouts(lambda: 1, lambda: 1, lambda: 1)
    metrics.follow_resources(lambda: 1, lambda: 1)
    metrics.follow_aliases(lambda: 1)
    metrics.follow_tracker(lambda: 1)
    gauges = ["queue_depth", "queue_oldest_wait_seconds", "rollouts", "rollouts_waiting"]
    gauges += ["rollouts_oldest_seconds", "resources_stalled", "resources_unavailable"]
    gauges += ["followed_aliases", "tracker_waiting"]
    assert [value(metrics, name) for name in gauges] == [1] * len(gauges)
    metrics.forget_term()
    assert [value(metrics, name) for name in gauges] == [0] * len(gauges)


def test_the_queue_is_read_when_the_metrics_are():
    metrics, depth = Metrics("1"), [0]
    metrics.follow_queue(lambda: depth[0], lambda: 2.5)
    depth[0] = 7
    assert value(metrics, "queue_depth") == 7
    assert value(metrics, "queue_oldest_wait_seconds") == 2.5


async def test_each_call_is_counted_by_verb_kind_and_answer():
    async def handler(request: web.BaseRequest) -> web.StreamResponse:
        if request.method == "DELETE" and request.transport:
            request.transport.abort()
        if "watch" in request.query:
            return web.Response()
        status = {"PATCH": 409, "POST": 201}.get(request.method, 200)
        body: dict[str, Any] = {"apiVersion": "v1", "metadata": {"resourceVersion": "1"}}
        return web.json_response(body, status=status)

    metrics = Metrics("1")
    async with cluster_of(handler, metrics.api_call) as cluster:
        await cluster.get("Pod", "v", "p")
        await cluster.list("Pod", "v")
        async for _ in cluster.watch("Pod", "v", "", "1", metadata_only=True):
            pass
        await cluster.create(service("v", "s"))
        with pytest.raises(ApiError):
            await cluster.apply(service("v", "s"))
        with pytest.raises(ApiError):
            await cluster.scale("v", "d", 1)
        with pytest.raises(ApiUnreachable):
            await cluster.delete("Service", "v", "s", "uid")
    calls = {
        *(
            ("get", "Pod", "200"),
            ("list", "Pod", "200"),
            ("watch", "Pod", "200"),
            ("create", "Service", "201"),
        ),
        *(("apply", "Service", "409"), ("patch", "Scale", "409")),
        ("delete", "Service", "unreachable"),
    }
    for verb, kind, code in calls:
        assert value(metrics, "api_calls_total", verb=verb, kind=kind, code=code) == 1, verb
        assert value(metrics, "api_call_duration_seconds_count", verb=verb, kind=kind) == 1
