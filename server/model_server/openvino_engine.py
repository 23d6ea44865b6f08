"""The engine that runs a network in OpenVINO, from the extra `server-openvino`.

The network is traced by torch and read by OpenVINO's own frontend, so it may be any module. Its
shapes are static, one picture at a time, and the normalisation and the softmax are in the graph.
`choosing` makes it.
"""

from __future__ import annotations

import threading
import warnings
from pathlib import Path

import numpy as np
import openvino
from openvino.frontend import FrontEndManager
from openvino.frontend.pytorch.ts_decoder import TorchScriptPythonDecoder
from torch import nn

from model_server.artifact import Input
from model_server.engine import Engine
from model_server.errors import EngineUnavailable
from model_server.preprocessing import FloatArray, PixelArray
from model_server.torch_engine import PixelNetwork, example_pixels

_BFLOAT16_FLAGS = ("avx512_bf16", "amx_bf16", "bf16")
"""What Linux calls the processor's own bfloat16, on x86-64 and on arm64."""


class OpenVinoEngine:
    """The network compiled once for each thread that calls, in which it then computes.

    A network that is compiled for several computes in threads of OpenVINO's own; to hand over to
    them and back left a sixth of two processors idle. Pixels alone: what is already a tensor goes
    to the engine that is given.
    """

    def __init__(self, network: nn.Module, spec: Input, tensors: Engine, *, bfloat16: bool) -> None:
        """Convert it; it is compiled at a thread's first call.

        Raises:
            EngineUnavailable: bfloat16 is asked for, and this processor computes without it.

        """
        if bfloat16 and not has_bfloat16():
            raise EngineUnavailable("this processor has no bfloat16 of its own")
        precision = "bf16" if bfloat16 else "f32"
        self.name = f"openvino {openvino.__version__.split('-')[0]} {precision}"
        self.predict = tensors.predict
        self._converted = _converted(PixelNetwork(network, spec).eval(), spec)
        self._options = {
            "INFERENCE_PRECISION_HINT": precision,
            "NUM_STREAMS": 1,
            "INFERENCE_NUM_THREADS": 1,
            # Where a pod's threads run is for the kernel to say: pods share the processor.
            "ENABLE_CPU_PINNING": False,
        }
        self._compiling = threading.Lock()
        self._requests = threading.local()

    def classify(self, pixels: PixelArray) -> FloatArray:
        """See `Engine`."""
        return np.concatenate([self._one(picture) for picture in pixels])

    def _one(self, picture: PixelArray) -> FloatArray:
        try:
            request = self._requests.own
        except AttributeError:
            request = self._requests.own = self._compiled().create_infer_request()
        request.get_input_tensor().data[0] = picture
        request.infer()
        probabilities: FloatArray = request.get_output_tensor().data.copy()
        return probabilities

    def _compiled(self) -> openvino.CompiledModel:
        with self._compiling:
            return openvino.Core().compile_model(self._converted, "CPU", self._options)


def has_bfloat16(cpuinfo: Path = Path("/proc/cpuinfo")) -> bool:
    """Whether the processor computes with bfloat16 by itself; without it is slower than float32."""
    try:
        lines = cpuinfo.read_text().splitlines()
    except OSError:
        return False
    flags = {
        flag for line in lines if line.startswith(("flags", "Features")) for flag in line.split()
    }
    return not flags.isdisjoint(_BFLOAT16_FLAGS)


def _converted(network: nn.Module, spec: Input) -> openvino.Model:
    """Return OpenVINO's own form of the network.

    This is what `openvino.convert_model` does, without its reports of how it is used.
    """
    frontend = FrontEndManager().load_by_framework("pytorch")
    with warnings.catch_warnings():  # torch's, that tracing is about to be replaced
        warnings.simplefilter("ignore")
        decoder = TorchScriptPythonDecoder(network, example_input=(example_pixels(spec),))
    model = frontend.convert(frontend.load(decoder))
    model.reshape([1, spec.height, spec.width, 3])
    return model
