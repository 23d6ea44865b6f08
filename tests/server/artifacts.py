"""Artifacts and pictures for the server's tests, made in place: small, real, always the same."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image
from safetensors.torch import save_file

from model_server.architectures import SimpleCNN

CHANNELS = (3, 8, 16)
CLASSES = ("cat", "dog")
SIDE = 32

State = dict[str, torch.Tensor]


def make_state(channels: tuple[int, ...] = CHANNELS, classes: int = len(CLASSES)) -> State:
    """The weights of a SimpleCNN that answers differently to different pictures."""
    with torch.random.fork_rng():
        torch.manual_seed(7)
        network = SimpleCNN(channels, classes)
        network.train()(torch.randn(16, 3, SIDE, SIDE))  # gives batch norm statistics of its own
        with torch.no_grad():
            network.classifier.weight.mul_(6)
    return {name: value.clone() for name, value in network.state_dict().items()}


def make_artifact(
    folder: Path,
    *,
    state: State | None = None,
    weights_name: str = "model.safetensors",
    write_weights: Callable[[Path], None] | None = None,
    **manifest: Any,
) -> Path:
    """Write an artifact; keyword arguments replace keys of model.json."""
    folder.mkdir(parents=True, exist_ok=True)
    weights = folder / weights_name
    tensors = make_state() if state is None else state
    if write_weights is not None:
        write_weights(weights)
    elif weights.suffix == ".pt":
        torch.save(tensors, weights)
    else:
        save_file(tensors, weights)
    content = {
        "format_version": 1,
        "name": "cats-dogs",
        "architecture": {"name": "SimpleCNN", "channels": list(CHANNELS)},
        "classes": list(CLASSES),
        "input": {"height": SIDE, "width": SIDE, "mean": [0.5, 0.4, 0.3], "std": [0.5, 0.6, 0.7]},
        "weights": {
            "file": weights_name,
            "sha256": hashlib.sha256(weights.read_bytes()).hexdigest(),
        },
        "metrics": {"test_accuracy": 0.99, "test_images": 200},
        **manifest,
    }
    text = json.dumps(content, indent=2, sort_keys=True) + "\n"
    (folder / "model.json").write_text(text)
    return folder


def make_picture(seed: int = 0, width: int = 64, height: int = 64) -> Image.Image:
    """A smooth coloured pattern, another for each seed."""
    rng = np.random.default_rng(seed)
    small = Image.fromarray(rng.integers(0, 256, (6, 6, 3), dtype=np.uint8), "RGB")
    return small.resize((width, height), Image.Resampling.BICUBIC)


def encode(picture: Image.Image, format_name: str = "JPEG", **options: Any) -> bytes:
    """The bytes of a picture file."""
    buffer = BytesIO()
    picture.save(buffer, format_name, **options)
    return buffer.getvalue()
