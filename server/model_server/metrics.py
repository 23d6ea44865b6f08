"""The Prometheus metrics: their names, labels and buckets are what rollouts and dashboards read.

`app` makes one Metrics per process; `telemetry` and the routes count into it, `/metrics` prints
it. Every sample also carries model_name, model_version and revision.
"""

from __future__ import annotations

from collections.abc import Iterator

from prometheus_client import (
    CollectorRegistry,
    Counter,
    Gauge,
    Histogram,
    ProcessCollector,
    disable_created_metrics,
    generate_latest,
)
from prometheus_client.metrics_core import Metric
from prometheus_client.registry import Collector

from model_server.model import Identity

# Seconds. Fixed for good: an analysis compares them across versions, and a limit of latency is
# judged exactly where it falls on an edge (0.3 is the design's example).
DURATION_BUCKETS = (
    *(0.001, 0.0025, 0.005, 0.0075, 0.01, 0.015, 0.02, 0.03, 0.05, 0.075),
    *(0.1, 0.15, 0.2, 0.25, 0.3, 0.4, 0.5, 0.75),
    *(1.0, 1.5, 2.0, 3.0, 5.0, 10.0, 30.0),
)


class Metrics:
    """All that is counted, and how it is printed."""

    def __init__(self) -> None:
        disable_created_metrics()  # type: ignore[no-untyped-call]
        registry = CollectorRegistry()
        self._labels = Identity("", "", "").labels()
        self._registry = registry
        self.requests = Counter(
            "http_requests_total",
            "Requests answered.",
            ["method", "path", "status"],
            registry=registry,
        )
        self.duration = Histogram(
            "http_request_duration_seconds",
            "Time from the request's header to the end of its answer.",
            ["path"],
            buckets=DURATION_BUCKETS,
            registry=registry,
        )
        self.in_progress = Gauge(
            "http_requests_in_progress", "Requests not answered yet.", registry=registry
        )
        self.classes = Counter(
            "prediction_class_total", "Pictures, by predicted class.", ["class"], registry=registry
        )
        self.decode = Histogram(
            "model_decode_time_seconds",
            "Time from the encoded pictures to the network's input, one request's together.",
            buckets=DURATION_BUCKETS,
            registry=registry,
        )
        self.inference = Histogram(
            "model_inference_time_seconds",
            "Time in the network, one request's pictures together.",
            buckets=DURATION_BUCKETS,
            registry=registry,
        )
        ProcessCollector(registry=registry)

    def identify(self, identity: Identity) -> None:
        """Put the model's identity on every sample from now on."""
        self._labels = identity.labels()

    def text(self) -> bytes:
        """Return all samples in Prometheus' text format."""
        labelled = CollectorRegistry()
        labelled.register(_Labelled(self._registry, self._labels))
        return generate_latest(labelled)


class _Labelled(Collector):
    """The samples of a registry, each with the same labels added.

    Labels on the metrics themselves would be looked up at every request, and the model's name is
    only known once it is loaded.
    """

    def __init__(self, registry: CollectorRegistry, labels: dict[str, str]) -> None:
        self._registry = registry
        self._labels = labels

    def collect(self) -> Iterator[Metric]:
        for metric in self._registry.collect():
            metric.samples = [
                sample._replace(labels={**sample.labels, **self._labels})
                for sample in metric.samples
            ]
            yield metric

    def describe(self) -> list[Metric]:
        return []
