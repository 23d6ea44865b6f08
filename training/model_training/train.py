"""The training loop: pixels and a configuration in, the weights of the best epoch out.

Called by the command `train`. It is deterministic: the same data, configuration and machine give
the same weights, bit for bit.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

import torch
from torch import Tensor, nn

from model_training.config import TrainConfig
from model_training.data import Images, normalize
from model_training.evaluate import Evaluation, evaluate
from model_training.manifest import InputSpec
from model_training.model import SimpleCNN

SHIFT: Final = 8  # augmentation moves a picture by up to 1/8 of its size


@dataclass(frozen=True)
class Epoch:
    """What one pass over the training images gave; `number` counts from 1."""

    number: int
    train_loss: float
    train_accuracy: float
    validation: Evaluation
    best: bool
    """Whether its weights are the best so far."""
    state: dict[str, Tensor]
    """The weights after this epoch, a copy."""


def train(
    config: TrainConfig,
    classes: tuple[str, ...],
    *,
    training: Images,
    validation: Images,
    on_epoch: Callable[[Epoch], None],
) -> Epoch:
    """Trains SimpleCNN and returns the best epoch: highest validation accuracy, then lowest loss.

    Sets torch's threads, seed and deterministic mode for the whole process.
    """
    torch.set_num_threads(config.threads)
    torch.manual_seed(config.seed)
    torch.use_deterministic_algorithms(True)
    spec = InputSpec(height=config.size, width=config.size)
    model = SimpleCNN(config.channels, classes)
    optimizer = torch.optim.AdamW(
        model.parameters(), lr=config.learning_rate, weight_decay=config.weight_decay
    )
    steps = -(-len(training) // config.batch_size)
    schedule = torch.optim.lr_scheduler.OneCycleLR(
        optimizer, max_lr=config.learning_rate, epochs=config.epochs, steps_per_epoch=steps
    )
    best: Epoch | None = None
    for number in range(1, config.epochs + 1):
        model.train()
        loss_sum, correct = 0.0, 0
        for pixels, labels in training.batches(
            config.batch_size, order=torch.randperm(len(training))
        ):
            images = normalize(augment(pixels), spec)
            images = images.contiguous(memory_format=torch.channels_last)
            logits = model(images)
            loss = nn.functional.cross_entropy(logits, labels)
            optimizer.zero_grad()
            loss.backward()  # type: ignore[no-untyped-call]
            optimizer.step()
            schedule.step()
            loss_sum += loss.item() * len(labels)
            correct += int((logits.argmax(dim=1) == labels).sum())
        judged = evaluate(model, validation, spec)
        epoch = Epoch(
            number=number,
            train_loss=loss_sum / len(training),
            train_accuracy=correct / len(training),
            validation=judged,
            best=best is None or _rank(judged) > _rank(best.validation),
            state={name: value.clone() for name, value in model.state_dict().items()},
        )
        best = epoch if epoch.best or best is None else best
        on_epoch(epoch)
    if best is None:
        raise ValueError("a run has at least one epoch")
    return best


def augment(pixels: Tensor) -> Tensor:
    """Mirrors and shifts every picture of a batch by itself, N x 3 x H x W uint8 -> the same.

    What a shift uncovers repeats the picture's edge. One gather does the whole batch: a transform
    per picture costs more than the network's own step on small pictures.
    """
    count, _, height, width = pixels.shape

    def source(length: int) -> Tensor:
        """The row or column that each one of the result is taken from, N x length."""
        reach = length // SHIFT
        offsets = torch.randint(-reach, reach + 1, (count, 1))
        return (torch.arange(length) + offsets).clamp(0, length - 1)

    rows, columns = source(height), source(width)
    mirrored = torch.rand(count, 1) < 0.5
    columns = torch.where(mirrored, width - 1 - columns, columns)
    pictures = torch.arange(count)[:, None, None]
    # Indexing with the colours as a slice between puts them last: N x H x W x 3.
    taken = pixels[pictures, :, rows[:, :, None], columns[:, None, :]]
    return taken.permute(0, 3, 1, 2)


def _rank(evaluation: Evaluation) -> tuple[float, float]:
    return evaluation.accuracy, -evaluation.loss
