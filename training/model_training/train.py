"""The training loop: pixels and a configuration in, the weights of the best epoch out.

Called by the command `train`. It is deterministic: the same data, configuration and machine give
the same weights, bit for bit, and so does a run that was stopped after any epoch and goes on.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Final

import torch
from torch import Tensor, nn

from model_training.config import TrainConfig
from model_training.data import Images
from model_training.errors import ConfigError
from model_training.evaluate import Evaluation, evaluate
from model_training.loader import Batch, ahead, batches, inputs
from model_training.manifest import InputSpec
from model_training.model import SimpleCNN

WARM_UP: Final = 0.3
"""Share of the steps in which the learning rate rises."""
FIRST, LAST = 1 / 25, 1e-4
"""The learning rate at the first and at the last step, as shares of its peak."""
MOMENTUM: Final = 0.9
BFLOAT16: Final = ("avx512_bf16", "amx_bf16", "bf16")
"""What torch calls a processor's own bfloat16."""
EARLY_STEPS: Final = 10
"""The average of the weights forgets faster in its first steps, when it is of few."""


@dataclass(frozen=True)
class Epoch:
    """What one pass over the training images gave; `number` counts from 1."""

    number: int
    train_loss: float
    train_accuracy: float
    """Of augmented pictures: below the validation's where they are mixed."""
    validation: Evaluation
    best: bool
    """Whether its weights are the best so far."""
    state: Mapping[str, Tensor]
    """The weights after this epoch, a copy."""


@dataclass(frozen=True)
class Progress:
    """All that a run needs to go on after an epoch as if it had never stopped."""

    number: int
    """Epochs that are done."""
    model: Mapping[str, Tensor]
    averaged: Mapping[str, Tensor]
    optimizer: Mapping[str, Any]
    best: Epoch


def train(
    config: TrainConfig,
    classes: tuple[str, ...],
    *,
    training: Images,
    validation: Images,
    on_epoch: Callable[[Epoch, Progress], None],
    resumed: Progress | None = None,
) -> Epoch:
    """Trains SimpleCNN and returns the best epoch: highest validation accuracy, then lowest loss.

    Sets torch's threads, seed and deterministic mode for the whole process.
    """
    set_torch(config)
    spec = InputSpec(height=config.size, width=config.size)
    device = chosen_device(config)
    model = _network(config, classes, device)
    averaged = _network(config, classes, device) if config.ema_decay else model
    averaged.load_state_dict(model.state_dict())
    optimizer = _optimizer(config, model)
    if resumed:
        model.load_state_dict(resumed.model)
        averaged.load_state_dict(resumed.averaged)
        optimizer.load_state_dict(dict(resumed.optimizer))
    best = resumed.best if resumed else None
    steps = -(-len(training) // config.batch_size)
    for number in range(resumed.number + 1 if resumed else 1, config.epochs + 1):
        if best and config.patience and number > best.number + config.patience:
            break
        passed = (number - 1) * steps
        rates = (one_cycle(passed + step, config.epochs * steps) for step in range(steps))
        seen = inputs(config, ahead(batches(config, training, len(classes), number)))
        loss, accuracy = _pass(config, model, averaged, optimizer, zip(rates, seen, strict=True))
        if not math.isfinite(loss):
            raise ConfigError(
                f"the network diverged in epoch {number} (its loss is {loss}): lower"
                " --learning-rate, and train anew"
            )
        judged = evaluate(averaged, validation, spec)
        epoch = Epoch(
            number=number,
            train_loss=loss,
            train_accuracy=accuracy,
            validation=judged,
            best=best is None or _rank(judged) > _rank(best.validation),
            state=_copy(averaged),
        )
        best = epoch if epoch.best or best is None else best
        on_epoch(epoch, Progress(number, _copy(model), epoch.state, optimizer.state_dict(), best))
    if best is None:
        raise ValueError("a run has at least one epoch")
    return best


def set_torch(config: TrainConfig) -> None:
    """Sets threads, seed and deterministic mode for the whole process."""
    torch.set_num_threads(config.threads)
    torch.manual_seed(config.seed)
    torch.use_deterministic_algorithms(True)


def _pass(
    config: TrainConfig,
    model: SimpleCNN,
    averaged: SimpleCNN,
    optimizer: torch.optim.Optimizer,
    steps: Iterable[tuple[float, Batch]],
) -> tuple[float, float]:
    """One pass over the training images; its mean loss, and accuracy as it went: how often the
    network names the class that a picture shows most of.
    """
    device = chosen_device(config)
    model.train()
    losses, correct, count = 0.0, 0, 0
    for rate, (pixels, classes) in steps:
        images, targets = pixels.to(device), classes.to(device)
        for group in optimizer.param_groups:
            group["lr"] = rate * config.learning_rate
        with torch.autocast(device.type, torch.bfloat16, enabled=mixed_precision(config)):
            logits = model(images).float()
        loss = nn.functional.cross_entropy(logits, targets, label_smoothing=config.label_smoothing)
        optimizer.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]
        optimizer.step()
        if averaged is not model:
            _average(averaged, model, config.ema_decay)
        losses += loss.item() * len(targets)
        correct += int((logits.argmax(dim=1) == targets.argmax(dim=1)).sum())
        count += len(targets)
    return losses / count, correct / count


