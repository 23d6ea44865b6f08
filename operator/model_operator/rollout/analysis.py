"""Judges what was measured of a revision that is being introduced. Pure and total.

`decide` asks once per pass. Nothing passes by silence: what was not measured is NoData, and what
that means is the user's choice (`onNoData`). docs/analysis.md has the rules in full.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from model_operator import api, reasons
from model_operator.measurement import Measurement
from model_operator.rollout import metrics
from model_operator.rollout.metrics import Value
from model_operator.rollout.view import Findings, Trouble


@dataclass(frozen=True)
class Judgement:
    """What an analysis, or the comparison with a shadow, says now."""

    metrics: tuple[api.MetricStatus, ...]
    """For status.analysis: everything that was judged, what is judged unasked included."""
    failure: Trouble | None = None
    """Why the revision has failed for good."""
    holds: str = ""
    """Why no step may be taken; empty when one may."""

    @property
    def findings(self) -> Findings:
        """What a strategy sees of it."""
        return Findings(self.failure, self.holds)


def judge(
    settings: api.Analysis,
    measurement: Measurement | None,
    recorded: Sequence[api.MetricStatus],
    canary: str,
    stable: str | None,
) -> Judgement:
    """Judges every metric by what was measured; without a measurement what is recorded stands.

    `recorded` is status.analysis of this rollout to `canary`, empty when it has just begun.
    """
    if measurement is None:
        return Judgement(tuple(recorded), holds=_why_it_holds(settings, recorded))
    source = metrics.Source(settings, measurement, canary, stable)
    before = {metric.name: metric.failures for metric in recorded}
    judged = tuple(
        _judge_metric(settings, metric, source, before.get(metric.name, 0))
        for metric in metrics.judged(settings)
    )
    failure = next(
        (
            Trouble(reasons.ANALYSIS_FAILED, _failure_words(settings, found, canary), True)
            for found in judged
            if found.verdict == "Fail" and found.failures > settings.failure_limit
        ),
        None,
    )
    return Judgement(judged, failure, "" if failure else _why_it_holds(settings, judged))


def _judge_metric(
    settings: api.Analysis, metric: api.Metric, source: metrics.Source, failures: int
) -> api.MetricStatus:
    value = source.value_of(metric)
    verdict, words = _verdict(metric, value)
    if verdict == "NoData" and settings.on_no_data == "Fail" and source.is_asked_for(metric):
        verdict, words = "Fail", f"{words} (onNoData: Fail)"
    # NoData neither counts nor forgives: what is in a row are the judgements.
    counted = {"Pass": 0, "Fail": max(0, failures) + 1, "NoData": max(0, failures)}
    return api.MetricStatus(
        name=metric.name,
        value=_finite(value.number),
        baseline=_finite(value.baseline),
        samples=value.samples,
        failures=counted[verdict],
        verdict=verdict,
        message=words or None,
    )


def _verdict(metric: api.Metric, value: Value) -> tuple[api.Verdict, str]:
    """What a value is judged to be, and why where that is not a pass."""
    if value.broken:
        return "Fail", value.broken
    if value.number is None or math.isnan(value.number):
        return "NoData", f"{metric.name} has no data: {value.missing or 'it is no number'}"
    limits = list(_limits(metric, value))
    broken = [words for words, holds in limits if not holds]
    if broken:
        return "Fail", _fail_words(metric, value, broken[0])
    if metric.max_ratio_to_stable is not None and value.highest_by_ratio(metric) is None:
        why = value.no_baseline or "the stable revision's value is no finite number"
        return "NoData", f"{metric.name} has nothing to be compared with: {why}"
    return "Pass", ""


def _limits(metric: api.Metric, value: Value) -> Sequence[tuple[str, bool]]:
    """Each limit in words, and whether it holds; one without a baseline is left out."""
    number = value.number if value.number is not None else math.nan
    found = []
    if metric.max is not None:
        found.append((f"max {metric.max:g}", number <= metric.max))
    if metric.min is not None:
        found.append((f"min {metric.min:g}", number >= metric.min))
    highest = value.highest_by_ratio(metric)
    if highest is not None:
        words = f"maxRatioToStable {metric.max_ratio_to_stable:g}: {highest:.6g}"
        found.append((words, number <= highest))
    return found


def _fail_words(metric: api.Metric, value: Value, limit: str) -> str:
    is_so = f"{value.number:.6g}" if _finite(value.number) is not None else value.not_finite
    baseline = _finite(value.baseline)
    stable = f"; stable has {baseline:.6g}" if baseline is not None else ""
    samples = f", over {value.samples} requests" if value.samples else ""
    detail = f" ({value.detail})" if value.detail else ""
    return f"{metric.name} is {is_so}{detail}, its limit is {limit}{stable}{samples}"


def _failure_words(settings: api.Analysis, found: api.MetricStatus, canary: str) -> str:
    times = f"{found.failures} times in a row" if found.failures > 1 else "at once"
    return (
        f"the analysis of revision {canary} failed {times} (failureLimit "
        f"{settings.failure_limit}): {found.message}"
    )


def _why_it_holds(settings: api.Analysis, judged: Sequence[api.MetricStatus]) -> str:
    """Why a step waits for the analysis: nothing was judged yet, has data, or passed."""
    known = {metric.name: metric for metric in judged}
    asked_for = {metric.name for metric in settings.metrics}
    if missing := sorted(asked_for - known.keys()):
        return f"waiting until {', '.join(missing)} is judged, every {settings.interval}"
    for found in judged:
        if found.verdict == "Fail":
            forgiven = f"failure {found.failures}, failureLimit {settings.failure_limit}"
            return f"waiting for the analysis: {found.message} ({forgiven})"
    if settings.on_no_data != "Pass":
        for found in judged:
            if found.verdict == "NoData" and found.name in asked_for:
                return f"waiting for the analysis: {found.message}"
    return ""


def _finite(number: float | None) -> float | None:
    """What JSON can hold of a number."""
    return round(number, 6) if number is not None and math.isfinite(number) else None
