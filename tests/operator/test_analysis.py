"""Judging a canary: by tables for each kind of metric, and by properties for all of them."""

from __future__ import annotations

import json
import math

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from model_operator import api, reasons
from model_operator.measurement import Counters, Measurement, QueryResult
from model_operator.rollout.analysis import Judgement, judge
from model_operator.rollout.view import Findings
from tests.operator.measured import (
    CANARY,
    STABLE,
    make_analysis,
    make_counters,
    make_measurement,
    make_revision,
)

ERRORS = {"name": "error-rate", "max": 0.01}
LATENCY = {"name": "latency-p95-ms", "max": 300}
QUERY = {"name": "custom", "prometheus": {"query": "up"}}


def judged(
    settings: api.Analysis,
    measurement: Measurement | None,
    recorded: tuple[api.MetricStatus, ...] = (),
) -> Judgement:
    return judge(settings, measurement, recorded, CANARY, STABLE)


def metric(judgement: Judgement, name: str = "error-rate") -> api.MetricStatus:
    (found,) = [one for one in judgement.metrics if one.name == name]
    return found


def again(settings: api.Analysis, *measurements: Measurement | None) -> list[Judgement]:
    """One judgement after the other, each with what the one before recorded."""
    judgements: list[Judgement] = []
    for measurement in measurements:
        recorded = judgements[-1].metrics if judgements else ()
        judgements.append(judged(settings, measurement, recorded))
    return judgements


GOOD = make_measurement()
BAD = make_measurement(make_revision(make_counters(100, errors=50)))
SILENT = make_measurement(make_revision(make_counters(0)))


# --- the verdict ---------------------------------------------------------------------------------


def test_within_its_limits_a_canary_passes_and_may_go_on():
    judgement = judged(make_analysis(ERRORS, LATENCY), GOOD)
    assert [one.verdict for one in judgement.metrics] == ["Pass", "Pass", "Pass"]
    assert judgement.findings == Findings()
    assert judgement.failure is None


def test_the_failure_after_the_forgiven_ones_fails_the_revision_for_good():
    first, second, third = again(make_analysis(ERRORS, failureLimit=2), BAD, BAD, BAD)
    assert [metric(one).failures for one in (first, second, third)] == [1, 2, 3]
    assert first.failure is second.failure is None
    assert third.failure is not None
    assert third.failure.permanent
    assert third.failure.reason == reasons.ANALYSIS_FAILED


def test_no_step_is_taken_after_a_failure_although_it_is_forgiven():
    judgement = judged(make_analysis(ERRORS), BAD)
    assert judgement.findings != Findings()
    assert "failure 1, failureLimit 2" in judgement.holds


def test_with_a_failure_limit_of_0_the_first_failure_is_the_last():
    assert judged(make_analysis(ERRORS, failureLimit=0), BAD).failure is not None


def test_a_pass_forgets_the_failures_before_it():
    judgements = again(make_analysis(ERRORS, failureLimit=1), BAD, GOOD, BAD, GOOD)
    assert [metric(one).failures for one in judgements] == [1, 0, 1, 0]
    assert all(one.failure is None for one in judgements)


def test_what_has_no_data_neither_counts_nor_forgives():
    judgements = again(make_analysis(ERRORS, failureLimit=1), BAD, SILENT, BAD)
    assert [metric(one).failures for one in judgements] == [1, 1, 2]
    assert judgements[-1].failure is not None


def test_the_sentence_of_a_failure_says_metric_value_limit_baseline_samples_and_how_often():
    settings = make_analysis(ERRORS, failureLimit=0)
    failure = judged(settings, BAD).failure
    assert failure is not None
    assert failure.message == (
        f"the analysis of revision {CANARY} failed at once (failureLimit 0): error-rate is 0.5 "
        "(50 of 100), its limit is max 0.01; stable has 0, over 100 requests"
    )


def test_between_two_measurements_what_is_recorded_stands():
    settings = make_analysis(ERRORS)
    passed, waiting = again(settings, GOOD, None)
    assert waiting.metrics == passed.metrics
    assert waiting.findings == Findings()
    forgiven = again(settings, BAD, None)[-1]
    assert forgiven.failure is None
    assert forgiven.holds


def test_before_the_first_judgement_no_step_is_taken():
    judgement = judged(make_analysis(ERRORS, interval="5m"), None)
    assert judgement.holds == "waiting until error-rate is judged, every 5m"


# --- too few requests ----------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("choice", "verdict", "failures", "passes"),
    [("Pause", "NoData", 0, False), ("Pass", "NoData", 0, True), ("Fail", "Fail", 1, False)],
)
def test_too_few_requests_are_what_the_spec_says(choice, verdict, failures, passes):
    settings = make_analysis(ERRORS, onNoData=choice, minRequests=101)
    judgement = judged(settings, GOOD)
    assert (metric(judgement).verdict, metric(judgement).failures) == (verdict, failures)
    assert (judgement.findings == Findings()) is passes
    assert "100 of minRequests 101 requests" in (metric(judgement).message or "")


