"""The network and its preprocessing as a user of PyTorch and Pillow writes them.

Every peer imports this in its own environment, where nothing of this project is installed.
`tests.bench_server.material` computes with it what each picture has to be answered.
"""

from __future__ import annotations

import io
import os
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image
from torch import nn

CHANNELS = (3, 32, 64, 128, 256)
CLASSES = ("cat", "dog")
SIDE = 128
MEAN = np.array((0.485, 0.456, 0.406), dtype=np.float32)
STD = np.array((0.229, 0.224, 0.225), dtype=np.float32)


class Block(nn.Module):
    def __init__(self, channels_in: int, channels_out: int) -> None:
        super().__init__()
        self.conv = nn.Conv2d(channels_in, channels_out, 3, padding=1, bias=False)
        self.norm = nn.BatchNorm2d(channels_out)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return nn.functional.max_pool2d(torch.relu(self.norm(self.conv(x))), 2)


class SimpleCNN(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        pairs = zip(CHANNELS, CHANNELS[1:])  # noqa: B905, RUF007 - peers may run older Pythons
        self.features = nn.Sequential(*(Block(a, b) for a, b in pairs))
        self.classifier = nn.Linear(CHANNELS[-1], len(CLASSES))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.classifier(self.features(x).mean(dim=(2, 3)))


def load(weights: Path | str | None = None) -> nn.Module:
    """The network with its weights; the file is `BENCH_WEIGHTS` unless it is given."""
    network = SimpleCNN()
    network.load_state_dict(torch.load(weights or os.environ["BENCH_WEIGHTS"], weights_only=True))
    return network.eval()


def prepare(data: bytes) -> torch.Tensor:
    """From a JPEG file to 1 x 3 x H x W."""
    return prepare_picture(Image.open(io.BytesIO(data)))


def prepare_picture(picture: Image.Image) -> torch.Tensor:
    """From a Pillow picture to 1 x 3 x H x W."""
    resized = picture.convert("RGB").resize((SIDE, SIDE), Image.Resampling.BILINEAR)
    pixels = (np.asarray(resized, dtype=np.float32) / 255 - MEAN) / STD
    return torch.from_numpy(np.ascontiguousarray(pixels.transpose(2, 0, 1))).unsqueeze(0)


def predict(network: nn.Module, inputs: torch.Tensor) -> list[list[float]]:
    """N x 3 x H x W to N lists of probabilities."""
    with torch.inference_mode():
        return network(inputs).softmax(1).tolist()


def classify(network: nn.Module, data: bytes) -> list[float]:
    """The probabilities of one JPEG file."""
    return predict(network, prepare(data))[0]


def answer(probabilities: list[float]) -> dict[str, Any]:
    """What peers put into their JSON."""
    best = max(range(len(CLASSES)), key=probabilities.__getitem__)
    return {"label": CLASSES[best], "probabilities": dict(zip(CLASSES, probabilities))}  # noqa: B905
