"""A model server's `/metrics`: from Prometheus' text to what rollouts count. Pure.

`measuring` asks; docs/server.md names the metrics. Of hundreds of lines only the few that matter
are parsed.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterator

from prometheus_client.parser import text_string_to_metric_families
from prometheus_client.samples import Sample

from model_operator.errors import MetricsUnreadable
from model_operator.measurement import Counters, PodReading

_REQUESTS = "http_requests_total"
_BUCKET = "http_request_duration_seconds_bucket"
_OVERDUE = "predictions_overdue"
_CLASSES = "prediction_class_total"
_SHADOW = "shadow_predictions_total"
_STARTED = "process_start_time_seconds"
_BY_PATH = (f"{_REQUESTS}{{", f"{_BUCKET}{{")
_PREDICTIONS = ('path="/predict"', '/infer"')
_WHOLE = (f"{_OVERDUE}{{", f"{_CLASSES}{{", f"{_SHADOW}{{", _STARTED)
_GAVE_UP = "499"
"""The client went away before its answer: it waited for longer than it had patience."""


def parse(content: bytes) -> PodReading:
    """What one pod has counted of predictions; probes and pages are not counted.

    Raises:
        MetricsUnreadable: this is no text of that kind, or its numbers cannot be counts.

    """
    try:
        text = content.decode()
        if not text.startswith(_REQUESTS) and f"\n{_REQUESTS}" not in text:
            raise MetricsUnreadable(f"the answer has no {_REQUESTS}: it is no model server's")
        reading = _Sums()
        for family in text_string_to_metric_families(_relevant(text)):
            for sample in family.samples:
                reading.take(sample)
    except (ValueError, KeyError, IndexError) as error:
        raise MetricsUnreadable(f"the answer is not Prometheus' text format: {error}") from error
    return reading.result()


def _relevant(text: str) -> str:
    return "".join(f"{line}\n" for line in _relevant_lines(text))


def _relevant_lines(text: str) -> Iterator[str]:
    # Not splitlines(): a class may have any other line separator in its name.
    for line in text.split("\n"):
        predicts = line.startswith(_BY_PATH) and any(path in line for path in _PREDICTIONS)
        if predicts or line.startswith(_WHOLE):
            yield line


class _Sums:
    def __init__(self) -> None:
        self._requests: Counter[str] = Counter()
        self._durations: Counter[float] = Counter()
        self._overdue: Counter[float] = Counter()
        self._classes: Counter[str] = Counter()
        self._shadow: dict[str, Counter[str]] = {"agree": Counter(), "differ": Counter()}
        self._started_at: float | None = None

    def take(self, sample: Sample) -> None:
        """Adds one sample. Raises ValueError or KeyError when it is nonsense."""
        name, labels = sample.name, sample.labels
        if name == _STARTED:
            self._started_at = sample.value
            return
        count = _count(sample)
        if name == _REQUESTS:
            self._requests[labels["status"]] += count
        elif name == _BUCKET:
            self._durations[_edge(labels["le"])] += count
        elif name == _OVERDUE:
            self._overdue[_edge(labels["seconds"])] += count
        elif name == _CLASSES:
            self._classes[labels["class"]] += count
        elif name == _SHADOW:
            self._shadow[labels["agreement"]][labels["class"]] += count

    def result(self) -> PodReading:
        """Everything together. Raises MetricsUnreadable when the buckets contradict each other."""
        counts = [self._durations[edge] for edge in sorted(self._durations)]
        if counts and (counts != sorted(counts) or math.inf not in self._durations):
            raise MetricsUnreadable(f"the buckets of {_BUCKET} do not add up to larger ones")
        return PodReading(
            counters=Counters(
                requests=self._requests.total(),
                errors=sum(
                    count
                    for status, count in self._requests.items()
                    if status.startswith("5") or status == _GAVE_UP
                ),
                durations=dict(self._durations),
                predictions=dict(self._classes),
                agreed=dict(self._shadow["agree"]),
                differed=dict(self._shadow["differ"]),
            ),
            started_at=self._started_at,
            overdue=dict(self._overdue),
        )


def _count(sample: Sample) -> int:
    if not 0 <= sample.value < 2**53:
        raise ValueError(f"{sample.name} is {sample.value}, which is no count")
    return int(sample.value)


def _edge(text: str) -> float:
    edge = float(text)
    if math.isnan(edge):
        raise ValueError("an edge is NaN")
    return edge
