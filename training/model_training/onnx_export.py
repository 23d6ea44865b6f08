"""The network as ONNX, beside the weights: for runtimes that know no torch. Called by `export`.

The same network with the same input (N x 3 x H x W float32, normalised), any number of images at a
time; the output is the logits. What is written is proved before anyone gets it: ONNX Runtime must
answer as torch does.
"""

from __future__ import annotations

import importlib.util
import io
import warnings
from dataclasses import dataclass
from typing import Final

import numpy as np
import torch

from model_training.errors import ArtifactError
from model_training.manifest import Description
from model_training.model import SimpleCNN

OPSET: Final = 17
"""Old enough for every runtime of the last years."""
LARGEST_DIFFERENCE: Final = 1e-4
"""Of a probability: float32 sums in another order differ by less."""
CHECKED: Final = 64
"""Random images that both must answer alike."""
NEEDED: Final = ("onnx", "onnxruntime")


@dataclass(frozen=True)
class Onnx:
    """The file's bytes, and the largest difference of a probability from torch's."""

    content: bytes
    difference: float


def to_onnx(model: SimpleCNN, description: Description) -> Onnx:
    """The model as ONNX; ArtifactError when ONNX Runtime answers otherwise than torch."""
    refuse_without_packages()
    shape = (3, description.input.height, description.input.width)
    written = io.BytesIO()
    with warnings.catch_warnings():
        # The exporter that needs no further package is called old; the file is the same.
        warnings.simplefilter("ignore")
        torch.onnx.export(
            model.eval(),
            (torch.zeros(1, *shape),),
            written,  # type: ignore[arg-type]  # a stream is taken by this exporter
            dynamo=False,
            opset_version=OPSET,
            input_names=["images"],
            output_names=["logits"],
            dynamic_axes={"images": {0: "batch"}, "logits": {0: "batch"}},
        )
    return Onnx(written.getvalue(), _difference(model, written.getvalue(), shape))


def refuse_without_packages() -> None:
    """Raises ArtifactError where no ONNX can be written, before anybody has waited for it."""
    absent = [name for name in NEEDED if importlib.util.find_spec(name) is None]
    if absent:
        raise ArtifactError(
            f"{' and '.join(absent)} cannot be imported: install cv-factory with its extra"
            " [training]"
        )


def _difference(model: SimpleCNN, content: bytes, shape: tuple[int, ...]) -> float:
    """The largest difference of a probability, in batches and alone."""
    import onnx  # noqa: PLC0415 - heavy, and only needed here
    import onnxruntime  # noqa: PLC0415

    onnx.checker.check_model(onnx.load_from_string(content), full_check=True)
    session = onnxruntime.InferenceSession(content, providers=["CPUExecutionProvider"])
    random = torch.Generator().manual_seed(0)
    images = torch.randn(CHECKED, *shape, generator=random)
    largest = 0.0
    for batch in (images, images[:1]):
        with torch.inference_mode():
            expected = model(batch).softmax(1).numpy()
        (logits,) = session.run(None, {"images": batch.numpy()})
        powers = np.exp(logits - logits.max(axis=1, keepdims=True))
        found = powers / powers.sum(axis=1, keepdims=True)
        largest = max(largest, float(np.abs(found - expected).max()))
    if not largest <= LARGEST_DIFFERENCE:
        raise ArtifactError(
            f"ONNX Runtime's probabilities differ from torch's by up to {largest:.2g}"
            f" (at most {LARGEST_DIFFERENCE:g} is rounding): the model was not exported"
        )
    return largest
