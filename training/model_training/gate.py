"""Whether a model may follow the champion: both on the same images. Pure; called by the registry.

A model is refused when it is worse by more than can be an accident, which is when the 95% interval
of the difference lies below zero, and when it is worse by more than a tolerance, accident or not.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Final

from model_training.evaluate import Z_95
from model_training.predictions import Predictions

TOLERANCE: Final = 0.01
"""How much lower the accuracy may be where that can be an accident."""
FEWEST: Final = 20
"""Images that both must have judged: with fewer a comparison says nothing."""


@dataclass(frozen=True)
class Comparison:
    """Two models on the same images, and what the difference of their accuracies can be."""

    images: int
    accuracy: float
    champion: float
    only_new: int
    """Images that the new model alone gets right."""
    only_champion: int
    p_value: float
    """Of McNemar's exact test: how likely a split so uneven is between equally good models."""
    interval: tuple[float, float]
    """95% of `accuracy - champion`."""

    @property
    def difference(self) -> float:
        """Above zero where the new model is better."""
        return self.accuracy - self.champion

    def worse(self, tolerance: float = TOLERANCE) -> bool:
        """Whether the new model must not follow the champion."""
        # One image more or less must not turn on the last bit of a division.
        return self.interval[1] < 0 or self.difference < -tolerance - 1e-12

    def sentence(self) -> str:
        """The figures, for a user and for a tag."""
        low, high = self.interval
        return (
            f"{self.accuracy:.2%} against the champion's {self.champion:.2%} on the same"
            f" {self.images} test images: {self.difference:+.2%}, 95% interval {low:+.2%} to"
            f" {high:+.2%}, p {self.p_value:.2g}"
        )


def compare(new: Predictions, champion: Predictions) -> Comparison | None:
    """The comparison on the images that both have judged; None where those are too few."""
    common = [
        (prediction, champion[sha256]) for sha256, prediction in new.items() if sha256 in champion
    ]
    if len(common) < FEWEST:
        return None
    only_new = sum(ours.right and not theirs.right for ours, theirs in common)
    only_champion = sum(theirs.right and not ours.right for ours, theirs in common)
    return Comparison(
        images=len(common),
        accuracy=sum(ours.right for ours, _ in common) / len(common),
        champion=sum(theirs.right for _, theirs in common) / len(common),
        only_new=only_new,
        only_champion=only_champion,
        p_value=mcnemar(only_new, only_champion),
        interval=interval(only_new, only_champion, len(common)),
    )


def mcnemar(one: int, other: int) -> float:
    """The two-sided exact p-value: Q. McNemar (1947), by the binomial distribution."""
    total, fewer = one + other, min(one, other)
    tail = sum(math.comb(total, count) for count in range(fewer + 1))
    p_value: float = 2 * tail / 2**total
    return min(1.0, p_value)


def interval(one: int, other: int, images: int) -> tuple[float, float]:
    """95% of a difference of paired shares: D. G. Bonett and R. M. Price (2012).

    `one` and `other` are the images that only the first and only the second gets right.
    """
    first, second = (one + 1) / (images + 2), (other + 1) / (images + 2)
    middle = first - second
    half = Z_95 * math.sqrt((first + second - middle**2) / (images + 2))
    return max(-1.0, middle - half), min(1.0, middle + half)
