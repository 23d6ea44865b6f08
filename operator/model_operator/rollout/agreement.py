"""Judges how far a shadow's predictions are those of the stable revision. Pure and total.

`decide` asks with what the shadow's pods have counted in all: their counters are as old as they
are, so the judgement survives the operator.
"""

from __future__ import annotations

from model_operator import api, reasons
from model_operator.measurement import Measurement
from model_operator.rollout.analysis import Judgement
from model_operator.rollout.view import Trouble

METRIC = api.SHADOW_AGREEMENT
"""The name of the line in status.analysis."""


def judge_shadow(
    settings: api.Shadow,
    measurement: Measurement | None,
    recorded: api.MetricStatus | None,
    shadow: str,
) -> Judgement:
    """Judges the agreement in all; without a measurement what is recorded stands."""
    if measurement is None:
        return _as_recorded(settings, recorded)
    measured = measurement.of(shadow)
    agreed = sum(measured.compared.agreed.values())
    samples = agreed + sum(measured.compared.differed.values())
    share = agreed / samples if samples else None
    if share is None or samples < settings.min_samples:
        why = f"; {measured.unreadable}" if measured.unreadable else ""
        holds = f"{samples} of minSamples {settings.min_samples} predictions compared{why}"
        return Judgement((_status(share, samples, "NoData", holds),), holds=holds)
    if share >= settings.min_agreement:
        return Judgement((_status(share, samples, "Pass"),))
    words = (
        f"shadow {shadow} agrees with the stable revision in {agreed} of {samples} predictions "
        f"({share:.4f}), less than minAgreement {settings.min_agreement:g}"
        f"{_worst_class(measurement, shadow)}"
    )
    failure = Trouble(reasons.ANALYSIS_FAILED, words, permanent=True)
    return Judgement((_status(share, samples, "Fail", words),), failure)


def _as_recorded(settings: api.Shadow, recorded: api.MetricStatus | None) -> Judgement:
    nothing = f"0 of minSamples {settings.min_samples} predictions compared"
    metric = recorded or _status(None, 0, "NoData", nothing)
    holds = "" if metric.verdict == "Pass" else metric.message or nothing
    return Judgement((metric,), holds=holds)


def _worst_class(measurement: Measurement, shadow: str) -> str:
    """The class in which most of the different predictions are."""
    compared = measurement.of(shadow).compared
    worst = max(compared.differed, key=lambda name: (compared.differed[name], name), default=None)
    if worst is None:
        return ""
    agreed = compared.agreed.get(worst, 0)
    total = agreed + compared.differed[worst]
    return f"; most of the differences are in class {worst[:40]}: {agreed} of {total} agree"


def _status(
    share: float | None, samples: int, verdict: api.Verdict, message: str = ""
) -> api.MetricStatus:
    return api.MetricStatus(
        name=METRIC,
        value=None if share is None else round(share, 6),
        samples=samples,
        failures=int(verdict == "Fail"),
        verdict=verdict,
        message=message or None,
    )
