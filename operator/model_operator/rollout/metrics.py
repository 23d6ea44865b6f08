"""What a metric's value is: from counts, or from Prometheus. Pure; `analysis` judges it."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from model_operator import api
from model_operator.measurement import Counters, Measurement, percentile

SHORTEST_PATIENCE_SECONDS = 1.0
LONGEST_PATIENCE_SECONDS = 30.0
"""The server itself answers 503 after so long."""


@dataclass(frozen=True)
class Value:
    """One metric of the revision that is judged."""

    number: float | None = None
    baseline: float | None = None
    """The stable revision's."""
    samples: int = 0
    """Requests that it was taken from."""
    missing: str = ""
    """Why there is no number."""
    no_baseline: str = ""
    """Why there is no baseline."""
    broken: str = ""
    """Why this is a failure whatever the number; one sentence."""
    detail: str = ""
    not_finite: str = "infinite"
    """What is said in place of an infinite number."""

    def highest_by_ratio(self, metric: api.Metric) -> float | None:
        """The limit that the baseline gives; None without one. A multiple of 0 is 0."""
        if metric.max_ratio_to_stable is None or self.baseline is None:
            return None
        if not math.isfinite(self.baseline):
            return None
        return self.baseline * metric.max_ratio_to_stable


def judged(settings: api.Analysis) -> Sequence[api.Metric]:
    """The metrics that are judged: those of the spec, and class-mismatch always."""
    if any(metric.name == api.CLASS_MISMATCH for metric in settings.metrics):
        return settings.metrics
    return [*settings.metrics, api.Metric(name=api.CLASS_MISMATCH, max=0)]


def patience(settings: api.Analysis) -> float:
    """Seconds after which a request without an answer counts as an error: half the interval, so
    that a canary that never answers is seen by the first judgement.
    """
    half = api.parse_duration(settings.interval).total_seconds() / 2
    return min(max(half, SHORTEST_PATIENCE_SECONDS), LONGEST_PATIENCE_SECONDS)


