"""Batches for the training loop, made ready in a thread while the network works on the one before.

All images are in memory already (`data.load`), so a batch is a gather and the augmentation. What an
epoch sees follows from the seed and the epoch's number alone: a run that
goes on after a kill needs no state of any random generator.
"""

from __future__ import annotations

import queue
import threading
from collections.abc import Iterator

import numpy as np
import torch
from torch import Tensor

from model_training.augment import CutMix, augmentation
from model_training.config import TrainConfig
from model_training.data import Images
from model_training.manifest import InputSpec
from model_training.pictures import normalize

AHEAD = 2
"""Batches that wait ready."""
_EPOCHS_APART = 1_000_003
"""A prime: no two epochs of near seeds draw the same."""

Batch = tuple[Tensor, Tensor]
"""Images N x 3 x H x W, uint8 until they are the network's input; targets N x classes float32: how
much of each class a picture shows, 1 in all."""


def batches(config: TrainConfig, images: Images, class_count: int, epoch: int) -> Iterator[Batch]:
    """The batches of one epoch, in an order and with augmentation of its own."""
    generator = torch.Generator().manual_seed((config.seed * _EPOCHS_APART + epoch) % 2**63)
    augment = augmentation(config, generator)
    mix = CutMix(generator, share=config.cutmix) if config.cutmix else None
    order = torch.randperm(len(images), generator=generator)
    # NumPy takes one thread, and torch would take the network's away.
    pixels, labels = images.pixels.numpy(), images.labels.numpy()
    for chosen in torch.split(order, config.batch_size):
        index = chosen.numpy()
        targets = np.zeros((len(index), class_count), dtype=np.float32)
        targets[np.arange(len(index)), labels[index]] = 1
        batch = augment(torch.from_numpy(pixels[index])), torch.from_numpy(targets)
        yield mix(*batch) if mix else batch


def inputs(config: TrainConfig, seen: Iterator[Batch]) -> Iterator[Batch]:
    """The same batches as the network takes them: float32, normalised, channels last."""
    spec = InputSpec(height=config.size, width=config.size)
    for pixels, targets in seen:
        images = normalize(pixels, spec)
        yield images.contiguous(memory_format=torch.channels_last), targets


def ahead(made: Iterator[Batch]) -> Iterator[Batch]:
    """The same batches, made in a thread; what it raises is raised here.

    Leaving the loop early ends the thread as well.
    """
    waiting: queue.Queue[Batch | BaseException | None] = queue.Queue(AHEAD)
    left = threading.Event()

    def work() -> None:
        last: BaseException | None = None
        try:
            for batch in made:
                waiting.put(batch)
                if left.is_set():
                    return
        except BaseException as error:  # noqa: BLE001 - raised again by the loop that waits
            last = error
        waiting.put(last)

    thread = threading.Thread(target=work, name="batches", daemon=True)
    thread.start()
    try:
        while (item := waiting.get()) is not None:
            if isinstance(item, BaseException):
                raise item
            yield item
    finally:
        left.set()
        while thread.is_alive():
            _drain(waiting)
            thread.join(timeout=0.01)


def _drain(waiting: queue.Queue[Batch | BaseException | None]) -> None:
    """Makes room, so that a thread that wants to put something can end."""
    while True:
        try:
            waiting.get_nowait()
        except queue.Empty:
            return
