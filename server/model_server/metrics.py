"""The Prometheus metrics: their names, labels and buckets are what rollouts and dashboards read.

`serve` makes one Metrics per process; `rest` and `mirror` count into it, `/metrics` prints it.
Every sample also carries model_name, model_version and revision. No label takes a value that a
client could make up, and what can be known beforehand is there from the start, as 0: a rate over
a counter that only appears with its first event misses that event. docs/server.md lists them.
"""

from __future__ import annotations

import contextlib
import re
import time
from collections.abc import Iterable, Iterator, Sequence
from functools import partial

from prometheus_client import (
    CollectorRegistry,
    Counter,
    Gauge,
    Histogram,
    ProcessCollector,
    disable_created_metrics,
    generate_latest,
)

from model_server.errors import RequestError
from model_server.model import Identity, Model
from model_server.prediction import Predictions
from model_server.workers import Workers

# Seconds. Fixed for good: an analysis compares them across versions, and a limit of latency is
# judged exactly where it falls on an edge (0.3 is the design's example).
DURATION_BUCKETS = (
    *(0.001, 0.0025, 0.005, 0.0075, 0.01, 0.015, 0.02, 0.03, 0.05, 0.075),
    *(0.1, 0.15, 0.2, 0.25, 0.3, 0.4, 0.5, 0.75),
    *(1.0, 1.5, 2.0, 3.0, 5.0, 10.0, 30.0),
)
BATCH_BUCKETS = (1, 2, 4, 8, 16, 32, 64, 128)
CONFIDENCE_BUCKETS = (0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 0.95, 0.99, 0.999, 1.0)
BRIGHTNESS_BUCKETS = (0.05, 0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 0.95, 1.0)
# The squares of 32, 64, 128 and so on, and of what cameras and phones make.
PIXEL_BUCKETS = (
    *(1024, 4096, 16_384, 65_536, 262_144, 1_048_576, 2_097_152, 4_194_304),
    *(8_388_608, 12_582_912, 16_777_216, 33_554_432),
)
OVERDUE_SECONDS = (1, 2, 3, 5, 7.5, 10, 15, 20, 30)
OTHER = "other"
UNKNOWN_CLASS = "(unknown)"
"""Of a shadow: what stable predicted and this model does not know. `other` may well be a class."""
MIRROR_OUTCOMES = ("sent", "refused", "failed", "dropped")
_AGREEMENTS = ("agree", "differ")
_ROUTERS_PROBLEMS = ("not-found", "method-not-allowed", "internal-error")

# A line of the text format that is no comment: its name, and what follows that. Line breaks in
# label values are escaped, so that no line begins inside of one.
_SAMPLE = re.compile(rb"^([a-zA-Z_:][a-zA-Z0-9_:]*)(\{| )", re.MULTILINE)
_ESCAPES = str.maketrans({"\\": r"\\", "\n": r"\n", '"': r"\""})


