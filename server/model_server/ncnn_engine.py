"""The engine that runs a network in ncnn, from the extra `server-ncnn`.

Its convolutions of 3 x 3 take Winograd's way, with less than half of the multiplications: Lavin and
Gray, "Fast Algorithms for Convolutional Neural Networks" (2015). `choosing` makes it.
"""

from __future__ import annotations

import ncnn
import numpy as np
from torch import nn

from model_server import ncnn_graph
from model_server.artifact import Input
from model_server.engine import Engine
from model_server.errors import EngineUnavailable
from model_server.preprocessing import FloatArray, PixelArray


class NcnnEngine:
    """One network, which threads share; each call computes in the thread that makes it.

    Pixels alone: what is already a tensor goes to the engine that is given.
    """

    name = f"ncnn {ncnn.__version__}"

    def __init__(self, network: nn.Module, spec: Input, tensors: Engine) -> None:
        """Write it for ncnn, and have it read.

        Raises:
            EngineUnavailable: it has an operation that is not written for ncnn, or ncnn refuses it.

        """
        self.predict = tensors.predict
        self._mean = [255 * mean for mean in spec.mean]
        self._scale = [1 / (255 * std) for std in spec.std]
        layers, self._weights = ncnn_graph.write(network)
        self._network = ncnn.Net()
        options = self._network.opt
        options.num_threads = 1
        options.use_vulkan_compute = False
        # Half precision, which is on where the processor has it: what is named is float32.
        options.use_fp16_packed = options.use_fp16_storage = options.use_fp16_arithmetic = False
        options.use_bf16_storage = False
        if self._network.load_param_mem(layers):
            raise EngineUnavailable("ncnn does not read what was written for it")
        self._network.load_model_mem(self._weights)  # which it does not copy

    def classify(self, pixels: PixelArray) -> FloatArray:
        """See `Engine`."""
        return np.stack([self._one(picture) for picture in pixels])

    def _one(self, picture: PixelArray) -> FloatArray:
        height, width, _ = picture.shape
        given = ncnn.Mat.from_pixels(
            np.ascontiguousarray(picture), ncnn.Mat.PixelType.PIXEL_RGB, width, height
        )
        given.substract_mean_normalize(self._mean, self._scale)
        extractor = self._network.create_extractor()
        extractor.input(ncnn_graph.INPUT, given)
        _, probabilities = extractor.extract(ncnn_graph.OUTPUT)
        return np.array(probabilities, np.float32)
