"""What computes: the port between a prediction and whatever runs the network.

An engine knows tensors and nothing else: no pictures, no labels, no web framework. `prediction`
calls it from several threads at once. `torch_engine` is the one there is.
"""

from __future__ import annotations

from typing import Protocol

from model_server.preprocessing import FloatArray


class Engine(Protocol):
    """Runs one network; safe to call from several threads at a time."""

    @property
    def name(self) -> str:
        """What runs the network, as logs show it."""
        ...

    def predict(self, batch: FloatArray) -> FloatArray:
        """Map N x 3 x H x W float32 to N x classes probabilities; each row sums to 1."""
        ...
