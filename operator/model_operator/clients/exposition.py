"""A model server's `/metrics`: from Prometheus' text to what rollouts count. Pure.

`measuring` asks; docs/server.md names the metrics. A model of a thousand classes has thousands of
lines, and all pods are read in one thread: so lines are matched, and only those that matter.
"""

from __future__ import annotations

import math
import re
from collections import Counter

from model_operator.errors import MetricsUnreadable
from model_operator.measurement import Counters, PodReading

_REQUESTS = "http_requests_total"
_BUCKET = "http_request_duration_seconds_bucket"
_OVERDUE = "predictions_overdue"
_CLASSES = "prediction_class_total"
_SHADOW = "shadow_predictions_total"
_STARTED = "process_start_time_seconds"
_BY_PATH = (_REQUESTS, _BUCKET)
_GAVE_UP = "499"
"""The client went away before its answer: it waited for longer than it had patience."""

_NAMES = "|".join((*_BY_PATH, _OVERDUE, _CLASSES, _SHADOW, _STARTED))
_LINE = re.compile(rf"^({_NAMES})(?=[ {{])(.*)$", re.MULTILINE)
_LABEL = r'([a-zA-Z_][a-zA-Z0-9_]*)="((?:[^"\\\n]|\\.)*)"'
_LABELS = re.compile(rf"(?:\{{((?:{_LABEL},?)*)\}})? ([^ ]+)(?: -?[0-9]+)?")
_PAIR = re.compile(_LABEL)
_ESCAPED = re.compile(r"\\(.)")
_MEANT = {"n": "\n"}


def parse(content: bytes) -> PodReading:
    """What one pod has counted of predictions; probes and pages are not counted.

    Raises:
        MetricsUnreadable: this is no text of that kind, or its numbers cannot be counts.

    """
    sums = _Sums()
    known = False
    try:
        for name, rest in _LINE.findall(content.decode()):
            known = known or name == _REQUESTS
            sums.take(name, *_sample(rest))
    except (ValueError, KeyError) as error:
        raise MetricsUnreadable(f"the answer is not Prometheus' text format: {error}") from error
    if not known:
        raise MetricsUnreadable(f"the answer has no {_REQUESTS}: it is no model server's")
    return sums.result()


def _sample(rest: str) -> tuple[dict[str, str], float]:
    """The labels and the value of a line, after its name."""
    found = _LABELS.fullmatch(rest)
    if found is None:
        raise ValueError(f"a line goes on with {rest[:60]!r}")
    labels = {
        label: _ESCAPED.sub(_unescaped, text) if "\\" in text else text
        for label, text in _PAIR.findall(found[1] or "")
    }
    return labels, float(found[4])


def _unescaped(found: re.Match[str]) -> str:
    return _MEANT.get(found[1], found[1])


class _Sums:
    def __init__(self) -> None:
        self._requests: Counter[str] = Counter()
        self._durations: Counter[float] = Counter()
        self._overdue: Counter[float] = Counter()
        self._classes: Counter[str] = Counter()
        self._shadow: dict[str, Counter[str]] = {"agree": Counter(), "differ": Counter()}
        self._started_at: float | None = None

    def take(self, name: str, labels: dict[str, str], value: float) -> None:
        """Adds one sample. Raises ValueError or KeyError when it is nonsense."""
        if name == _STARTED:
            self._started_at = value
            return
        if name in _BY_PATH and not _predicts(labels["path"]):
            return
        count = _count(name, value)
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


def _predicts(path: str) -> bool:
    """Whether a route answers predictions: the REST interface's, or one of the V2 protocol's."""
    return path == "/predict" or path.endswith("/infer")


def _count(name: str, value: float) -> int:
    if not 0 <= value < 2**53:
        raise ValueError(f"{name} is {value}, which is no count")
    return int(value)


def _edge(text: str) -> float:
    edge = float(text)
    if math.isnan(edge):
        raise ValueError("an edge is NaN")
    return edge
