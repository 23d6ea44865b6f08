from __future__ import annotations

import threading
from collections.abc import Iterator

import pytest
import torch

from model_training.config import TrainConfig
from model_training.data import Images
from model_training.loader import Batch, ahead, batches, inputs
from model_training.manifest import InputSpec
from model_training.pictures import normalize

CONFIG = TrainConfig(size=8, channels=(3, 4), batch_size=4, shift=0.25)


@pytest.fixture
def images() -> Images:
    pixels = torch.randint(0, 256, (10, 3, 8, 8), generator=torch.Generator().manual_seed(0))
    return Images(pixels.to(torch.uint8), torch.arange(10))


def same(one: list[Batch], other: list[Batch]) -> bool:
    pairs = zip(one, other, strict=True)
    return all(torch.equal(a, c) and torch.equal(b, d) for (a, b), (c, d) in pairs)


def test_an_epoch_has_every_image_once_in_an_order_of_its_own(images: Images):
    orders = [
        torch.cat([t for _, t in batches(CONFIG, images, 10, epoch)]).argmax(dim=1).tolist()
        for epoch in (1, 2)
    ]
    assert all(sorted(order) == list(range(10)) for order in orders)
    assert orders[0] != orders[1]


def test_what_an_epoch_sees_follows_from_seed_and_number_alone(images: Images):
    first = list(batches(CONFIG, images, 10, 7))
    torch.rand(3)
    assert same(first, list(batches(CONFIG, images, 10, 7)))
    other = CONFIG.model_copy(update={"seed": 1})
    assert not same(first, list(batches(other, images, 10, 7)))


def test_inputs_are_the_same_batches_normalised_as_for_evaluation(images: Images):
    made = list(batches(CONFIG, images, 10, 1))
    spec = InputSpec(height=8, width=8)
    for (pixels, targets), (ready, same_targets) in zip(
        made, inputs(CONFIG, iter(made)), strict=True
    ):
        assert torch.equal(ready, normalize(pixels, spec))
        assert ready.is_contiguous(memory_format=torch.channels_last)
        assert torch.equal(targets, same_targets)


def test_batches_made_ahead_are_the_same_in_the_same_order(images: Images):
    plain = list(batches(CONFIG, images, 10, 1))
    assert same(plain, list(ahead(batches(CONFIG, images, 10, 1))))


def test_what_breaks_while_batches_are_made_is_raised_in_the_loop():
    def broken() -> Iterator[Batch]:
        yield torch.zeros(1), torch.zeros(1)
        raise RuntimeError("the disk is gone")

    seen = ahead(broken())
    next(seen)
    with pytest.raises(RuntimeError, match="the disk is gone"):
        next(seen)


def test_a_target_tells_the_share_of_each_class_that_the_mixed_picture_shows(images: Images):
    pixels = images.labels.to(torch.uint8)[:, None, None, None].expand(10, 3, 8, 8)
    plain = Images(pixels.contiguous(), images.labels)
    config = CONFIG.model_copy(update={"cutmix": 1.0, "batch_size": 10})
    shares = set()
    for epoch in range(20):
        ((mixed, targets),) = batches(config, plain, 10, epoch)
        for picture, target in zip(mixed, targets, strict=True):
            shown = torch.bincount(picture[0].flatten().int(), minlength=10) / 64
            assert torch.allclose(shown, target, atol=1e-6)
            shares.add(float(target.max()))
    assert len(shares) > 5


def test_as_many_batches_are_mixed_as_asked_for(images: Images):
    config = CONFIG.model_copy(update={"cutmix": 0.5, "batch_size": 10})
    mixed = sum(
        bool((targets.max(dim=1).values < 1).any())
        for epoch in range(200)
        for _, targets in batches(config, images, 10, epoch)
    )
    assert 85 <= mixed <= 110  # a rectangle of no area mixes nothing


def test_where_nothing_is_mixed_a_target_is_one_class(images: Images):
    for epoch in range(20):
        for _, targets in batches(CONFIG, images, 10, epoch):
            assert set(targets.flatten().tolist()) == {0.0, 1.0}
            assert (targets.sum(dim=1) == 1).all()


def test_leaving_the_loop_ends_the_thread(images: Images):
    many = CONFIG.model_copy(update={"batch_size": 2})
    for _ in ahead(batches(many, images, 10, 1)):
        break
    assert "batches" not in {thread.name for thread in threading.enumerate()}