def training_pass(
    config: TrainConfig, classes: tuple[str, ...], seen: Iterable[Batch]
) -> tuple[float, float]:
    """One pass of a new network over batches, at the peak of the learning rate: for measurements.

    Its mean loss and accuracy.
    """
    device = chosen_device(config)
    model = _network(config, classes, device)
    averaged = _network(config, classes, device) if config.ema_decay else model
    steps = ((1.0, batch) for batch in seen)
    return _pass(config, model, averaged, _optimizer(config, model), steps)


def one_cycle(step: int, steps: int) -> float:
    """The learning rate at a step, as a share of its peak: a cosine up, then a cosine down.

    L. N. Smith and N. Topin, "Super-Convergence" (2018). `one_cycle(0, n)` is 1/25.
    """
    peak = WARM_UP * steps - 1
    if step <= peak:
        start, end, done = FIRST, 1.0, step / peak
    else:
        start, end, done = 1.0, FIRST * LAST, min(1.0, (step - peak) / max(1, steps - 1 - peak))
    return end + (start - end) * (1 + math.cos(math.pi * done)) / 2


def chosen_device(config: TrainConfig) -> torch.device:
    """Where the network runs; ConfigError where the machine has no such device."""
    if config.device == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    if config.device == "cuda" and not torch.cuda.is_available():
        raise ConfigError("--device is cuda, and torch finds no GPU here: use auto or cpu")
    return torch.device(config.device)


def mixed_precision(config: TrainConfig) -> bool:
    """Whether the network computes in bfloat16."""
    if config.precision == "auto":
        return chosen_device(config).type == "cuda" or _processor_has_bfloat16()
    return config.precision == "bfloat16"


def _processor_has_bfloat16() -> bool:
    """Whether it computes with bfloat16 by itself: without that it is slower than float32."""
    able: Mapping[str, object] = torch.cpu.get_capabilities()
    return any(able.get(name) for name in BFLOAT16)


def _network(config: TrainConfig, classes: tuple[str, ...], device: torch.device) -> SimpleCNN:
    model = SimpleCNN(config.channels, classes, config.depth)
    return model.to(device, memory_format=torch.channels_last)  # type: ignore[call-overload,no-any-return]


def _optimizer(config: TrainConfig, model: SimpleCNN) -> torch.optim.Optimizer:
    """Weights decay; biases and norms, which are vectors, do not."""
    matrices = [value for value in model.parameters() if value.ndim > 1]
    vectors = [value for value in model.parameters() if value.ndim <= 1]
    groups = [
        {"params": matrices, "weight_decay": config.weight_decay},
        {"params": vectors, "weight_decay": 0.0},
    ]
    if config.optimizer == "sgd":
        return torch.optim.SGD(groups, lr=config.learning_rate, momentum=MOMENTUM, nesterov=True)
    return torch.optim.AdamW(groups, lr=config.learning_rate)


@torch.no_grad()
def _average(averaged: SimpleCNN, model: SimpleCNN, decay: float) -> None:
    """Moves the average towards the model; batch norm's statistics go the same way."""
    ours, theirs = averaged.state_dict(), model.state_dict()
    seen = int(theirs["features.0.norm.num_batches_tracked"])
    kept = min(decay, seen / (seen + EARLY_STEPS))
    for name, value in theirs.items():
        if value.is_floating_point():
            ours[name].lerp_(value, 1 - kept)
        else:
            ours[name].copy_(value)


def _copy(model: SimpleCNN) -> dict[str, Tensor]:
    """The weights on the processor, in the ordinary layout, as they are now."""
    return {
        name: value.detach().to("cpu", copy=True).contiguous()
        for name, value in model.state_dict().items()
    }


def _rank(evaluation: Evaluation) -> tuple[float, float]:
    return evaluation.accuracy, -evaluation.loss
