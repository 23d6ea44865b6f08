from __future__ import annotations

import torch

from model_training.augment import MIDDLE, ColorJitter, Cutout, MirrorAndShift, augmentation
from model_training.config import TrainConfig


def moved(pixels: torch.Tensor) -> torch.Tensor:
    generator = torch.Generator().manual_seed(0)
    return MirrorAndShift(generator, flip=True, shift=0.125)(pixels)


def gradients(count: int) -> torch.Tensor:
    """Pictures whose every pixel tells its row, column and picture."""
    pixels = torch.zeros(count, 3, 16, 16, dtype=torch.uint8)
    pixels[:, 0] = torch.arange(16, dtype=torch.uint8)[:, None]
    pixels[:, 1] = torch.arange(16, dtype=torch.uint8)
    pixels[:, 2] = torch.arange(count, dtype=torch.uint8)[:, None, None]
    return pixels


def test_augmentation_only_mirrors_and_shifts_and_repeats_the_edge():
    result = moved(gradients(50)).int()
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
    seen = {(int(p[0, 8, 8]), int(p[1, 8, 8])) for p in moved(gradients(200))}
    assert len(seen) > 20


def test_cutout_blanks_one_square_of_each_picture_and_nothing_else():
    pixels = torch.full((60, 3, 16, 16), 200, dtype=torch.uint8)
    result = Cutout(torch.Generator().manual_seed(0), share=0.25)(pixels)
    assert set(result.unique().tolist()) == {MIDDLE, 200}
    for picture in result:
        hidden = picture[0] == MIDDLE
        assert torch.equal(picture[1] == MIDDLE, hidden)
        rows, columns = hidden.any(dim=1), hidden.any(dim=0)
        assert torch.equal(hidden, rows[:, None] & columns)
        assert 2 <= int(rows.sum()) <= 4
        assert 2 <= int(columns.sum()) <= 4


def test_color_jitter_changes_each_channel_of_each_picture_by_a_rising_function_of_its_values():
    ramp = torch.arange(256, dtype=torch.uint8).view(16, 16).expand(40, 3, 16, 16).contiguous()
    result = ColorJitter(torch.Generator().manual_seed(0), strength=0.2)(ramp).int()
    tables = result.view(40, 3, 256)
    assert (tables.diff(dim=2) >= 0).all()
    assert len({tuple(table.tolist()) for picture in tables for table in picture}) == 120
    moves = (tables[:, :, 128] - 128).abs().max()
    assert 128 * 0.2 < moves <= 128 * 0.2 * 1.25 + 1
    slopes = (tables[:, :, 160] - tables[:, :, 96]) / 64
    assert 0.73 < float(slopes.min()) < 0.85
    assert 1.18 < float(slopes.max()) < 1.37


def test_a_color_jitter_of_nothing_changes_nothing():
    pixels = gradients(10)
    assert torch.equal(ColorJitter(torch.Generator(), strength=0.0)(pixels), pixels)


def test_what_is_blanked_is_grey_whatever_becomes_of_the_colours():
    config = TrainConfig(cutout=0.25, color_jitter=0.5)
    pixels = torch.full((20, 3, 16, 16), 250, dtype=torch.uint8)
    result = augmentation(config, torch.Generator().manual_seed(0))(pixels)
    assert (result == MIDDLE).all(dim=1).flatten(1).sum(dim=1).min() >= 4


def test_nothing_moves_where_nothing_is_asked_for():
    config = TrainConfig(flip=False, shift=0.0, cutout=0.0, color_jitter=0.0)
    pixels = gradients(20)
    assert torch.equal(augmentation(config, torch.Generator())(pixels), pixels)
