"""The engine that runs a network in PyTorch on the CPU, and the network that takes pixels.

`choosing` makes them. In eager mode and float32 this engine is what the others are held to.
"""

from __future__ import annotations

import shutil

import numpy as np
import torch
from torch import Tensor, nn

from model_server.artifact import Input
from model_server.engine import Engine
from model_server.errors import EngineUnavailable
from model_server.preprocessing import FloatArray, PixelArray, Preprocessor

_COMPILERS = ("c++", "g++", "clang++")


class TorchEngine:
    """Softmax over the network's logits, one thread of torch's per call."""

    name = f"torch {torch.__version__}"

    def __init__(self, network: nn.Module, spec: Input) -> None:
        # Channels last is the order that the CPU's convolutions work in: 40% less time. (torch's
        # own types do not know this keyword.)
        self._network = network.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
        self._normalise = Preprocessor(spec).normalise
        # The parallelism is over requests: with more threads inside one they only get in each
        # other's way on the few CPUs of a pod.
        torch.set_num_threads(1)

    def predict(self, batch: FloatArray) -> FloatArray:
        """See `Engine`."""
        pictures = torch.from_numpy(batch).contiguous(memory_format=torch.channels_last)
        with torch.inference_mode():
            probabilities: FloatArray = self._network(pictures).softmax(1).numpy()
        return probabilities

    def classify(self, pixels: PixelArray) -> FloatArray:
        """See `Engine`."""
        return self.predict(self._normalise(pixels))


class PixelNetwork(nn.Module):
    """A network with the normalisation before it and the softmax behind it, to be exported.

    Takes N x H x W x 3 uint8, gives N x classes float32 probabilities.
    """

    def __init__(self, network: nn.Module, spec: Input) -> None:
        super().__init__()
        self.network = network
        # (x / 255 - mean) / std in one multiplication and one addition.
        self.scale = _per_channel(1 / (255 * np.array(spec.std)))
        self.shift = _per_channel(-np.array(spec.mean) / np.array(spec.std))

    def forward(self, pixels: Tensor) -> Tensor:
        """Return the probabilities, N x classes."""
        pictures = pixels.permute(0, 3, 1, 2).to(torch.float32)
        probabilities: Tensor = self.network(pictures * self.scale + self.shift).softmax(1)
        return probabilities


def example_pixels(spec: Input, count: int = 1) -> Tensor:
    """Return what a network is traced with: `count` x H x W x 3 uint8."""
    return torch.zeros((count, spec.height, spec.width, 3), dtype=torch.uint8)


class CompiledTorchEngine:
    """The same network, compiled for this processor by torch; that takes minutes at start-up.

    Pixels alone: what is already a tensor goes to the engine that is given.
    """

    name = f"torch {torch.__version__} compiled"

    def __init__(self, network: nn.Module, spec: Input, tensors: Engine) -> None:
        """Compile for one picture at a time.

        Raises:
            EngineUnavailable: there is no C++ compiler on this machine.

        """
        if not any(shutil.which(compiler) for compiler in _COMPILERS):
            raise EngineUnavailable("torch compiles with a C++ compiler, and none is installed")
        self.predict = tensors.predict
        self._compiled = torch.compile(PixelNetwork(network, spec).eval(), dynamic=False)
        self.classify(example_pixels(spec).numpy())  # compiles

    def classify(self, pixels: PixelArray) -> FloatArray:
        """See `Engine`."""
        pictures = torch.from_numpy(np.ascontiguousarray(pixels))
        with torch.inference_mode():
            rows = [self._compiled(picture[None]).numpy() for picture in pictures]
        return np.concatenate(rows)


def _per_channel(values: np.ndarray[tuple[int], np.dtype[np.float64]]) -> Tensor:
    return torch.tensor(values, dtype=torch.float32).reshape(1, 3, 1, 1)