def test_a_canary_without_any_request_fails_in_time_where_no_data_is_a_failure():
    settings = make_analysis(ERRORS, onNoData="Fail", failureLimit=1)
    assert again(settings, SILENT, SILENT)[-1].failure is not None


def test_the_requests_are_those_since_the_step_began():
    canary = make_revision(make_counters(5), make_counters(60))
    judgement = judged(make_analysis(ERRORS, minRequests=50), make_measurement(canary))
    assert metric(judgement).verdict == "Pass"
    assert metric(judgement).samples == 5


def test_the_first_judgement_with_enough_requests_looks_at_all_since_the_step_began():
    canary = make_revision(make_counters(5), make_counters(53, errors=20))
    judgement = judged(make_analysis(ERRORS, minRequests=50), make_measurement(canary))
    assert metric(judgement).samples == 53
    assert metric(judgement).verdict == "Fail"


def test_a_window_without_any_request_says_nothing_although_there_were_enough_before():
    canary = make_revision(make_counters(0), make_counters(500))
    judgement = judged(make_analysis(ERRORS, LATENCY), make_measurement(canary))
    assert {one.verdict for one in judgement.metrics} == {"NoData"}
    assert judgement.findings != Findings()


# --- errors --------------------------------------------------------------------------------------


def test_requests_that_wait_for_longer_than_half_the_interval_are_errors():
    canary = make_revision(make_counters(0), overdue={2.0: 70, 3.0: 60, 5.0: 0})
    settings = make_analysis(ERRORS, interval="5s", minRequests=50, failureLimit=0)
    judgement = judged(settings, make_measurement(canary))
    assert metric(judgement).value == 1.0
    assert metric(judgement).samples == 60
    assert "60 of them waiting for more than 2.5 s" in str(judgement.failure)


@pytest.mark.parametrize(
    ("canary_errors", "stable_errors", "verdict"),
    [(2, 2, "Pass"), (3, 2, "Pass"), (4, 2, "Fail"), (0, 0, "Pass"), (1, 0, "Fail")],
)
def test_the_baseline_is_multiplied_and_a_multiple_of_0_is_0(canary_errors, stable_errors, verdict):
    measurement = make_measurement(
        make_revision(make_counters(100, errors=canary_errors)),
        make_revision(make_counters(100, errors=stable_errors)),
    )
    settings = make_analysis({"name": "error-rate", "maxRatioToStable": 1.5})
    assert metric(judged(settings, measurement)).verdict == verdict


def test_without_a_baseline_a_ratio_has_no_data_and_other_limits_hold_all_the_same():
    nothing = make_revision(make_counters(0))
    both = make_analysis({**ERRORS, "maxRatioToStable": 2})
    fine = metric(judged(both, make_measurement(stable=nothing)))
    assert fine.verdict == "NoData"
    assert fine.message == (
        "error-rate has nothing to be compared with: the stable revision has answered 0 requests "
        "since the step began"
    )
    bad = make_revision(make_counters(100, errors=50))
    assert metric(judged(both, make_measurement(bad, nothing))).verdict == "Fail"


# --- latency -------------------------------------------------------------------------------------


def spread(**durations: int) -> Counters:
    """By edges in milliseconds, cumulative: `spread(ms100=90, ms300=100)`."""
    found = {int(edge.removeprefix("ms")) / 1000: count for edge, count in durations.items()}
    total = max(found.values())
    return Counters(
        requests=total, durations={**found, math.inf: total}, predictions={"cat": total}
    )


@pytest.mark.parametrize(
    ("counters", "verdict", "value"),
    [
        (spread(ms100=90, ms300=95, ms1000=100), "Pass", 300.0),
        (spread(ms100=90, ms300=94, ms1000=100), "Fail", 416.666667),
        (spread(ms300=100), "Pass", 285.0),
    ],
)
def test_a_latency_limit_on_an_edge_is_judged_by_the_share_of_requests_below_it(
    counters, verdict, value
):
    found = metric(
        judged(make_analysis(LATENCY), make_measurement(make_revision(counters))), LATENCY["name"]
    )
    assert (found.verdict, found.value) == (verdict, value)


@pytest.mark.parametrize(("percent", "value"), [(50, 50.0), (90, 90.0), (95, 95.0), (99, 99.0)])
def test_each_percentile_is_interpolated_within_its_bucket(percent, value):
    counters = spread(ms100=100)
    settings = make_analysis({"name": f"latency-p{percent}-ms", "max": value})
    found = metric(
        judged(settings, make_measurement(make_revision(counters))), f"latency-p{percent}-ms"
    )
    assert (found.verdict, found.value) == ("Pass", value)


