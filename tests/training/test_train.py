from __future__ import annotations

from pathlib import Path

import pytest
import torch

from model_training.config import TrainConfig
from model_training.data import Images, Split, load, scan, split
from model_training.manifest import InputSpec
from model_training.train import Epoch, augment, train

TINY = TrainConfig(size=16, channels=(3, 4, 8), epochs=3, threads=1)
CLASSES = ("cat", "dog")


@pytest.fixture(scope="module")
def images(pictures: Path) -> dict[Split, Images]:
    folder = scan(pictures)
    parts = split(folder, validation_percent=10, test_percent=10)
    spec = InputSpec(height=16, width=16)
    return {part: load(folder, samples, spec) for part, samples in parts.items()}


def run(config: TrainConfig, images: dict[Split, Images]) -> tuple[Epoch, list[Epoch]]:
    epochs: list[Epoch] = []
    best = train(
        config,
        CLASSES,
        training=images[Split.TRAIN],
        validation=images[Split.VALIDATION],
        on_epoch=epochs.append,
    )
    return best, epochs


def same_weights(one: Epoch, other: Epoch) -> bool:
    return all(torch.equal(value, other.state[name]) for name, value in one.state.items())


def test_the_same_seed_gives_the_same_weights_and_curves_bit_for_bit(
    images: dict[Split, Images],
):
    best, epochs = run(TINY, images)
    torch.rand(17)  # what else the process draws is of no consequence
    again, epochs_again = run(TINY, images)
    assert same_weights(best, again)
    assert [epoch.train_loss for epoch in epochs] == [epoch.train_loss for epoch in epochs_again]


def test_another_seed_gives_other_weights(images: dict[Split, Images]):
    best, _ = run(TINY, images)
    other, _ = run(TINY.model_copy(update={"seed": 1}), images)
    assert not same_weights(best, other)


def test_the_best_epoch_has_the_highest_accuracy_then_the_lowest_loss(
    images: dict[Split, Images],
):
    best, epochs = run(TINY.model_copy(update={"epochs": 8}), images)
    assert [epoch.number for epoch in epochs] == list(range(1, 9))
    ranks = [(epoch.validation.accuracy, -epoch.validation.loss) for epoch in epochs]
    assert best.number == ranks.index(max(ranks)) + 1
    records = [rank for index, rank in enumerate(ranks) if rank > max(ranks[:index], default=(-1,))]
    assert [rank for rank, epoch in zip(ranks, epochs, strict=True) if epoch.best] == records


def test_the_best_epoch_keeps_its_own_weights_whatever_comes_after(
    images: dict[Split, Images],
):
    best, epochs = run(TINY, images)
    assert not same_weights(epochs[0], epochs[-1])
    assert same_weights(best, epochs[best.number - 1])


def gradients(count: int) -> torch.Tensor:
    """Pictures whose every pixel tells its row, column and picture."""
    pixels = torch.zeros(count, 3, 16, 16, dtype=torch.uint8)
    pixels[:, 0] = torch.arange(16, dtype=torch.uint8)[:, None]
    pixels[:, 1] = torch.arange(16, dtype=torch.uint8)
    pixels[:, 2] = torch.arange(count, dtype=torch.uint8)[:, None, None]
    return pixels


def test_augmentation_only_mirrors_and_shifts_and_repeats_the_edge():
    torch.manual_seed(0)
    result = augment(gradients(50)).int()
    assert torch.equal(result[:, 2, 0, 0], torch.arange(50, dtype=torch.int32))
    for picture in result:
        down, right = picture[0, :, 0], picture[1, 0, :]
        assert torch.equal(picture[0], down[:, None].expand(16, 16))
        assert torch.equal(picture[1], right.expand(16, 16))
        shift = int(down[8]) - 8
        assert abs(shift) <= 2
        assert down.tolist() == [min(15, max(0, row + shift)) for row in range(16)]
        columns = right if right[8] > right[7] else right.flip(0)
        shift = int(columns[8]) - 8
        assert abs(shift) <= 2
        assert columns.tolist() == [min(15, max(0, column + shift)) for column in range(16)]


def test_every_picture_of_a_batch_is_augmented_by_itself():
    torch.manual_seed(0)
    seen = {(int(p[0, 8, 8]), int(p[1, 8, 8])) for p in augment(gradients(200))}
    assert len(seen) > 20
