"""The operator's own metrics: what `/metrics` shows. docs/operator.md explains each.

Nothing is labelled by resource: ten thousand resources would be ten thousand series. `main` makes
one object and hands it to whoever has something to tell.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from functools import partial
from typing import Protocol

from prometheus_client import (
    CollectorRegistry,
    Counter,
    Gauge,
    GCCollector,
    Histogram,
    PlatformCollector,
    ProcessCollector,
)

SECONDS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0)


class WatchedView(Protocol):
    """What is known of one kind, as far as metrics show it."""

    @property
    def kind(self) -> str: ...  # noqa: D102

    @property
    def overdue(self) -> float: ...  # noqa: D102

    def __len__(self) -> int: ...


class Metrics:
    """One registry and everything in it."""

    def __init__(self, version: str) -> None:
        self.registry = registry = CollectorRegistry()
        for collector in (ProcessCollector, PlatformCollector, GCCollector):
            collector(registry=registry)
        gauge = partial(Gauge, registry=registry)
        counter = partial(Counter, registry=registry)
        histogram = partial(Histogram, registry=registry)
        self._queue_depth = gauge(
            "cv_factory_queue_depth", "Resources that wait for a free worker."
        )
        self._queue_oldest = gauge(
            "cv_factory_queue_oldest_wait_seconds",
            "How long the resource that waits longest has waited for a free worker.",
        )
        self._rollouts = gauge(
            "cv_factory_rollouts", "Revisions that are being introduced beside a stable one."
        )
        self._rollouts_waiting = gauge(
            "cv_factory_rollouts_waiting", "Rollouts that wait for their turn."
        )
        self._rollouts_oldest = gauge(
            "cv_factory_rollouts_oldest_seconds",
            "How long the rollout that is under way longest has been known here.",
        )
        self._stalled = gauge(
            "cv_factory_resources_stalled", "Resources that wait for somebody to act."
        )
        self._unavailable = gauge(
            "cv_factory_resources_unavailable", "Resources that served and have no ready pod."
        )
        self._passes = histogram(
            "cv_factory_reconcile_duration_seconds",
            "Passes over a resource, by how they ended.",
            ["outcome"],
            buckets=SECONDS,
        )
        self._api_calls = counter(
            "cv_factory_api_calls_total",
            "Requests to the API server, by what was answered.",
            ["verb", "kind", "code"],
        )
        self._api_seconds = histogram(
            "cv_factory_api_call_duration_seconds",
            "Requests to the API server: until the answer was read, or a watch was open.",
            ["verb", "kind"],
            buckets=SECONDS,
        )
        self._objects = gauge("cv_factory_watched_objects", "Objects that are known.", ["kind"])
        self._watch_age = gauge(
            "cv_factory_watch_age_seconds",
            "Since a sign was due that what is known of a kind is fresh.",
            ["kind"],
        )
        self._found = counter(
            "cv_factory_sweep_differences_total",
            "Objects of which a sweep learned before the watch told.",
            ["kind"],
        )
        self._missed = counter(
            "cv_factory_watch_missed_total",
            "Changes that the watch left out; a sweep found them.",
            ["kind"],
        )
        self._kopf_restarts = counter(
            "cv_factory_kopf_restarts_total",
            "How often kopf was started again within the process.",
        )
        self._aliases = gauge(
            "cv_factory_followed_aliases",
            "Aliases that are asked for all the time.",
        )
        self._leader = gauge(
            "cv_factory_leader",
            "1 while this process is the one that reconciles.",
        )
        self._records = counter(
            "cv_factory_tracker_records_total",
            "What became of the records of rollouts in MLflow.",
            ["outcome"],
        )
        for outcome in ("written", "failed", "refused", "withdrawn", "dropped"):
            self._records.labels(outcome)
        self._records_waiting = gauge(
            "cv_factory_tracker_waiting", "Records of rollouts that wait to be written."
        )
        build = gauge("cv_factory_build_info", "Always 1.", ["version"])
        build.labels(version).set(1)

    def follow_queue(self, depth: Callable[[], int], oldest_wait: Callable[[], float]) -> None:
        """Reads the queue whenever the metrics are read."""
        self._queue_depth.set_function(depth)
        self._queue_oldest.set_function(oldest_wait)

    def follow_rollouts(
        self,
        under_way: Callable[[], int],
        waiting: Callable[[], int],
        oldest: Callable[[], float],
    ) -> None:
        """Reads the turns whenever the metrics are read."""
        self._rollouts.set_function(under_way)
        self._rollouts_waiting.set_function(waiting)
        self._rollouts_oldest.set_function(oldest)

    def follow_resources(self, stalled: Callable[[], int], unavailable: Callable[[], int]) -> None:
        """Counts those that need somebody whenever the metrics are read."""
        self._stalled.set_function(stalled)
        self._unavailable.set_function(unavailable)

    def follow_views(self, views: Iterable[WatchedView]) -> None:
        """Reads the views whenever the metrics are read; of several of a kind, the oldest."""
        by_kind: dict[str, list[WatchedView]] = {}
        for view in views:
            by_kind.setdefault(view.kind, []).append(view)
        for kind, same in by_kind.items():
            self._watch_age.labels(kind).set_function(_oldest(same))
            self._objects.labels(kind).set_function(_together(same))
            self._found.labels(kind)
            self._missed.labels(kind)

    def forget_term(self) -> None:
        """What was led is led no more: nothing waits here, rollouts are somebody else's to carry
        on, and a view that nobody feeds is no news of its age.
        """
        self._watch_age.clear()
        self._objects.clear()
        for gauge in (
            *(self._queue_depth, self._queue_oldest, self._aliases, self._records_waiting),
            *(self._rollouts, self._rollouts_waiting, self._rollouts_oldest),
            *(self._stalled, self._unavailable),
        ):
            gauge.set_function(lambda: 0)

    def follow_lead(self, leads: Callable[[], bool]) -> None:
        """Asks whether the process is the one that reconciles whenever the metrics are read."""
        self._leader.set_function(leads)

    def follow_aliases(self, count: Callable[[], int]) -> None:
        """Counts what is followed whenever the metrics are read."""
        self._aliases.set_function(count)

    def follow_tracker(self, waiting: Callable[[], int]) -> None:
        """Reads the tracker's queue whenever the metrics are read."""
        self._records_waiting.set_function(waiting)

    def tracked(self, outcome: str) -> None:
        """One record of a rollout was written, refused, withdrawn, put off (failed) or dropped."""
        self._records.labels(outcome).inc()

    def api_call(self, verb: str, kind: str, code: str, seconds: float) -> None:
        """One request to the API server."""
        self._api_calls.labels(verb, kind, code).inc()
        self._api_seconds.labels(verb, kind).observe(seconds)

    def reconciled(self, outcome: str, seconds: float) -> None:
        """One pass."""
        self._passes.labels(outcome).observe(seconds)

    def sweep_found(self, kind: str, differences: int) -> None:
        """A sweep learned of something before the watch told."""
        self._found.labels(kind).inc(differences)

    def watch_missed(self, kind: str, objects: int) -> None:
        """A watch has left something out."""
        self._missed.labels(kind).inc(objects)

    def kopf_restarted(self) -> None:
        """Kopf was started again."""
        self._kopf_restarts.inc()


def _oldest(views: Sequence[WatchedView]) -> Callable[[], float]:
    return lambda: max(view.overdue for view in views)


def _together(views: Sequence[WatchedView]) -> Callable[[], float]:
    return lambda: sum(len(view) for view in views)
