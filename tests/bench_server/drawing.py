"""Draws the one model and the pictures that every contender gets, from the seed in this file.

`campaign` has them made once for a run. With them goes what a picture has to be answered: the
probabilities that float32 PyTorch gives for Pillow's pixels.
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable, Sequence
from io import BytesIO
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image

from model_server.architectures import SimpleCNN
from tests.bench_server.material import CLASSES, Material, PictureSet
from tests.bench_server.peers import network as peers_network
from tests.server.artifacts import make_artifact

CHANNELS = (3, 32, 64, 128, 256)
SIDE = 128
MEAN, STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
SEED = 20_260_701
SPREAD = 0.5
"""Standard deviation of the difference of the two logits over pictures: no two answers alike.

And no more than that needs. Random weights weigh what is finest in a picture, which reduced
decoding changes, several times as much as trained ones do; with 1.0 the self-test refuses it, by
0.0115 of 0.01, where `make test-fidelity` finds 0.0013.
"""


def make(folder: Path, sets: Sequence[PictureSet], tell: Callable[[str], None]) -> Material:
    """Draw all of it into an empty folder."""
    material = Material(folder)
    drawn = {one.name: [draw(one, number) for number in range(one.count)] for one in sets}
    first = next(iter(drawn.values()))
    state = make_state([prepared(data) for data in first])
    torch.save(state, material.weights)
    shape = {"height": SIDE, "width": SIDE, "mean": list(MEAN), "std": list(STD)}
    make_artifact(
        material.artifact,
        state=state,
        architecture={"name": "SimpleCNN", "channels": list(CHANNELS)},
        classes=list(CLASSES),
        input=shape,
    )
    for one in sets:
        place = folder / one.name
        shutil.rmtree(place, ignore_errors=True)
        place.mkdir()
        for number, data in enumerate(drawn[one.name]):
            (place / f"{number:03d}.jpg").write_bytes(data)
        network = peers_network.load(material.weights)
        answers = [peers_network.classify(network, data) for data in drawn[one.name]]
        (place / "expected.json").write_text(json.dumps(answers))
        sizes = [len(data) / 1000 for data in drawn[one.name]]
        tell(f"  {one.count} pictures of {one.name}: {min(sizes):.0f} to {max(sizes):.0f} KB")
    return material


def prepared(data: bytes) -> torch.Tensor:
    """The network's input, 1 x 3 x H x W."""
    return peers_network.prepare(data)


def make_state(inputs: Sequence[torch.Tensor]) -> dict[str, torch.Tensor]:
    """Weights whose batch normalisation fits these inputs, and whose answers to them differ."""
    with torch.random.fork_rng():
        torch.manual_seed(SEED)
        network = SimpleCNN(CHANNELS, len(CLASSES))
        with torch.no_grad():
            for module in network.modules():
                if isinstance(module, torch.nn.BatchNorm2d):
                    module.momentum = None  # a plain average, over the one batch there is
            network.train()(torch.cat(list(inputs)))
            logits = network.eval()(torch.cat(list(inputs)))
            difference = logits[:, 1] - logits[:, 0]
            scale = SPREAD / float(difference.std())
            network.classifier.weight.mul_(scale)
            network.classifier.bias.mul_(scale)
            network.classifier.bias[1] -= float(difference.mean()) * scale
    return {name: value.clone() for name, value in network.state_dict().items()}


def draw(wanted: PictureSet, number: int) -> bytes:
    """One JPEG file with detail at every scale, as a photograph has it.

    Raises ValueError when it is no file of the set's range of sizes.
    """
    rng = np.random.default_rng([SEED, wanted.width, number])
    pixels = np.zeros((wanted.height, wanted.width, 3), dtype=np.int16)
    cells = 3
    while cells < wanted.width:
        rows = max(2, cells * wanted.height // wanted.width)
        octave = rng.normal(size=(rows, cells, 3)) + 1.5 * rng.normal(size=(rows, cells, 1))
        pixels += _enlarge(octave * 40 / cells**0.45, wanted.width, wanted.height)
        cells *= 2
    pixels += rng.integers(105, 150, size=3, dtype=np.int16)  # each has a colour of its own
    picture = Image.fromarray(pixels.clip(0, 255).astype(np.uint8), "RGB")
    buffer = BytesIO()
    picture.save(buffer, "JPEG", quality=int(rng.integers(86, 92)), subsampling="4:2:0")
    least, most = wanted.kilobytes
    if not least * 1000 <= buffer.tell() <= most * 1000:
        raise ValueError(f"picture {number} of {wanted.name} has {buffer.tell()} bytes")
    return buffer.getvalue()


def _enlarge(octave: NDArray[np.float64], width: int, height: int) -> NDArray[np.int16]:
    """Smoothly, on 8 bits: of 12 megapixels, Pillow takes a tenth of the time for those."""
    small = Image.fromarray((octave + 128).clip(0, 255).astype(np.uint8), "RGB")
    large = np.asarray(small.resize((width, height), Image.Resampling.BICUBIC))
    return large.astype(np.int16) - 128
