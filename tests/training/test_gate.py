from __future__ import annotations

import pytest

from model_training.gate import compare, interval, mcnemar
from model_training.predictions import Prediction, Predictions


def predictions(right: str, *, start: int = 0) -> Predictions:
    """One image per character: `1` right, `0` wrong."""
    return {
        f"{number:064x}": Prediction("cat", "cat" if character == "1" else "dog", 0.9)
        for number, character in enumerate(right, start)
    }


@pytest.mark.parametrize(
    ("new", "champion", "worse"),
    [
        ("1" * 100, "1" * 100, False),
        ("1" * 100, "1" * 60 + "0" * 40, False),
        ("1" * 60 + "0" * 40, "1" * 100, True),
        ("1" * 99 + "0", "1" * 100, False),  # one point less, which can be an accident
        ("1" * 98 + "00", "1" * 100, True),  # more than a point
        ("1" * 4965 + "0" * 35, "1" * 5000, True),  # less than a point, and no accident
        ("0" * 20 + "1" * 980, "1" * 980 + "0" * 20, False),  # other errors, as many
    ],
)
def test_a_model_that_is_worse_than_chance_or_tolerance_explain_is_refused(
    new: str, champion: str, worse: bool
):
    comparison = compare(predictions(new), predictions(champion))
    assert comparison
    assert comparison.worse() is worse


def test_a_tolerance_of_ones_own_is_kept():
    comparison = compare(predictions("1" * 95 + "0" * 5), predictions("1" * 100))
    assert comparison
    assert comparison.worse(0.01)
    assert not comparison.worse(0.05)


def test_only_images_that_both_have_judged_are_compared():
    comparison = compare(predictions("0" * 50 + "1" * 50), predictions("1" * 80, start=50))
    assert comparison
    assert (comparison.images, comparison.accuracy, comparison.champion) == (50, 1.0, 1.0)


def test_too_few_common_images_are_no_comparison():
    assert compare(predictions("1" * 40), predictions("1" * 40, start=21)) is None


@pytest.mark.parametrize(
    ("one", "other", "p_value"), [(0, 0, 1.0), (5, 5, 1.0), (0, 8, 2 / 256), (2, 10, 0.038574)]
)
def test_mcnemars_exact_test(one: int, other: int, p_value: float):
    assert mcnemar(one, other) == mcnemar(other, one) == pytest.approx(p_value, abs=1e-6)


def test_the_interval_is_around_the_difference_and_narrows_with_images():
    low, high = interval(30, 10, 400)
    assert low < 20 / 400 < high
    wider = interval(3, 1, 40)
    assert wider[1] - wider[0] > high - low
    assert interval(10, 30, 400) == pytest.approx((-high, -low))


def test_the_sentence_has_every_figure():
    comparison = compare(predictions("1" * 90 + "0" * 10), predictions("1" * 100))
    assert comparison
    sentence = comparison.sentence()
    for figure in ("90.00%", "100.00%", "100 test images", "-10.00%", "95% interval", "p 0.00"):
        assert figure in sentence
