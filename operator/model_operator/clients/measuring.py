"""Measures a rollout: reads the pods' counters now and then, and tells what came in between.

`observe` asks at every pass and mostly gets None: only once per `analysis.interval` there is
something to judge. The readings live in memory alone. When the operator dies the window begins
anew; how many judgements failed before is in status.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any

from model_operator import api, diagnosis
from model_operator.clients import exposition
from model_operator.clients.pods import PodReader
from model_operator.clients.prometheus import Prometheus
from model_operator.clients.view import Key
from model_operator.errors import MetricsUnreadable, PodUnreachable
from model_operator.measurement import (
    Counters,
    Measurement,
    PodReading,
    QueryResult,
    RevisionMeasurement,
)
from model_operator.observed import Resource

Body = Mapping[str, Any]

READ_SECONDS = 1.5
"""The longest time for reading one pod."""
DEFAULT_INTERVAL = timedelta(seconds=10)
"""Between two measurements where spec has no analysis (a Shadow is judged without one)."""
METRICS_PATH = "/metrics"
METRICS_PORT = 8000
"""Where a pod names no port `http`."""
SILENT_AFTER = 2
"""Readings in a row that must fail before a pod counts as unreadable: one may hit a restart."""


@dataclass
class _Pod:
    revision: str
    reading: PodReading | None = None
    failures: int = 0
    trouble: str = ""


@dataclass(frozen=True)
class _Snapshot:
    """What the revisions' pods had counted at one moment."""

    at: datetime
    totals: Mapping[str, Counters]

    def of(self, revision: str) -> Counters:
        return self.totals.get(revision, Counters())


@dataclass
class _State:
    """All that is kept of one resource."""

    uid: str
    step: tuple[str, str | None, datetime | None]
    pods: dict[str, _Pod] = field(default_factory=dict)
    totals: dict[str, Counters] = field(default_factory=dict)
    step_began: _Snapshot | None = None
    window_began: _Snapshot | None = None
    judged_at: datetime | None = None
    """status.analysedAt as it was when the window began."""
    pending: tuple[Measurement, _Snapshot] | None = None
    """What was given, and may not have been judged."""


class Measurer:
    """The readings of all resources that are being rolled out."""

    def __init__(self, pods: PodReader, prometheus: Prometheus) -> None:
        self._reader = pods
        self._prometheus = prometheus
        self._states: dict[Key, _State] = {}

    def forget(self, key: Key) -> None:
        """Drops what is kept of a resource, once its rollout has ended or it is gone."""
        self._states.pop(key, None)

    def due(self, resource: Resource) -> datetime | None:
        """When there will be something to judge; None before the first reading."""
        state = self._states.get(resource.key)
        if state is None or state.window_began is None:
            return None
        return state.window_began.at + interval_of(resource)

    async def measure(
        self,
        resource: Resource,
        pods: Mapping[str, Sequence[Body]],
        *,
        canary: str,
        stable: str | None,
        step_started_at: datetime | None,
        last_judged_at: datetime | None,
        now: datetime,
    ) -> Measurement | None:
        """What was counted since the last judgement, once that is `analysis.interval` ago; else
        None. `pods` are by revision, all of them.

        The same is given again until `last_judged_at` (status.analysedAt) says that it was judged:
        it becomes the measurement's `until`, or later.
        """
        step = (canary, stable, step_started_at)
        state = self._state(resource, step)
        if state.pending is not None:
            given, end = state.pending
            if last_judged_at is None or last_judged_at < given.until.replace(microsecond=0):
                return given
            state.window_began, state.judged_at, state.pending = end, last_judged_at, None
        start, step_start = state.window_began, state.step_began
        if start is None or step_start is None or state.judged_at != last_judged_at:
            # A step, or this process, begins; or another process has judged meanwhile.
            await self._read(state, resource, pods)
            state.window_began = _Snapshot(now, dict(state.totals))
            state.step_began = step_start or state.window_began
            state.judged_at = last_judged_at
            return None
        if now < start.at + interval_of(resource):
            return None
        unreadable, answers = await asyncio.gather(
            self._read(state, resource, pods), self._ask(resource, canary, stable)
        )
        end = _Snapshot(now, dict(state.totals))
        measurement = Measurement(
            since=start.at,
            until=now,
            revisions={
                revision: _measured(state, revision, start, step_start, unreadable.get(revision))
                for revision in _revisions(state)
            },
            queries=answers,
        )
        state.pending = (measurement, end)
        return measurement

    def _state(self, resource: Resource, step: tuple[str, str | None, datetime | None]) -> _State:
        """What is kept, with a window yet to begin where the step is a new one."""
        key, uid = resource.key, resource.uid
        state = self._states.get(key)
        if state is None or state.uid != uid:
            state = self._states[key] = _State(uid, step)
        if state.step != step:
            state.step, state.pending = step, None
            state.step_began = state.window_began = None
            wanted = _revisions(state)
            state.totals = {r: t for r, t in state.totals.items() if r in wanted}
        return state

    async def _read(
        self, state: _State, resource: Resource, pods: Mapping[str, Sequence[Body]]
    ) -> dict[str, str]:
        """Reads all pods at once, and adds what they have counted since they were read last.

        Returns why the ready pods of a revision are unreadable, by revision.
        """
        asked = [
            (revision, pod)
            for revision in _revisions(state)
            for pod in pods.get(revision, ())
            if _runs(pod)
        ]
        readings = await asyncio.gather(*(self._read_pod(resource, pod) for _, pod in asked))
        unreadable: dict[str, str] = {}
        known, state.pods = state.pods, {}
        for (revision, pod), reading in zip(asked, readings, strict=True):
            uid = pod["metadata"]["uid"]
            before = known.get(uid)
            kept = state.pods[uid] = before or _Pod(revision)
            if isinstance(reading, str):
                kept.failures, kept.trouble = kept.failures + 1, reading
                if kept.failures >= SILENT_AFTER and diagnosis.is_ready(pod):
                    unreadable.setdefault(revision, reading)
                continue
            gained = _gained(before, reading)
            state.totals[revision] = state.totals.get(revision, Counters()).plus(gained)
            kept.reading, kept.failures = reading, 0
        return unreadable

    async def _read_pod(self, resource: Resource, pod: Body) -> PodReading | str:
        """What the pod has counted, or why that is not known."""
        name = pod["metadata"]["name"]
        try:
            content = await self._reader.get(
                resource.key, name, _address(pod), _port(pod), METRICS_PATH, READ_SECONDS
            )
            return exposition.parse(content)
        except PodUnreachable as error:
            return str(error)
        except MetricsUnreadable as error:
            return f"pod {name}: {error}"

    async def _ask(
        self, resource: Resource, canary: str, stable: str | None
    ) -> dict[tuple[str, str], QueryResult]:
        """The queries' results, by metric and revision."""
        analysis = resource.spec.analysis if resource.spec else None
        asked = [
            (metric.name, revision, metric.prometheus.query)
            for metric in (analysis.metrics if analysis else ())
            if metric.prometheus
            for revision in (canary, stable if metric.max_ratio_to_stable else None)
            if revision
        ]
        answers = await asyncio.gather(
            *(self._ask_one(resource, revision, canary, query) for _, revision, query in asked)
        )
        return {
            (name, revision): answer
            for (name, revision, _), answer in zip(asked, answers, strict=True)
        }

    async def _ask_one(
        self, resource: Resource, revision: str, canary: str, query: str
    ) -> QueryResult:
        if revision != canary and api.REVISION_PLACEHOLDER not in query:
            return QueryResult(missing=f"the query does not say {api.REVISION_PLACEHOLDER}")
        values = {
            api.REVISION_PLACEHOLDER: revision,
            "$(name)": resource.name,
            "$(namespace)": resource.namespace,
            "$(interval)": f"{interval_of(resource).total_seconds():.0f}s",
        }
        for placeholder, value in values.items():
            query = query.replace(placeholder, value)
        return await self._prometheus.query(query)


