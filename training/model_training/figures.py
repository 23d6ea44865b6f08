"""What an evaluation comes down to: the numbers that are shown, logged and put into the card."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from model_training.calibration import calibration_error
from model_training.evaluate import Evaluation


@dataclass(frozen=True)
class ClassFigures:
    """How one class fares; what nothing is divided by is 0."""

    name: str
    images: int
    precision: float
    """The share of what is called so that is so."""
    recall: float
    """The share of what is so that is called so."""
    f1: float
    auc: float
    """The area under the ROC curve of this class against the rest."""


@dataclass(frozen=True)
class RocCurve:
    """Rates from (0, 0) to (1, 1) as the threshold falls: float64, equally long."""

    false_positive: Tensor
    true_positive: Tensor

    @property
    def area(self) -> float:
        """How often an image of the class scores above one of the rest."""
        return torch.trapezoid(self.true_positive, self.false_positive).item()


def per_class(evaluation: Evaluation, classes: tuple[str, ...]) -> tuple[ClassFigures, ...]:
    """The figures of every class, in the order of the model's classes."""
    confusion = torch.tensor(evaluation.confusion)
    figures = []
    for label, name in enumerate(classes):
        right = int(confusion[label, label])
        called, so = int(confusion[:, label].sum()), int(confusion[label].sum())
        figures.append(
            ClassFigures(
                name=name,
                images=so,
                precision=right / called if called else 0.0,
                recall=right / so if so else 0.0,
                f1=2 * right / (called + so) if called + so else 0.0,
                auc=roc(evaluation, label).area,
            )
        )
    return tuple(figures)


def roc(evaluation: Evaluation, label: int) -> RocCurve:
    """The ROC curve of one class against the rest; equal scores are passed at once."""
    scores, order = evaluation.probabilities[:, label].sort(descending=True, stable=True)
    hits = (evaluation.labels[order] == label).double()
    last = torch.cat([scores[1:] != scores[:-1], torch.tensor([True])])
    true, false = hits.cumsum(0)[last], (1 - hits).cumsum(0)[last]
    start = torch.zeros(1, dtype=torch.float64)
    return RocCurve(
        false_positive=torch.cat([start, false / max(1.0, float(false[-1]))]),
        true_positive=torch.cat([start, true / max(1.0, float(true[-1]))]),
    )


def summary(evaluation: Evaluation, classes: tuple[str, ...]) -> dict[str, Any]:
    """Everything as plain values; `confusion` has the true classes as rows."""
    low, high = evaluation.interval
    return {
        "images": evaluation.images,
        "accuracy": evaluation.accuracy,
        "accuracy_interval": [low, high],
        "calibration_error": calibration_error(evaluation),
        "loss": evaluation.loss,
        "classes": list(classes),
        "confusion": [list(row) for row in evaluation.confusion],
        "per_class": {
            figures.name: {key: value for key, value in vars(figures).items() if key != "name"}
            for figures in per_class(evaluation, classes)
        },
    }
