"""The engine that runs a network in eager PyTorch on the CPU. `loading` makes it."""

from __future__ import annotations

import torch
from torch import nn

from model_server.preprocessing import FloatArray


class TorchEngine:
    """Softmax over the network's logits, one thread of torch's per call."""

    name = f"torch {torch.__version__}"

    def __init__(self, network: nn.Module) -> None:
        # Channels last is the order that the CPU's convolutions work in: 40% less time. (torch's
        # own types do not know this keyword.)
        self._network = network.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
        # The parallelism is over requests: with more threads inside one they only get in each
        # other's way on the few CPUs of a pod.
        torch.set_num_threads(1)

    def predict(self, batch: FloatArray) -> FloatArray:
        """Map N x 3 x H x W float32 to N x classes probabilities; each row sums to 1."""
        pictures = torch.from_numpy(batch).contiguous(memory_format=torch.channels_last)
        with torch.inference_mode():
            probabilities: FloatArray = self._network(pictures).softmax(1).numpy()
        return probabilities
