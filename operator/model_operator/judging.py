"""What the analysis says of the revision that is introduced. Pure; asked by `decide`.

The judging itself is in `rollout.analysis` and `rollout.agreement`; here it is joined with what
was recorded and with the step that is under way.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from model_operator import api
from model_operator.observed import Observed
from model_operator.rollout import agreement, analysis, comparison
from model_operator.rollout.view import Findings
from model_operator.timestamps import format_time, parse_time


@dataclass(frozen=True)
class Verdicts:
    """For the strategy and for status."""

    analysis: Findings = field(default_factory=Findings)
    shadow: Findings = field(default_factory=Findings)
    metrics: tuple[api.MetricStatus, ...] = ()
    analysed_at: str | None = None


def judge(observed: Observed, target: str | None, *, retried: bool) -> Verdicts:
    """Judges what was measured, if anything was; otherwise what is recorded stands. A rollout that
    is not measured yet is held where spec has something to measure; one that is tried again has
    no failures yet.
    """
    spec, recorded = observed.resource.spec, observed.resource.status
    if spec is None or target is None:
        return Verdicts(metrics=tuple(recorded.analysis or ()), analysed_at=recorded.analysed_at)
    compared = comparison.compared(spec, recorded)
    same = compared is not None and compared.canary == target
    measurement = observed.measurement if same else None
    before = () if retried else _recorded_of(recorded, target)
    found, metrics = Findings(), list[api.MetricStatus]()
    if spec.analysis is not None:
        switched = compared is not None and _serves(recorded, compared.canary)
        judged = analysis.judge(
            _without_ratios(spec.analysis) if switched else spec.analysis,
            measurement,
            [metric for metric in before if metric.name != agreement.METRIC],
            target,
            compared.stable if compared else None,
        )
        found, metrics = judged.findings, list(judged.metrics)
        unjudged = measurement is None and not _in_this_step(recorded)
        has_none = compared is None and spec.strategy.type == "Canary"
        if has_none:
            found = Findings()
        elif found.failure is None and unjudged:
            found = Findings(holds=f"waiting for the analysis, every {spec.analysis.interval}")
    agrees = Findings()
    if spec.strategy.type == "Shadow":
        last = next((metric for metric in before if metric.name == agreement.METRIC), None)
        settings = spec.strategy.shadow or api.Shadow()
        shadowed = agreement.judge_shadow(settings, measurement, last, target)
        agrees = shadowed.findings
        metrics += shadowed.metrics if same or last else ()
    return Verdicts(
        analysis=found,
        shadow=agrees,
        metrics=tuple(metrics),
        analysed_at=format_time(measurement.until) if measurement else recorded.analysed_at,
    )


def _recorded_of(recorded: api.ModelDeploymentStatus, target: str) -> tuple[api.MetricStatus, ...]:
    """What was found of the target in this rollout before."""
    under_way = recorded.canary is not None and recorded.canary.revision == target
    kept = recorded.retiring is not None and _serves(recorded, target)
    known = recorded.current_step_index is not None and (under_way or kept)
    failed = target in (recorded.failed_revision, recorded.failed_rollback)
    return tuple(recorded.analysis or ()) if known or failed else ()


def _serves(recorded: api.ModelDeploymentStatus, revision: str) -> bool:
    return recorded.stable is not None and recorded.stable.revision == revision


def _without_ratios(settings: api.Analysis) -> api.Analysis:
    """What is judged after a switch. The revision before hears no client any more: that there is
    nothing to compare with is no fault of the new one's.
    """
    metrics = [
        metric.model_copy(update={"max_ratio_to_stable": None})
        for metric in settings.metrics
        if metric.max is not None or metric.min is not None
    ]
    return settings.model_copy(update={"metrics": metrics})


def _in_this_step(recorded: api.ModelDeploymentStatus) -> bool:
    """Whether something was judged since the step began."""
    judged, began = parse_time(recorded.analysed_at), parse_time(recorded.step_started_at)
    return judged is not None and began is not None and judged > began
