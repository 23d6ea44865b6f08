"""What training does to a batch before the network sees it: torchvision transforms (v2).

Called by the loader. The transforms of torchvision draw once for a whole batch; these draw for each
picture, all of a batch in a few operations: a transform per picture costs more than the network's
own step on small pictures. They draw from a generator of their own, so that what an epoch sees
follows from the seed and its number alone.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Generator, Tensor

from model_training.config import TrainConfig
from model_training.torchvision_compat import v2

BLANK = 128
"""What cutout leaves: the middle of 0..255, which is 0 once it is normalised."""


class MirrorAndShift(v2.Transform):  # type: ignore[misc]  # torchvision has no types
    """Mirrors and shifts every picture by itself, N x 3 x H x W uint8 -> the same.

    What a shift uncovers repeats the picture's edge. One gather does the whole batch.
    """

    def __init__(self, generator: Generator, *, flip: bool, shift: float) -> None:
        super().__init__()
        self.generator, self.flip, self.shift = generator, flip, shift

    def transform(self, inpt: Tensor, params: dict[str, Any]) -> Tensor:  # noqa: ARG002 - the API's
        """The pictures, moved."""
        count, _, height, width = inpt.shape
        rows, columns = self._source(count, height), self._source(count, width)
        if self.flip:
            mirrored = torch.rand(count, 1, generator=self.generator) < 0.5
            columns = torch.where(mirrored, width - 1 - columns, columns)
        pictures = torch.arange(count)[:, None, None]
        # Indexing with the colours as a slice between puts them last: N x H x W x 3.
        taken = inpt[pictures, :, rows[:, :, None], columns[:, None, :]]
        return taken.permute(0, 3, 1, 2)

    def _source(self, count: int, length: int) -> Tensor:
        """The row or column that each one of the result is taken from, N x length."""
        reach = int(length * self.shift)
        offsets = torch.randint(-reach, reach + 1, (count, 1), generator=self.generator)
        return (torch.arange(length) + offsets).clamp(0, length - 1)


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
        hidden = rows[:, None, :, None] & columns[:, None, None, :]
        return torch.where(hidden, torch.tensor(BLANK, dtype=torch.uint8), inpt)

    def _hidden(self, count: int, length: int) -> Tensor:
        """Which rows or columns the square covers, N x length."""
        side = max(1, round(length * self.share))
        centre = torch.randint(0, length, (count, 1), generator=self.generator)
        start = centre - side // 2
        position = torch.arange(length)
        return (position >= start) & (position < start + side)


def augmentation(config: TrainConfig, generator: Generator) -> v2.Transform:
    """What the configuration asks for, on batches of N x 3 x H x W uint8."""
    steps: list[v2.Transform] = [
        MirrorAndShift(generator, flip=config.flip, shift=config.shift),
    ]
    if config.cutout:
        steps.append(Cutout(generator, share=config.cutout))
    return v2.Compose(steps)