def interval_of(resource: Resource) -> timedelta:
    """The least time between two measurements."""
    analysis = resource.spec.analysis if resource.spec else None
    return api.parse_duration(analysis.interval) if analysis else DEFAULT_INTERVAL


def _revisions(state: _State) -> list[str]:
    canary, stable, _ = state.step
    return [canary] if stable in (None, canary) else [canary, str(stable)]


def _gained(before: _Pod | None, reading: PodReading) -> Counters:
    """What a pod has counted since it was read last; all of it for one that is new since then.

    Of one that ran before and could not be read nobody knows when it counted: only what a shadow
    has compared is taken, since a shadow's pods are as new as the shadow.
    """
    if before is None:
        return reading.counters
    if before.reading is None:
        return reading.counters.agreement_only()
    last = before.reading
    restarted = reading.started_at != last.started_at
    if restarted or not reading.counters.may_follow(last.counters):
        return reading.counters
    return reading.counters.since(last.counters)


def _measured(
    state: _State, revision: str, start: _Snapshot, step_start: _Snapshot, unreadable: str | None
) -> RevisionMeasurement:
    totals = state.totals.get(revision, Counters())
    told = [
        pod.reading
        for pod in state.pods.values()
        if pod.revision == revision and pod.reading and not pod.failures
    ]
    overdue: Counter[float] = Counter()
    for reading in told:
        overdue.update(reading.overdue)
    return RevisionMeasurement(
        window=totals.since(start.of(revision)),
        step=totals.since(step_start.of(revision)),
        overdue=dict(overdue),
        pods=len(told),
        compared=Counters(agreed=totals.agreed, differed=totals.differed),
        unreadable=unreadable,
    )


def _runs(pod: Body) -> bool:
    status = pod.get("status", {})
    running = status.get("phase") == "Running" and bool(status.get("podIP"))
    return running and not diagnosis.is_terminating(pod)


def _address(pod: Body) -> str:
    address: str = pod["status"]["podIP"]
    return address


def _port(pod: Body) -> int:
    for container in pod.get("spec", {}).get("containers", ()):
        for port in container.get("ports", ()):
            if port.get("name") == "http":
                return int(port["containerPort"])
    return METRICS_PORT