def test_slower_than_the_last_edge_fails_whatever_the_limit_and_has_no_value_in_status():
    slow = make_revision(make_counters(100, seconds=99))
    settings = make_analysis({"name": "latency-p50-ms", "max": 1e9}, failureLimit=0)
    judgement = judged(settings, make_measurement(slow))
    assert metric(judgement, "latency-p50-ms").value is None
    assert "latency-p50-ms is more than 1 s, its limit is max 1e+09" in str(judgement.failure)


def test_requests_that_wait_for_longer_than_the_limit_already_are_slower_than_it():
    hangs = make_revision(make_counters(0), overdue={1.0: 80, 2.0: 60, 10.0: 0})
    settings = make_analysis(LATENCY, interval="2s", minRequests=50, failureLimit=0)
    judgement = judged(settings, make_measurement(hangs))
    assert "latency-p95-ms is more than its limit" in str(judgement.failure)


def test_a_latency_is_compared_with_that_of_stable():
    settings = make_analysis({"name": "latency-p95-ms", "maxRatioToStable": 1.5})
    slower = make_measurement(make_revision(make_counters(seconds=0.4)))
    found = metric(judged(settings, slower), "latency-p95-ms")
    assert (found.verdict, found.baseline) == ("Fail", 95.0)
    assert metric(judged(settings, GOOD), "latency-p95-ms").verdict == "Pass"


# --- classes -------------------------------------------------------------------------------------


def test_classes_that_stable_does_not_know_fail_a_canary_although_nobody_asked():
    wrong = make_revision(make_counters(predictions={"0": 60, "1": 40}))
    judgement = judged(make_analysis(ERRORS, failureLimit=0), make_measurement(wrong))
    assert metric(judgement, "class-mismatch").value == 1.0
    assert "the stable revision does not know 0, 1" in str(judgement.failure)


def test_a_class_that_the_canary_has_lost_counts_by_what_stable_predicts_of_it():
    only_cats = make_revision(make_counters(predictions={"cat": 100}))
    judgement = judged(make_analysis(ERRORS, failureLimit=0), make_measurement(only_cats))
    assert metric(judgement, "class-mismatch").value == 0.5
    assert "the new revision does not know dog" in str(judgement.failure)


def test_a_new_class_that_is_meant_passes_by_a_limit_of_ones_own():
    more = make_revision(make_counters(predictions={"cat": 50, "dog": 40, "fox": 10}))
    allowed = make_analysis(ERRORS, {"name": "class-mismatch", "max": 0.2})
    assert judged(allowed, make_measurement(more)).findings == Findings()
    assert judged(make_analysis(ERRORS), make_measurement(more)).findings != Findings()


def test_what_nobody_asked_for_holds_up_nothing_while_it_has_no_data():
    settings = make_analysis({**QUERY, "max": 1}, onNoData="Fail")
    measurement = make_measurement(
        make_revision(make_counters(0)), queries={("custom", CANARY): QueryResult(1)}
    )
    judgement = judged(settings, measurement)
    assert metric(judgement, "class-mismatch").verdict == "NoData"
    assert judgement.findings == Findings()


# --- pods that do not tell -----------------------------------------------------------------------


def test_a_canary_whose_metrics_cannot_be_read_fails_when_those_of_stable_can():
    silent = make_revision(Counters(), unreadable="pod c-0 did not answer within 1.5 s")
    judgement = judged(make_analysis(ERRORS, failureLimit=0), make_measurement(silent))
    assert "error-rate cannot be measured: pod c-0 did not answer" in str(judgement.failure)


def test_where_no_pod_can_be_read_it_may_be_the_operator_and_nothing_fails():
    silent = make_revision(Counters(), unreadable="pod x did not answer within 1.5 s")
    judgement = judged(make_analysis(ERRORS, failureLimit=0), make_measurement(silent, silent))
    assert judgement.failure is None
    assert metric(judgement).verdict == "NoData"
    assert "pod x did not answer" in judgement.holds


def test_a_canary_is_not_blamed_for_a_silence_that_has_reached_stable_too():
    silent = make_revision(Counters(), unreadable="pod c-0 did not answer within 1.5 s")
    judgement = judged(make_analysis(ERRORS), make_measurement(silent, make_revision(pods=0)))
    assert metric(judgement).verdict == "NoData"


# --- queries -------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("limits", "value", "verdict"),
    [
        ({"min": 0.9}, 0.9, "Pass"),
        ({"min": 0.9}, 0.89, "Fail"),
        ({"max": 1}, math.inf, "Fail"),
        ({"min": 1}, -math.inf, "Fail"),
        ({"min": 1}, math.inf, "Pass"),
        ({"max": 1}, math.nan, "NoData"),
        ({"max": 1}, None, "NoData"),
    ],
)
def test_a_query_is_judged_by_its_value(limits, value, verdict):
    result = QueryResult(value, missing="" if value is not None else "no series")
    measurement = make_measurement(queries={("custom", CANARY): result})
    found = metric(judged(make_analysis({**QUERY, **limits}), measurement), "custom")
    assert found.verdict == verdict


