"""SimpleCNN, the one family of networks that artifacts name; called by training and export.

The server has a definition of its own with the same parameter names: what joins the two is the
artifact, and the contract tests run one artifact through both.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Sequence
from itertools import pairwise
from typing import cast

from torch import Tensor, nn
from torch.nn import functional


def _convolution(channels_in: int, channels_out: int) -> nn.Conv2d:
    return nn.Conv2d(channels_in, channels_out, kernel_size=3, padding=1, bias=False)


class ResidualUnit(nn.Module):
    """Two convolutions whose result is added to what went in; it keeps the shape.

    conv-norm-ReLU-conv-norm, the sum, ReLU: the basic block of He et al., "Deep Residual Learning
    for Image Recognition" (2015).
    """

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.conv1 = _convolution(channels, channels)
        self.norm1 = nn.BatchNorm2d(channels)
        self.conv2 = _convolution(channels, channels)
        self.norm2 = nn.BatchNorm2d(channels)

    def forward(self, features: Tensor) -> Tensor:
        """N x c x H x W -> the same shape."""
        inner = functional.relu(self.norm1(self.conv1(features)))
        return functional.relu(features + self.norm2(self.conv2(inner)))


def _block(channels_in: int, channels_out: int, depth: int) -> nn.Sequential:
    """Halves height and width: N x c_in x H x W -> N x c_out x H/2 x W/2."""
    layers: list[tuple[str, nn.Module]] = [
        ("conv", _convolution(channels_in, channels_out)),
        ("norm", nn.BatchNorm2d(channels_out)),
        ("relu", nn.ReLU()),
        ("pool", nn.MaxPool2d(2)),
    ]
    if depth:
        units = (ResidualUnit(channels_out) for _ in range(depth))
        layers.append(("units", nn.Sequential(*units)))
    return nn.Sequential(OrderedDict(layers))


class SimpleCNN(nn.Module):
    """Blocks that see ever more of the picture, then a global average and a linear classifier.

    A block is convolution, batch norm, ReLU, a pooling that halves both sides, and behind it, where
    they cost a quarter of what they would before it, `depth` residual units. `channels` is what
    goes into each block and what comes out of the last: [3, 16, 32, 64] makes three blocks. It
    takes pictures of any height and width of at least 2 ** blocks pixels.
    """

    def __init__(self, channels: Sequence[int], classes: Sequence[str], depth: int = 0) -> None:
        super().__init__()
        self.features = nn.Sequential(*(_block(*pair, depth) for pair in pairwise(channels)))
        self.classifier = nn.Linear(channels[-1], len(classes))

    def forward(self, images: Tensor) -> Tensor:
        """N x 3 x H x W float32 RGB -> N x classes logits; probabilities are their softmax."""
        features = cast("Tensor", self.features(images))
        return cast("Tensor", self.classifier(features.mean(dim=(2, 3))))
