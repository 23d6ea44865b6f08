"""What was measured of two revisions between two readings of their pods: data, and its arithmetic.

`clients.measuring` makes a `Measurement`, `rollout.analysis` judges it. Counters only grow within
one life of a pod, so everything here is a count, and a difference of two is never negative.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import TypeVar

_Key = TypeVar("_Key", float, str)


@dataclass(frozen=True)
class Counters:
    """What pods have counted. Keys stay when their count is 0: a class that a model knows is one
    of `predictions` before it was ever predicted.
    """

    requests: int = 0
    """Requests for a prediction that were answered, or that the client gave up."""
    errors: int = 0
    """Of those, the ones answered with 5xx or given up by the client (499)."""
    durations: Mapping[float, int] = field(default_factory=dict)
    """How many of them took at most so many seconds; the last edge is infinity."""
    predictions: Mapping[str, int] = field(default_factory=dict)
    """Pictures by predicted class."""
    agreed: Mapping[str, int] = field(default_factory=dict)
    """Of a shadow: pictures by the stable revision's class, where both said the same."""
    differed: Mapping[str, int] = field(default_factory=dict)
    """The same, where they did not."""

    def plus(self, other: Counters) -> Counters:
        """Both together."""
        return Counters(
            self.requests + other.requests,
            self.errors + other.errors,
            _sum(self.durations, other.durations),
            _sum(self.predictions, other.predictions),
            _sum(self.agreed, other.agreed),
            _sum(self.differed, other.differed),
        )

    def since(self, earlier: Counters) -> Counters:
        """What came after `earlier`; nothing is ever negative."""
        return Counters(
            max(0, self.requests - earlier.requests),
            max(0, self.errors - earlier.errors),
            _difference(self.durations, earlier.durations),
            _difference(self.predictions, earlier.predictions),
            _difference(self.agreed, earlier.agreed),
            _difference(self.differed, earlier.differed),
        )

    def may_follow(self, earlier: Counters) -> bool:
        """Whether nothing has become smaller: otherwise the pod has counted from 0 again."""
        return self.requests >= earlier.requests and (
            _contains(self.durations, earlier.durations)
            and _contains(self.predictions, earlier.predictions)
            and _contains(self.agreed, earlier.agreed)
            and _contains(self.differed, earlier.differed)
        )

    def agreement_only(self) -> Counters:
        """The comparisons alone, everything else at 0."""
        return self.since(replace(self, agreed={}, differed={}))


@dataclass(frozen=True)
class PodReading:
    """What one pod said at one moment."""

    counters: Counters
    started_at: float | None = None
    """When its process began, in seconds since 1970 by its own clock."""
    overdue: Mapping[float, int] = field(default_factory=dict)
    """Requests that have waited for their prediction for more than so many seconds, just now."""


@dataclass(frozen=True)
class RevisionMeasurement:
    """One revision's pods together."""

    window: Counters = field(default_factory=Counters)
    """Counted since the last judgement."""
    step: Counters = field(default_factory=Counters)
    """Counted since the step began; the window is part of it."""
    pods: int = 0
    """How many of its pods were read at the end of the window."""
    overdue: Mapping[float, int] = field(default_factory=dict)
    """Requests that wait just now, by the seconds that they have waited for at least."""
    compared: Counters = field(default_factory=Counters)
    """Of a shadow: `agreed` and `differed` in all, since its pods started."""
    unreadable: str | None = None
    """Why what some of its ready pods have counted is not known, twice in a row; one sentence."""

    @property
    def classes(self) -> frozenset[str]:
        """The classes that the model knows; empty while no pod was read."""
        return frozenset(self.step.predictions)

    def waiting_longer_than(self, seconds: float) -> int:
        """Requests known to have waited for longer than that, without an answer."""
        known = [limit for limit in self.overdue if limit >= seconds]
        return self.overdue[min(known)] if known else 0


@dataclass(frozen=True)
class QueryResult:
    """What Prometheus computed: a value, or why there is none."""

    value: float | None = None
    missing: str = ""


@dataclass(frozen=True)
class Measurement:
    """Everything that one judgement is made from."""

    since: datetime
    """The last judgement, or the reading at which measuring began."""
    until: datetime
    """What status.analysedAt becomes once this is judged."""
    revisions: Mapping[str, RevisionMeasurement] = field(default_factory=dict)
    queries: Mapping[tuple[str, str], QueryResult] = field(default_factory=dict)
    """By the metric's name and the revision that was asked about."""

    def of(self, revision: str | None) -> RevisionMeasurement:
        """One revision's; empty for one that was not measured."""
        return self.revisions.get(revision or "", RevisionMeasurement())


def percentile(durations: Mapping[float, int], percent: int, *, beyond: int = 0) -> float | None:
    """Seconds within which that percent of the requests were answered; None without requests.

    `beyond` requests took longer than any edge. Inside a bucket the requests count as evenly
    spread, as with Prometheus' histogram_quantile. The result is at most an edge exactly when
    that share of the requests was; above the last finite edge it is infinity, since all that is
    known then is that it was longer.

    >>> percentile({0.1: 80, 0.2: 100, math.inf: 100}, 90)
    0.15
    """
    edges = sorted(durations)
    total = (durations[edges[-1]] if edges else 0) + beyond
    if total <= 0:
        return None
    lower, before = 0.0, 0
    for edge in edges:
        count = max(durations[edge], before)
        # Whole numbers: 0.95 * 60 must not be a little more than 57.
        if count * 100 >= percent * total and count > before:
            inside = (percent * total - before * 100) / ((count - before) * 100)
            return edge if inside >= 1 else lower + (edge - lower) * max(0.0, inside)
        lower, before = edge, count
    return math.inf


def _sum(one: Mapping[_Key, int], other: Mapping[_Key, int]) -> dict[_Key, int]:
    return {key: one.get(key, 0) + other.get(key, 0) for key in {**one, **other}}


def _difference(later: Mapping[_Key, int], earlier: Mapping[_Key, int]) -> dict[_Key, int]:
    return {key: max(0, count - earlier.get(key, 0)) for key, count in later.items()}


def _contains(later: Mapping[_Key, int], earlier: Mapping[_Key, int]) -> bool:
    return all(later.get(key, 0) >= count for key, count in earlier.items())
