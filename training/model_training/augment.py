"""What training does to a batch before the network sees it: torchvision transforms (v2), which
change the pictures, and CutMix, which changes what they show as well.

Called by the loader. The transforms of torchvision draw once for a whole batch, and from torch's
one generator; these draw for each picture of it (CutMix its rectangle for the batch), and from a
generator of their own, so that what an epoch sees follows from the seed and its number alone. They
work in NumPy: torch would do it with as many threads as the network has, beside which the loader's
thread works.
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

MIDDLE = 128
"""Of 0..255, which is 0 once it is normalised: what cutout leaves, and contrast turns around."""


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
            picture[:, hidden_rows, hidden_columns] = MIDDLE
        return torch.from_numpy(pictures)

    def _hidden(self, count: int, length: int) -> list[slice]:
        """Which rows or columns the square of each picture covers."""
        side = max(1, round(length * self.share))
        starts = (centre - side // 2 for centre in _draw(self.generator, 0, length, count))
        return [slice(max(0, start), start + side) for start in starts]


class ColorJitter(v2.Transform):  # type: ignore[misc]  # torchvision has no types
    """Changes the contrast, brightness and colour balance of every picture by itself,
    N x 3 x H x W uint8 -> the same.

    A channel's contrast is multiplied by exp(-1.5 `strength`) to exp(1.5 `strength`), and its
    brightness goes up or down by up to 1.25 `strength` of half the range of values. Two thirds of
    the exponents and four fifths of the steps are common to the channels.
    """

    def __init__(self, generator: Generator, *, strength: float) -> None:
        super().__init__()
        self.generator, self.strength = generator, strength

    def transform(self, inpt: Tensor, params: dict[str, Any]) -> Tensor:  # noqa: ARG002 - the API's
        """The pictures in other colours."""
        count = len(inpt)
        contrast = np.exp(self._draws(count, 1) + self._draws(count, 3) / 2)
        brightness = self._draws(count, 1) + self._draws(count, 3) / 4
        # N x 3 x 256: what becomes of each value. Looked up, it costs a third of the sums.
        values = np.arange(256, dtype=np.float32) - MIDDLE
        tables = values * contrast[:, :, None] + MIDDLE * (1 + brightness[:, :, None])
        tables = np.rint(tables).clip(0, 255).astype(np.uint8)
        pictures = inpt.numpy()
        coloured = np.empty_like(pictures)
        for picture, into, channels in zip(pictures, coloured, tables, strict=True):
            for channel, result, table in zip(picture, into, channels, strict=True):
                np.take(table, channel, out=result)
        return torch.from_numpy(coloured)

    def _draws(self, *shape: int) -> NDArray[np.float32]:
        """Numbers from -`strength` to `strength`."""
        drawn: NDArray[np.float32] = torch.rand(shape, generator=self.generator).numpy()
        return (2 * drawn - 1) * np.float32(self.strength)


class CutMix:
    """Fills a rectangle of every picture of a batch with another one's; the target says how much.

    It does so with a share of the batches. The rectangle is the same in the whole batch, and its
    area uniform before what lies beyond the edge is cut off: Yun et al., "CutMix: Regularization
    Strategy to Train Strong Classifiers with Localizable Features" (2019).
    """

    def __init__(self, generator: Generator, *, share: float) -> None:
        self.generator, self.share = generator, share

    def __call__(self, pixels: Tensor, targets: Tensor) -> tuple[Tensor, Tensor]:
        """N x 3 x H x W uint8 and N x classes float32 -> the same."""
        chosen, area = torch.rand(2, generator=self.generator).tolist()
        if chosen >= self.share:
            return pixels, targets
        count, _, height, width = pixels.shape
        others = torch.randperm(count, generator=self.generator).numpy()
        rows, columns = self._side(height, area), self._side(width, area)
        pictures, shown = pixels.numpy(), targets.numpy()
        mixed = pictures.copy()
        mixed[:, :, rows, columns] = pictures[others, :, rows, columns]
        covered = (rows.stop - rows.start) * (columns.stop - columns.start) / (height * width)
        share = np.float32(covered)
        return torch.from_numpy(mixed), torch.from_numpy(shown + share * (shown[others] - shown))

    def _side(self, length: int, area: float) -> slice:
        """Which rows or columns; those beyond the edge are left out."""
        side = round(length * area**0.5)
        (centre,) = _draw(self.generator, 0, length, 1)
        start = centre - side // 2
        return slice(max(0, start), min(length, start + side))


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
    if config.color_jitter:
        steps.append(ColorJitter(generator, strength=config.color_jitter))
    if config.cutout:
        steps.append(Cutout(generator, share=config.cutout))
    return v2.Compose(steps)