@pytest.mark.parametrize(
    ("baseline", "verdict"),
    [
        (QueryResult(1.0), "Pass"),
        (QueryResult(0.5), "Fail"),
        (QueryResult(math.inf), "NoData"),
        (QueryResult(missing="the query found no series"), "NoData"),
    ],
)
def test_a_query_is_compared_with_the_same_about_stable(baseline, verdict):
    measurement = make_measurement(
        queries={("custom", CANARY): QueryResult(1.5), ("custom", STABLE): baseline}
    )
    settings = make_analysis({**QUERY, "maxRatioToStable": 2})
    assert metric(judged(settings, measurement), "custom").verdict == verdict


# --- properties ----------------------------------------------------------------------------------

COUNTS = st.integers(0, 1000)
NUMBERS = st.one_of(st.none(), st.floats(allow_nan=True, allow_infinity=True))


@st.composite
def counters(draw: st.DrawFn) -> Counters:
    requests = draw(COUNTS)
    rising = sorted(draw(st.lists(st.integers(0, requests), min_size=2, max_size=2)))
    return Counters(
        requests=requests,
        errors=draw(st.integers(0, requests)),
        durations={0.1: rising[0], 0.3: rising[1], math.inf: requests},
        predictions=draw(st.dictionaries(st.sampled_from("abc"), COUNTS)),
    )


@st.composite
def measurements(draw: st.DrawFn) -> Measurement:
    def revision():
        window = draw(counters())
        return make_revision(
            window,
            window.plus(draw(counters())),
            overdue=draw(st.dictionaries(st.sampled_from((1.0, 5.0)), COUNTS)),
            unreadable=draw(st.sampled_from((None, "pod x does not answer"))),
        )

    queries = {
        ("custom", name): QueryResult(draw(NUMBERS), "why not")
        for name in draw(st.sets(st.sampled_from((CANARY, STABLE))))
    }
    return make_measurement(revision(), revision(), queries)


@st.composite
def analyses(draw: st.DrawFn) -> api.Analysis:
    def limits():
        names = draw(st.sets(st.sampled_from(("max", "min", "maxRatioToStable")), min_size=1))
        return {name: draw(st.floats(1, 1000)) for name in names}

    metrics = [{"name": name, **limits()} for name in ("error-rate", "latency-p95-ms")]
    return make_analysis(
        *metrics,
        {**QUERY, **limits()},
        failureLimit=draw(st.integers(0, 3)),
        minRequests=draw(st.integers(1, 500)),
        onNoData=draw(st.sampled_from(("Pause", "Pass", "Fail"))),
    )


@settings(max_examples=50)
@given(analyses(), st.lists(st.one_of(st.none(), measurements()), max_size=6))
def test_whatever_is_measured_a_verdict_is_sound_and_fits_into_status(settings, measured):
    recorded: tuple[api.MetricStatus, ...] = ()
    for measurement in measured:
        judgement = judged(settings, measurement, recorded)
        before = {one.name: one.failures for one in recorded}
        for one in judgement.metrics:
            json.dumps(one.model_dump(mode="json"), allow_nan=False)
            assert one.samples >= 0
            assert one.verdict == "Pass" or one.message
            if measurement is not None:
                expected = {"Pass": {0}, "Fail": {before.get(one.name, 0) + 1}}
                assert one.failures in expected.get(one.verdict, {before.get(one.name, 0)})
        past = [one for one in judgement.metrics if one.failures > settings.failure_limit]
        if measurement is not None:
            assert (judgement.failure is not None) == any(one.verdict == "Fail" for one in past)
        recorded = judgement.metrics


@settings(max_examples=50)
@given(analyses(), st.one_of(st.none(), measurements()))
def test_nothing_passes_by_silence(settings, measurement):
    judgement = judged(settings, measurement)
    if settings.on_no_data != "Pass" and judgement.findings == Findings():
        assert measurement is not None
        asked = {one.name for one in settings.metrics}
        assert asked <= {one.name for one in judgement.metrics if one.verdict == "Pass"}
        canary = measurement.of(CANARY)
        late = max(canary.overdue.values(), default=0)
        assert canary.step.requests + late >= settings.min_requests
        assert canary.unreadable is None


@settings(max_examples=50)
@given(measurements())
def test_a_revision_that_was_not_measured_has_no_data_whatever_else_was(measurement):
    judgement = judge(make_analysis(ERRORS, LATENCY), measurement, (), "another000", STABLE)
    assert {one.verdict for one in judgement.metrics} == {"NoData"}
