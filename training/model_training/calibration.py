"""Makes confidences mean what they say: temperature scaling, and the error that is left.

Guo et al., "On Calibration of Modern Neural Networks" (2017). The logits are divided by one number
that the validation images choose, and because the classifier is linear, that number goes into its
weights: the server needs to know nothing of it. No prediction changes by it, only how sure it is.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Final

import torch
from torch import Tensor, nn

from model_training.evaluate import Evaluation

BINS: Final = 15
"""Of confidence, equally wide: what Guo et al. use."""
LIMITS: Final = (0.05, 20.0)
"""Temperatures outside of these come from too few images and nothing else."""
_GOLDEN: Final = (math.sqrt(5) - 1) / 2
_TOLERANCE: Final = 1e-6


@dataclass(frozen=True)
class Bin:
    """The images of one bin: how sure the model was on average, and how often it was right."""

    images: int
    confidence: float
    accuracy: float


def temperature(validation: Evaluation) -> float:
    """What the logits are to be divided by, so that the validation images are most likely.

    The targets are not quite certain, (n + 1) / (n + 2) for the true class, and the rest for the
    others in equal parts: after J. Platt, "Probabilistic outputs for support vector machines"
    (1999). Otherwise a model that gets all of n validation images right would be told to be sure
    without any limit.
    """
    images, classes = validation.logits.shape
    wrong = 1 / (images + 2)
    targets = torch.full((images, classes), wrong / (classes - 1), dtype=torch.float64)
    targets[torch.arange(images), validation.labels] = 1 - wrong
    logits = validation.logits.double()

    def loss(log_temperature: float) -> float:
        scaled = logits / math.exp(log_temperature)
        return nn.functional.cross_entropy(scaled, targets).item()

    return math.exp(_least(loss, math.log(LIMITS[0]), math.log(LIMITS[1])))


def fold(state: Mapping[str, Tensor], by: float) -> dict[str, Tensor]:
    """The same weights, with a classifier whose logits are divided by `by`."""
    folded = dict(state)
    for name in ("classifier.weight", "classifier.bias"):
        folded[name] = state[name] / by
    return folded


def scaled(evaluation: Evaluation, by: float) -> Evaluation:
    """The evaluation of the model whose classifier is folded."""
    return Evaluation(evaluation.logits / by, evaluation.labels)


def reliability(evaluation: Evaluation) -> tuple[Bin, ...]:
    """The bins of confidence that have images, from unsure to sure."""
    confidence = evaluation.probabilities.max(dim=1).values
    index = (confidence * BINS).long().clamp(max=BINS - 1)
    bins = []
    for number in sorted(set(index.tolist())):
        inside = index == number
        bins.append(
            Bin(
                images=int(inside.sum()),
                confidence=confidence[inside].mean().item(),
                accuracy=evaluation.correct[inside].double().mean().item(),
            )
        )
    return tuple(bins)


def calibration_error(evaluation: Evaluation) -> float:
    """The expected calibration error: how far confidence is from accuracy, over all images."""
    return sum(
        one.images * abs(one.confidence - one.accuracy) for one in reliability(evaluation)
    ) / len(evaluation.labels)


def _least(function: Callable[[float], float], low: float, high: float) -> float:
    """Where a function with one valley is least: golden section search."""
    left, right = high - _GOLDEN * (high - low), low + _GOLDEN * (high - low)
    at_left, at_right = function(left), function(right)
    while high - low > _TOLERANCE:
        if at_left < at_right:
            high, right, at_right = right, left, at_left
            left = high - _GOLDEN * (high - low)
            at_left = function(left)
        else:
            low, left, at_left = left, right, at_right
            right = low + _GOLDEN * (high - low)
            at_right = function(right)
    return (low + high) / 2
