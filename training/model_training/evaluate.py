"""How good a model is on images; called after every epoch and for the test figures."""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import cached_property

import torch
from torch import Tensor, nn

from model_training.data import Images
from model_training.manifest import InputSpec
from model_training.pictures import normalize

BATCH_SIZE = 256
Z_95 = 1.959963984540054
"""Standard deviations on each side of the mean that hold 95% of a normal distribution."""


@dataclass(frozen=True, eq=False)
class Evaluation:
    """What a model said of N images: `logits` N x K float32, and the true `labels`, N int64."""

    logits: Tensor
    labels: Tensor

    @property
    def images(self) -> int:
        """How many images were judged."""
        return len(self.labels)

    @cached_property
    def probabilities(self) -> Tensor:
        """The softmax of the logits, N x K float64."""
        return self.logits.double().softmax(dim=1)

    @cached_property
    def predicted(self) -> Tensor:
        """The most probable class of each image, N int64."""
        return self.logits.argmax(dim=1)

    @cached_property
    def correct(self) -> Tensor:
        """Whether the most probable class is the true one, N bool."""
        return self.predicted == self.labels

    @property
    def accuracy(self) -> float:
        """The share of images whose most probable class is the true one."""
        return int(self.correct.sum()) / self.images

    @property
    def interval(self) -> tuple[float, float]:
        """The 95% confidence interval of the accuracy."""
        return wilson(int(self.correct.sum()), self.images)

    @property
    def loss(self) -> float:
        """The mean cross-entropy."""
        return nn.functional.cross_entropy(self.logits.double(), self.labels).item()

    @cached_property
    def confusion(self) -> tuple[tuple[int, ...], ...]:
        """`confusion[true][predicted]` counts images."""
        classes = self.logits.shape[1]
        counts = torch.bincount(self.labels * classes + self.predicted, minlength=classes**2)
        return tuple(tuple(row) for row in counts.view(classes, classes).tolist())


def wilson(successes: int, trials: int) -> tuple[float, float]:
    """Wilson's 95% interval of a share: E. B. Wilson, "Probable inference" (1927)."""
    share, spread = successes / trials, Z_95**2 / trials
    middle = (share + spread / 2) / (1 + spread)
    half = Z_95 / (1 + spread) * math.sqrt(share * (1 - share) / trials + spread / (4 * trials))
    return max(0.0, middle - half), min(1.0, middle + half)


def evaluate(model: nn.Module, images: Images, spec: InputSpec) -> Evaluation:
    """Judges the model in evaluation mode, and leaves it in the mode it was in.

    In float32 on whatever device the model is on; the result is on the processor.
    """
    device = next(model.parameters()).device
    training = model.training
    model.eval()
    with torch.inference_mode():
        logits = [
            model(normalize(pixels, spec).to(device)).cpu()
            for pixels, _ in images.batches(BATCH_SIZE)
        ]
    model.train(training)
    # A clone is no inference tensor: it can be saved, and calibrated with gradients.
    return Evaluation(torch.cat(logits).clone(), images.labels)
