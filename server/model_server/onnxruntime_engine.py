"""The engine that runs a network in ONNX Runtime, from the extra `server-onnxruntime`.

The network is exported by torch, so it may be any module. The normalisation and the softmax are in
the graph. `choosing` makes it.
"""

from __future__ import annotations

import warnings
from io import BytesIO

import numpy as np
import onnxruntime
import torch
from torch import nn

from model_server.artifact import Input
from model_server.engine import Engine
from model_server.preprocessing import FloatArray, PixelArray
from model_server.torch_engine import PixelNetwork, example_pixels

_INPUT, _OUTPUT = "pixels", "probabilities"


class OnnxRuntimeEngine:
    """One session, which threads share; each call computes in the thread that makes it.

    Pixels alone: what is already a tensor goes to the engine that is given.
    """

    name = f"onnxruntime {onnxruntime.__version__}"

    def __init__(self, network: nn.Module, spec: Input, tensors: Engine) -> None:
        self.predict = tensors.predict
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = 1
        options.log_severity_level = 3
        self._session = onnxruntime.InferenceSession(
            _exported(PixelNetwork(network, spec).eval(), spec),
            options,
            providers=["CPUExecutionProvider"],
        )

    def classify(self, pixels: PixelArray) -> FloatArray:
        """See `Engine`."""
        fed = {_INPUT: np.ascontiguousarray(pixels)}
        [probabilities] = self._session.run([_OUTPUT], fed)
        result: FloatArray = probabilities
        return result


def _exported(network: nn.Module, spec: Input) -> bytes:
    """Return the network as ONNX, for any number of pictures.

    By torch's tracing exporter: the other one needs packages that the image does without.
    """
    content = BytesIO()
    with warnings.catch_warnings():  # torch's, that tracing is about to be replaced
        warnings.simplefilter("ignore")
        torch.onnx.export(
            network,
            (example_pixels(spec),),
            content,  # type: ignore[arg-type] # this exporter writes to a file as well
            input_names=[_INPUT],
            output_names=[_OUTPUT],
            dynamic_axes={_INPUT: {0: "pictures"}, _OUTPUT: {0: "pictures"}},
            dynamo=False,
        )
    return content.getvalue()