class Metrics:
    """All that is counted, and how it is printed."""

    def __init__(self) -> None:
        disable_created_metrics()  # type: ignore[no-untyped-call]
        self._labels = Identity("", "", "").labels()
        self._registry = CollectorRegistry()
        self._requests()
        self._predictions()
        self._mirror()
        self.dropped_lines = self._counter(
            "log_lines_dropped_total", "Log lines that were not written, since nobody read them."
        )
        ProcessCollector(registry=self._registry)

    def _requests(self) -> None:
        self.requests = self._counter(
            "http_requests_total", "Requests answered.", "method", "path", "status"
        )
        self.duration = self._seconds(
            "http_request_duration_seconds",
            "Time from the request's header to the end of its answer.",
            "path",
        )
        self._timed = {OTHER}
        self.duration.labels(OTHER)
        self.in_progress = self._gauge("http_requests_in_progress", "Requests not answered yet.")
        self._rejected = self._counter(
            "http_requests_rejected_total",
            "Requests answered with a problem, by its type.",
            "reason",
        )
        self._reasons = frozenset({*_slugs(RequestError), *_ROUTERS_PROBLEMS})
        for reason in (*sorted(self._reasons), OTHER):
            self._rejected.labels(reason)

    def _predictions(self) -> None:
        self.classes = self._counter(
            "prediction_class_total", "Pictures, by predicted class.", "class"
        )
        self.batch = self._histogram(
            "prediction_batch_size", "Pictures in a request that was predicted.", BATCH_BUCKETS
        )
        self._drift()
        self._waiting = self._gauge(
            "prediction_queue_depth", "Requests that wait for an inference thread."
        )
        self._running = self._gauge(
            "predictions_in_progress", "Requests that an inference thread works on."
        )
        self._unanswered: dict[object, float] = {}
        overdue = self._gauge(
            "predictions_overdue",
            "Requests whose prediction has taken longer than this already.",
            "seconds",
        )
        for seconds in OVERDUE_SECONDS:
            overdue.labels(str(seconds)).set_function(partial(self._older_than, seconds))
        self.queue_wait = self._seconds(
            "prediction_queue_wait_seconds", "Time a request waited for an inference thread."
        )
        self.decode = self._seconds(
            "model_decode_time_seconds",
            "Time from the encoded pictures to the network's input, one request's together.",
        )
        self.inference = self._seconds(
            "model_inference_time_seconds", "Time in the network, one request's pictures together."
        )
        self.decode_failures = self._counter(
            "model_decode_failures_total",
            "Requests with a picture that a decoder began with and could not go on.",
        )
        self._info = self._gauge("model_info", "The model that is served.", "sha256", "engine")

    def _drift(self) -> None:
        self._confidence = self._histogram(
            "model_prediction_confidence",
            "Probability of the predicted class, by picture.",
            CONFIDENCE_BUCKETS,
        )
        self._brightness = self._histogram(
            "model_input_brightness",
            "Mean of a picture's colours, 0 black, 1 white.",
            BRIGHTNESS_BUCKETS,
        )
        self._pixels = self._histogram(
            "model_input_pixels", "Width times height of a picture as it was sent.", PIXEL_BUCKETS
        )

    def _mirror(self) -> None:
        self.mirrored = self._counter(
            "mirror_requests_total", "Requests chosen to be copied, by outcome.", "outcome"
        )
        for outcome in MIRROR_OUTCOMES:
            self.mirrored.labels(outcome)
        self.mirror_waiting = self._gauge("mirror_queue_requests", "Copies that wait to be sent.")
        self.mirror_bytes = self._gauge(
            "mirror_queue_bytes", "Bodies of copies that wait or are being sent."
        )
        self._mirror_config = self._gauge(
            "mirror_config_info", "The mirror's configuration as last read.", "hash", "state"
        )
        self._shown_config: tuple[str, str] | None = None
        self.mirror_config("none", "absent")
        self.shadow = self._counter(
            "shadow_predictions_total",
            "Pictures of mirrored requests, by stable's class.",
            "class",
            "agreement",
        )
        self.shadow_malformed = self._counter(
            "shadow_malformed_total", "Mirrored requests whose headers cannot be compared."
        )

    def _counter(self, name: str, documentation: str, *labels: str) -> Counter:
        return Counter(name, documentation, labels, registry=self._registry)

    def _gauge(self, name: str, documentation: str, *labels: str) -> Gauge:
        return Gauge(name, documentation, labels, registry=self._registry)

    def _histogram(self, name: str, documentation: str, buckets: Sequence[float]) -> Histogram:
        return Histogram(name, documentation, buckets=buckets, registry=self._registry)

    def _seconds(self, name: str, documentation: str, *labels: str) -> Histogram:
        return Histogram(
            name, documentation, labels, buckets=DURATION_BUCKETS, registry=self._registry
        )

    def identify(self, model: Model) -> None:
        """Put the model's identity on every sample from now on, and count its classes from 0."""
        self._labels = model.identity.labels()
        self._info.labels(model.digest, model.engine).set(1)
        for label in model.predict.classes:
            self.classes.labels(label)
        for label in (*model.predict.classes, UNKNOWN_CLASS):
            for agreement in _AGREEMENTS:
                self.shadow.labels(label, agreement)

    def expect(self, method: str, path: str, statuses: Iterable[int]) -> None:
        """Count a route's answers from 0, and their time where it predicts, which is by POST. All
        other routes are timed together: a histogram of each would be most of what is printed.
        """
        if method == "POST":
            self._timed.add(path)
            self.duration.labels(path)
        for status in statuses:
            self.requests.labels(method, path, str(status))

    def answered(self, method: str, path: str, status: int, seconds: float) -> None:
        """Count an answer of a route; `seconds` from the request's header to the answer's end."""
        self.requests.labels(method, path, str(status)).inc()
        self.duration.labels(path if path in self._timed else OTHER).observe(seconds)

    def observe(self, workers: Workers) -> None:
        """Read the queue's depth from `workers` whenever the metrics are read."""
        self._waiting.set_function(lambda: max(0, workers.pending - workers.threads))
        self._running.set_function(lambda: min(workers.pending, workers.threads))

    @contextlib.contextmanager
    def awaiting_prediction(self) -> Iterator[None]:
        """Count a request as overdue the longer this takes: its body is there, its answer not."""
        request = object()
        self._unanswered[request] = time.monotonic()
        try:
            yield
        finally:
            del self._unanswered[request]

    def _older_than(self, seconds: float) -> int:
        limit = time.monotonic() - seconds
        # A copy, in one step: requests come and go while another thread reads the metrics.
        return sum(began < limit for began in list(self._unanswered.values()))

    def predicted(self, predictions: Predictions) -> None:
        """Count what pictures were predicted to be, how surely, and what they were like."""
        self.decode.observe(predictions.decode_seconds)
        self.inference.observe(predictions.inference_seconds)
        self.batch.observe(len(predictions.items))
        for item in predictions.items:
            self.classes.labels(item.label).inc()
            self._confidence.observe(item.confidence)
        for seen in predictions.seen:
            self._brightness.observe(seen.brightness)
            self._pixels.observe(seen.pixels)

    def reject(self, problem: str) -> None:
        """Count a request that was answered with a problem of this type."""
        self._rejected.labels(problem if problem in self._reasons else OTHER).inc()

    def mirror_config(self, content_hash: str, state: str) -> None:
        """Show the mirror's configuration that is in force, and no other."""
        before, self._shown_config = self._shown_config, (content_hash, state)
        # The new one first: another thread may be reading, and there is always one to read.
        self._mirror_config.labels(content_hash, state).set(1)
        if before is not None and before != self._shown_config:
            self._mirror_config.remove(*before)

    def text(self) -> bytes:
        """Return all samples in Prometheus' text format; safe to call in any thread.

        The model's identity is written into the text: as labels of the metrics it would be looked
        up at every request, and it is only known once the model is loaded.
        """
        identity = ",".join(
            f'{name}="{value.translate(_ESCAPES)}"' for name, value in self._labels.items()
        )
        labelled = f"{{{identity}}} ".encode()
        more = f"{{{identity},".encode()
        return _SAMPLE.sub(
            lambda found: found[1] + (more if found[2] == b"{" else labelled),
            generate_latest(self._registry),
        )


def _slugs(kind: type[RequestError]) -> Iterator[str]:
    """Yield the problem types that the errors of this kind lead to."""
    if hasattr(kind, "slug"):
        yield kind.slug
    for narrower in kind.__subclasses__():
        yield from _slugs(narrower)
