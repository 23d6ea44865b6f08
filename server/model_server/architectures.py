"""The networks that an artifact may name, as the server builds them.

The training package has its own definitions: the packages share no code, and tests/contract feeds
both the same weights. `weights` builds one of these for the manifest of a verified artifact.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

from torch import Tensor, nn
from torch.nn import functional

from model_server.artifact import Manifest


class ResidualUnit(nn.Module):
    """Two convolutions, normalised, whose result is added to what went in."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(channels, channels, kernel_size=3, padding=1, bias=False)
        self.norm1 = nn.BatchNorm2d(channels)
        self.conv2 = nn.Conv2d(channels, channels, kernel_size=3, padding=1, bias=False)
        self.norm2 = nn.BatchNorm2d(channels)

    def forward(self, features: Tensor) -> Tensor:
        """Map N x channels x H x W to the same shape."""
        change = self.norm2(self.conv2(functional.relu(self.norm1(self.conv1(features)))))
        return functional.relu(features + change)


class Block(nn.Module):
    """Convolution, batch normalisation, ReLU, a pooling that halves both sides, and `depth`
    residual units.
    """

    def __init__(self, channels_in: int, channels_out: int, depth: int) -> None:
        super().__init__()
        self.conv = nn.Conv2d(channels_in, channels_out, kernel_size=3, padding=1, bias=False)
        self.norm = nn.BatchNorm2d(channels_out)
        self.units = nn.Sequential(*(ResidualUnit(channels_out) for _ in range(depth)))

    def forward(self, pictures: Tensor) -> Tensor:
        """Map N x channels_in x H x W to N x channels_out x H/2 x W/2."""
        features = functional.relu(self.norm(self.conv(pictures)))
        result: Tensor = self.units(functional.max_pool2d(features, 2))
        return result


class SimpleCNN(nn.Module):
    """Blocks of convolutions, an average over the picture, one linear layer.

    Takes N x 3 x H x W float32, gives N x classes logits.
    """

    def __init__(self, channels: Sequence[int], classes: int, depth: int = 0) -> None:
        super().__init__()
        self.features = nn.Sequential(*(Block(a, b, depth) for a, b in pairwise(channels)))
        self.classifier = nn.Linear(channels[-1], classes)

    def forward(self, pictures: Tensor) -> Tensor:
        """Return the logits, N x classes."""
        features: Tensor = self.features(pictures)
        logits: Tensor = self.classifier(features.mean(dim=(2, 3)))
        return logits


def build(manifest: Manifest) -> nn.Module:
    """Return the network that `manifest` describes, with weights yet to be loaded."""
    architecture = manifest.architecture
    return SimpleCNN(architecture.channels, len(manifest.classes), architecture.depth)
