"""SimpleCNN, the one architecture that artifacts name; called by training, evaluation and export.

The server has a definition of its own with the same parameter names: what joins the two is the
artifact, and the contract tests run one artifact through both.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Sequence
from itertools import pairwise
from typing import cast

from torch import Tensor, nn


def _block(channels_in: int, channels_out: int) -> nn.Sequential:
    """Halves height and width: N x c_in x H x W -> N x c_out x H/2 x W/2."""
    layers: list[tuple[str, nn.Module]] = [
        ("conv", nn.Conv2d(channels_in, channels_out, kernel_size=3, padding=1, bias=False)),
        ("norm", nn.BatchNorm2d(channels_out)),
        ("relu", nn.ReLU()),
        ("pool", nn.MaxPool2d(2)),
    ]
    return nn.Sequential(OrderedDict(layers))


class SimpleCNN(nn.Module):
    """Blocks of convolution, batch norm, ReLU and pooling, then a global average and a classifier.

    `channels` is what goes into each block and what comes out of the last: [3, 16, 32, 64] makes
    three blocks. It takes pictures of any height and width of at least 2 ** blocks pixels.
    """

    def __init__(self, channels: Sequence[int], classes: Sequence[str]) -> None:
        super().__init__()
        self.features = nn.Sequential(*(_block(*pair) for pair in pairwise(channels)))
        self.classifier = nn.Linear(channels[-1], len(classes))

    def forward(self, images: Tensor) -> Tensor:
        """N x 3 x H x W float32 RGB -> N x classes logits; probabilities are their softmax."""
        features = cast("Tensor", self.features(images))
        return cast("Tensor", self.classifier(features.mean(dim=(2, 3))))
