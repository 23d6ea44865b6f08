from __future__ import annotations

import json
import random

import pytest
import torch

from model_training.evaluate import Evaluation
from model_training.figures import per_class, roc, summary

CLASSES = ("cat", "dog")


def judged(scores: list[float], labels: list[int]) -> Evaluation:
    """Two classes; the score is the logit of the second."""
    second = torch.tensor(scores)
    return Evaluation(torch.stack([torch.zeros_like(second), second], dim=1), torch.tensor(labels))


def test_precision_and_recall_of_every_class():
    cat, dog = per_class(judged([-1, -1, 2, 3, -1, 1], [0, 0, 0, 1, 1, 1]), CLASSES)
    assert (cat.images, dog.images) == (3, 3)
    assert (cat.precision, cat.recall) == (pytest.approx(2 / 3), pytest.approx(2 / 3))
    assert dog.f1 == pytest.approx(2 / 3)


def test_a_class_that_is_absent_or_never_called_has_zeros():
    cat, dog = per_class(judged([-1.0, -2.0], [0, 0]), CLASSES)
    assert (dog.images, dog.precision, dog.recall, dog.f1) == (0, 0.0, 0.0, 0.0)
    assert cat.precision == 1.0


def test_the_area_is_how_often_an_image_of_the_class_scores_above_another():
    draw = random.Random(0)
    labels = [draw.randrange(2) for _ in range(80)]
    scores = [draw.choice([0.0, 0.5, 1.0, 1.5]) + label * draw.random() for label in labels]
    pairs = [
        1.0 if one > other else 0.5 if one == other else 0.0
        for one, label in zip(scores, labels, strict=True)
        for other, rest in zip(scores, labels, strict=True)
        if label and not rest
    ]
    assert roc(judged(scores, labels), 1).area == pytest.approx(sum(pairs) / len(pairs), abs=1e-6)


def test_the_curve_goes_from_nothing_to_everything():
    curve = roc(judged([3.0, 2.0, 1.0, 0.0], [1, 1, 0, 0]), 1)
    assert curve.area == 1.0
    assert (curve.false_positive[0], curve.true_positive[0]) == (0, 0)
    assert (curve.false_positive[-1], curve.true_positive[-1]) == (1, 1)


def test_the_summary_is_plain_json_with_interval_and_calibration():
    figures = json.loads(json.dumps(summary(judged([1.0, -1.0, 1.0], [1, 0, 0]), CLASSES)))
    assert figures["accuracy"] == pytest.approx(2 / 3)
    low, high = figures["accuracy_interval"]
    assert low < 2 / 3 < high
    assert figures["confusion"] == [[1, 1], [0, 1]]
    assert figures["per_class"]["dog"]["recall"] == 1.0
    assert 0 < figures["calibration_error"] < 1
