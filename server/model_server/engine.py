"""What computes: the port between a prediction and whatever runs the network.

An engine knows tensors and nothing else: no labels, no files, no web framework. `prediction`
calls it from several threads at once. `torch_engine`, `ncnn_engine`, `onnxruntime_engine` and
`openvino_engine` are those there are; `choosing` takes one.
"""

from __future__ import annotations

from typing import Protocol

from model_server.preprocessing import FloatArray, PixelArray


class Engine(Protocol):
    """Runs one network; safe to call from several threads at a time."""

    @property
    def name(self) -> str:
        """What runs the network, as logs show it."""
        ...

    def predict(self, batch: FloatArray) -> FloatArray:
        """Map N x 3 x H x W float32, normalised, to N x classes probabilities.

        Each row sums to 1.
        """
        ...

    def classify(self, pixels: PixelArray) -> FloatArray:
        """Map N x H x W x 3 uint8, RGB, to N x classes probabilities; each row sums to 1."""
        ...
