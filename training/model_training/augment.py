"""What training does to a batch before the network sees it: torchvision transforms (v2).

Called by the loader. The transforms of torchvision draw once for a whole batch; these draw for each
picture of it. They draw from a generator of their own, so that what an epoch sees follows from the
seed and its number alone. They work in NumPy: torch would do it with as many threads as the network
has, beside which the loader's thread works.
"""

from __future__ import annotations

from typing import Any, TypeAlias

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Generator, Tensor

from model_training.config import TrainConfig
from model_training.torchvision_compat import v2

Pixels: TypeAlias = NDArray[np.uint8]

BLANK = 128
"""What cutout leaves: the middle of 0..255, which is 0 once it is normalised."""


class MirrorAndShift(v2.Transform):  # type: ignore[misc]  # torchvision has no types
    """Mirrors and shifts every picture by itself, N x 3 x H x W uint8 -> the same.

    What a shift uncovers repeats the picture's edge.
    """

    def __init__(self, generator: Generator, *, flip: bool, shift: float) -> None:
        super().__init__()
        self.generator, self.flip, self.shift = generator, flip, shift

    def transform(self, inpt: Tensor, params: dict[str, Any]) -> Tensor:  # noqa: ARG002 - the API's
        """The pictures, moved."""
        count, _, height, width = inpt.shape
        mirrored = _draw(self.generator, 0, 2 if self.flip else 1, count)
        down = self._moves(count, height)
        right = self._moves(count, width)
        pictures = inpt.numpy()
        moved = np.empty_like(pictures)
        for number, picture in enumerate(pictures):
            seen = picture[:, :, ::-1] if mirrored[number] else picture
            _shift(seen, moved[number], down[number], right[number])
        return torch.from_numpy(moved)

    def _moves(self, count: int, length: int) -> list[int]:
        reach = int(length * self.shift)
        return _draw(self.generator, -reach, reach + 1, count)


class Cutout(v2.Transform):  # type: ignore[misc]  # torchvision has no types
    """Blanks one square in every picture, N x 3 x H x W uint8 -> the same.

    The square's centre is anywhere, so that it may reach over the edge: DeVries and Taylor,
    "Improved Regularization of Convolutional Neural Networks with Cutout" (2017).
    """

    def __init__(self, generator: Generator, *, share: float) -> None:
        super().__init__()
        self.generator, self.share = generator, share

    def transform(self, inpt: Tensor, params: dict[str, Any]) -> Tensor:  # noqa: ARG002 - the API's
        """The pictures with a square of `share` of their side in grey."""
        count, _, height, width = inpt.shape
        rows, columns = self._hidden(count, height), self._hidden(count, width)
        pictures = inpt.numpy().copy()
        for picture, hidden_rows, hidden_columns in zip(pictures, rows, columns, strict=True):
            picture[:, hidden_rows, hidden_columns] = BLANK
        return torch.from_numpy(pictures)

    def _hidden(self, count: int, length: int) -> list[slice]:
        """Which rows or columns the square of each picture covers."""
        side = max(1, round(length * self.share))
        starts = (centre - side // 2 for centre in _draw(self.generator, 0, length, count))
        return [slice(max(0, start), start + side) for start in starts]


def _shift(picture: Pixels, into: Pixels, down: int, right: int) -> None:
    """Fill `into`, 3 x H x W, with what lies so many rows further down, and columns to the right.

    Slices and no index for each pixel, which would take ten times as long.
    """
    _, height, width = picture.shape
    top, bottom = max(0, -down), min(height, height - down)
    left, end = max(0, -right), min(width, width - right)
    into[:, top:bottom, left:end] = picture[
        :, top + down : bottom + down, left + right : end + right
    ]
    into[:, :top, left:end] = into[:, top : top + 1, left:end]
    into[:, bottom:, left:end] = into[:, bottom - 1 : bottom, left:end]
    into[:, :, :left] = into[:, :, left : left + 1]
    into[:, :, end:] = into[:, :, end - 1 : end]


def _draw(generator: Generator, start: int, end: int, count: int) -> list[int]:
    """So many numbers from `start` to below `end`."""
    drawn: list[int] = torch.randint(start, end, (count,), generator=generator).tolist()
    return drawn


def augmentation(config: TrainConfig, generator: Generator) -> v2.Transform:
    """What the configuration asks for, on batches of N x 3 x H x W uint8."""
    steps: list[v2.Transform] = [
        MirrorAndShift(generator, flip=config.flip, shift=config.shift),
    ]
    if config.cutout:
        steps.append(Cutout(generator, share=config.cutout))
    return v2.Compose(steps)