@dataclass(frozen=True)
class Source:
    """Where the values of one judgement come from."""

    settings: api.Analysis
    measurement: Measurement
    canary: str
    stable: str | None

    def is_asked_for(self, metric: api.Metric) -> bool:
        """Whether the spec names it; what is judged unasked can fail, and holds up nothing."""
        return metric in self.settings.metrics

    def value_of(self, metric: api.Metric) -> Value:
        """One metric's value, as far as there is one."""
        if metric.prometheus is not None:
            return self._of_query(metric)
        if silent := self._silence(metric):
            return silent
        samples = self._samples(self.canary)
        asked = self.settings.min_requests
        if samples < asked:
            counted = f"{samples} of minRequests {asked} requests since the step began"
            return Value(samples=samples, missing=counted)
        if metric.name == api.CLASS_MISMATCH:
            return self._class_mismatch()
        if metric.name == api.ERROR_RATE:
            return self._error_rate()
        return self._latency(metric)

    def _silence(self, metric: api.Metric) -> Value | None:
        """Where the revision's pods do not tell. That is their failure when stable's do tell;
        otherwise it may be the operator that cannot reach them.
        """
        why = self.measurement.of(self.canary).unreadable
        if why is None:
            return None
        stable = self.measurement.of(self.stable)
        if stable.pods and stable.unreadable is None:
            return Value(broken=f"{metric.name} cannot be measured: {why}")
        return Value(missing=why)

    def _samples(self, revision: str | None) -> int:
        measured = self.measurement.of(revision)
        return measured.step.requests + measured.waiting_longer_than(patience(self.settings))

    def _counted(self, revision: str | None) -> Counters:
        """What is judged: the window, or all since the step began when nothing was judged yet for
        want of requests.
        """
        measured = self.measurement.of(revision)
        judged_before = measured.step.requests - measured.window.requests
        enough = judged_before >= self.settings.min_requests
        return measured.window if enough else measured.step

    def _no_baseline(self) -> str:
        """Why the stable revision has no value; empty when it has one."""
        if self.stable is None or self.stable == self.canary:
            return "there is no other revision"
        measured = self.measurement.of(self.stable)
        if measured.unreadable:
            return measured.unreadable
        samples, asked = measured.step.requests, self.settings.min_requests
        if samples < asked or not self._counted(self.stable).requests:
            return f"the stable revision has answered {samples} requests since the step began"
        return ""

    def _error_rate(self) -> Value:
        counted = self._counted(self.canary)
        patient = patience(self.settings)
        late = self.measurement.of(self.canary).waiting_longer_than(patient)
        samples = counted.requests + late
        if not samples:
            return Value(missing="no request since it was judged last")
        errors = counted.errors + late
        none = self._no_baseline()
        stable = self._counted(self.stable)
        waits = f", {late} of them waiting for more than {patient:g} s" if late else ""
        return Value(
            number=errors / samples,
            baseline=None if none else stable.errors / stable.requests,
            samples=samples,
            no_baseline=none,
            detail=f"{errors} of {samples}{waits}",
        )

    def _latency(self, metric: api.Metric) -> Value:
        """In milliseconds. Requests that wait for longer than the limit already count as that."""
        percent = api.LATENCY_PERCENTILES[metric.name]
        none = self._no_baseline()
        seconds = None if none else percentile(self._counted(self.stable).durations, percent)
        baseline = None if seconds is None else _milliseconds(seconds)
        ratio = Value(baseline=baseline).highest_by_ratio(metric)
        limits = [limit for limit in (metric.max, ratio) if limit is not None]
        measured, counted = self.measurement.of(self.canary), self._counted(self.canary)
        late = measured.waiting_longer_than(min(limits) / 1000) if limits else 0
        found = percentile(counted.durations, percent, beyond=late)
        if found is None:
            return Value(missing="no request was answered since it was judged last")
        edges = [edge for edge in counted.durations if math.isfinite(edge)]
        return Value(
            number=_milliseconds(found),
            baseline=baseline,
            samples=counted.requests + late,
            no_baseline=none or ("" if baseline is not None else "nothing was timed"),
            detail=f"{late} requests wait for longer already" if late else "",
            not_finite="more than its limit" if late else f"more than {max(edges, default=0):g} s",
        )

    def _class_mismatch(self) -> Value:
        """The larger share of predictions in classes that the other revision does not know."""
        own, stable = self.measurement.of(self.canary), self.measurement.of(self.stable)
        counted = self._counted(self.canary)
        if not own.classes or not stable.classes or not sum(counted.predictions.values()):
            return Value(missing="the classes of both revisions are not known yet")
        foreign = _share(counted, own.classes - stable.classes)
        lost = _share(self._counted(self.stable), stable.classes - own.classes)
        unknown = sorted(
            (own.classes if foreign >= lost else stable.classes)
            - (stable.classes if foreign >= lost else own.classes)
        )
        who = "the stable revision" if foreign >= lost else "the new revision"
        return Value(
            number=max(foreign, lost),
            samples=counted.requests,
            detail=f"{who} does not know {_listed(unknown)}" if unknown else "",
            no_baseline="it is a comparison already",
        )

    def _of_query(self, metric: api.Metric) -> Value:
        own = self.measurement.queries.get((metric.name, self.canary))
        stable = self.measurement.queries.get((metric.name, self.stable or ""))
        no_baseline = "it was not asked for" if stable is None else stable.missing
        if own is None:
            return Value(missing="Prometheus was not asked")
        return Value(
            number=own.value,
            baseline=stable.value if stable else None,
            missing=own.missing,
            no_baseline=no_baseline,
        )


def _milliseconds(seconds: float) -> float:
    return seconds * 1000 if math.isinf(seconds) else round(seconds * 1000, 6)


def _share(counted: Counters, classes: frozenset[str]) -> float:
    total = sum(counted.predictions.values())
    return sum(counted.predictions.get(name, 0) for name in classes) / total if total else 0.0


def _listed(classes: Sequence[str]) -> str:
    """At most three of them, each cut to what fits a sentence."""
    shown = ", ".join(name[:40] for name in classes[:3])
    return shown if len(classes) <= 3 else f"{shown} and {len(classes) - 3} more"
