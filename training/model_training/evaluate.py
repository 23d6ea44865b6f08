"""How good a model is on images; called after every epoch and for the test figures."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import nn

from model_training.data import Images, normalize
from model_training.manifest import InputSpec
from model_training.model import SimpleCNN

BATCH_SIZE = 256


@dataclass(frozen=True)
class Evaluation:
    """`confusion[true][predicted]` counts images; `loss` is the mean cross-entropy."""

    confusion: tuple[tuple[int, ...], ...]
    loss: float

    @property
    def images(self) -> int:
        """How many images were judged."""
        return sum(sum(row) for row in self.confusion)

    @property
    def accuracy(self) -> float:
        """The share of images whose most probable class is the true one."""
        correct = sum(row[label] for label, row in enumerate(self.confusion))
        return correct / self.images


def evaluate(model: SimpleCNN, images: Images, spec: InputSpec) -> Evaluation:
    """Judges the model in evaluation mode, and leaves it in the mode it was in."""
    classes = model.classifier.out_features
    confusion = torch.zeros(classes, classes, dtype=torch.int64)
    loss = 0.0
    training = model.training
    model.eval()
    with torch.inference_mode():
        for pixels, labels in images.batches(BATCH_SIZE):
            logits = model(normalize(pixels, spec))
            loss += nn.functional.cross_entropy(logits, labels, reduction="sum").item()
            pairs = torch.stack((labels, logits.argmax(dim=1)))
            confusion.index_put_(tuple(pairs), torch.ones_like(labels), accumulate=True)
    model.train(training)
    rows = tuple(tuple(int(count) for count in row) for row in confusion.tolist())
    return Evaluation(confusion=rows, loss=loss / len(images))
