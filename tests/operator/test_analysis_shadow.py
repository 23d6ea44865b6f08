"""Judging a shadow by how far its predictions are those of the stable revision."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from model_operator import api, reasons
from model_operator.measurement import Counters
from model_operator.rollout.agreement import judge_shadow
from model_operator.rollout.analysis import Judgement
from model_operator.rollout.view import Findings
from tests.operator.measured import CANARY, make_measurement, make_revision

SETTINGS = api.Shadow(min_agreement=0.9, min_samples=100)


def judged(agreed: dict[str, int], differed: dict[str, int]) -> Judgement:
    compared = Counters(agreed=agreed, differed=differed)
    measurement = make_measurement(make_revision(compared=compared))
    return judge_shadow(SETTINGS, measurement, None, CANARY)


@pytest.mark.parametrize(
    ("agreed", "differed", "verdict"),
    [
        ({"cat": 99}, {}, "NoData"),
        ({"cat": 0}, {"cat": 99}, "NoData"),
        ({"cat": 50, "dog": 40}, {"cat": 10, "dog": 0}, "Pass"),
        ({"cat": 50, "dog": 39}, {"cat": 10, "dog": 1}, "Fail"),
        ({}, {}, "NoData"),
    ],
)
def test_the_share_over_all_classes_is_judged_once_enough_was_compared(agreed, differed, verdict):
    judgement = judged(agreed, differed)
    assert judgement.metrics[0].verdict == verdict
    assert (judgement.findings == Findings()) is (verdict == "Pass")
    assert (judgement.failure is not None) is (verdict == "Fail")


def test_the_sentence_of_a_failure_names_the_class_that_disagrees_most():
    failure = judged({"cat": 60, "dog": 20}, {"cat": 4, "dog": 16}).failure
    assert failure is not None
    assert failure.reason == reasons.ANALYSIS_FAILED
    assert failure.message == (
        f"shadow {CANARY} agrees with the stable revision in 80 of 100 predictions (0.8000), less "
        "than minAgreement 0.9; most of the differences are in class dog: 20 of 36 agree"
    )


def test_a_shadow_waits_with_how_much_was_compared():
    assert judged({"cat": 7}, {}).holds == "7 of minSamples 100 predictions compared"


def test_between_two_measurements_what_is_recorded_stands():
    passed, waiting = judged({"cat": 100}, {}), judged({"cat": 1}, {})
    assert judge_shadow(SETTINGS, None, passed.metrics[0], CANARY).findings == Findings()
    assert judge_shadow(SETTINGS, None, waiting.metrics[0], CANARY).holds == waiting.holds
    assert judge_shadow(SETTINGS, None, None, CANARY).holds


def test_a_shadow_that_cannot_be_read_says_why_it_waits():
    measurement = make_measurement(make_revision(unreadable="pod s-0 did not answer"))
    assert "pod s-0 did not answer" in judge_shadow(SETTINGS, measurement, None, CANARY).holds


COUNTS = st.dictionaries(st.sampled_from("abc"), st.integers(0, 200))


@given(COUNTS, COUNTS)
def test_it_passes_only_with_enough_samples_and_enough_agreement(agreed, differed):
    judgement = judged(agreed, differed)
    same, other = sum(agreed.values()), sum(differed.values())
    agrees = same + other >= 100 and same / (same + other) >= 0.9
    assert (judgement.findings == Findings()) == agrees
    json.dumps(judgement.metrics[0].model_dump(mode="json"), allow_nan=False)
