"""The weights of a verified artifact, loaded into the network that its manifest names.

`loading` calls this once at start-up. Tensors only: a safetensors file, or a state dict read with
`weights_only=True`, so no byte of an artifact is ever executed.
"""

from __future__ import annotations

import pickle
import struct
import warnings
import zipfile
from collections.abc import Iterable, Mapping
from io import BytesIO

import torch
from safetensors import SafetensorError
from safetensors.torch import load
from torch import Tensor, nn

from model_server import architectures
from model_server.artifact import Artifact
from model_server.errors import WeightsRefused

# What torch and safetensors raise for bytes that are no weights of theirs, found by changing bytes.
_UNREADABLE = (
    SafetensorError,
    OSError,
    EOFError,
    RuntimeError,
    ArithmeticError,
    AssertionError,
    AttributeError,
    LookupError,
    MemoryError,
    TypeError,
    ValueError,
    struct.error,
    zipfile.BadZipFile,
)
_ZIP = b"PK\x03\x04"


def load_network(artifact: Artifact) -> nn.Module:
    """Return the artifact's network with its weights, in evaluation mode.

    Raises:
        ArtifactRefused: the file cannot be read.
        WeightsRefused: it changed after it was verified, it is not a state dict of tensors, its
            names or shapes do not fit the architecture, or a value is not finite.

    """
    with torch.device("meta"):  # shapes alone: what model.json asks for may not fit the memory
        network = architectures.build(artifact.manifest)
    state = _read(artifact)
    _check_fit(state, network.state_dict())
    _check_finite(state)
    # The tensors themselves, not copies: half the memory, and torch's own way from a meta tensor to
    # a real one needs sympy, which the image does without.
    network.load_state_dict(state, assign=True)
    return network.eval()


def _read(artifact: Artifact) -> Mapping[str, Tensor]:
    """Parse the very bytes that are hashed: a mapped file could still change under the tensors.

    The file's bytes and the tensors are in memory together for a moment: twice the file.
    """
    name = artifact.manifest.weights.file
    content = artifact.read_weights()
    try:
        if name.endswith(".safetensors"):
            tensors: dict[str, Tensor] = load(content)
            return tensors
        _check_unpacked(name, content)
        with warnings.catch_warnings():  # of torch's, about how a file was made that it then reads
            warnings.simplefilter("ignore")
            state: object = torch.load(BytesIO(content), map_location="cpu", weights_only=True)
    except _UNREADABLE as error:
        raise WeightsRefused(
            f"{name} cannot be read as weights: export the model again."
        ) from error
    except pickle.UnpicklingError as error:
        raise WeightsRefused(
            f"{name} holds more than tensors, and pickled code is never run: export the model"
            " as safetensors, or save its state_dict() alone."
        ) from error
    if not isinstance(state, Mapping) or not all(
        isinstance(name, str) and isinstance(value, Tensor) for name, value in state.items()
    ):
        raise WeightsRefused(
            f"{name} is not a state dict of named tensors: save the model's state_dict()."
        )
    _check_own_numbers(name, content, state.values())
    return state


def _check_unpacked(name: str, content: bytes) -> None:
    """Refuse a zip that unpacks to more than it has: torch would, and it never writes one."""
    if not content.startswith(_ZIP):
        return
    with zipfile.ZipFile(BytesIO(content)) as archive:
        unpacked = sum(info.file_size for info in archive.infolist())
    if unpacked > len(content):
        raise WeightsRefused(
            f"{name} has {len(content)} bytes and unpacks to {unpacked}, which torch.save never"
            " writes: save the model's state_dict() again."
        )


def _check_own_numbers(name: str, content: bytes, tensors: Iterable[Tensor]) -> None:
    """Refuse tensors that share their numbers: few bytes then stand for any shape, and the first
    look at all of its numbers would fill the memory.
    """
    taken = sum(tensor.numel() * tensor.element_size() for tensor in tensors)
    if taken > len(content):
        raise WeightsRefused(
            f"{name} has {len(content)} bytes, but its tensors take {taken}: some share their"
            " numbers; save a state_dict() whose tensors are all contiguous."
        )


def _check_fit(state: Mapping[str, Tensor], wanted: Mapping[str, Tensor]) -> None:
    """Compare names, shapes and kinds of numbers before anything is copied."""
    missing, unknown = sorted(wanted.keys() - state.keys()), sorted(state.keys() - wanted.keys())
    if missing or unknown:
        wrong = f"{missing[0]} is missing" if missing else f"{unknown[0]} is unknown"
        raise WeightsRefused(
            f"The weights do not fit the architecture in model.json: {wrong}"
            f" ({len(missing)} missing, {len(unknown)} unknown); export the model again."
        )
    for name, tensor in wanted.items():
        found = "a tensor without data" if state[name].is_meta else _kind(state[name])
        if found != _kind(tensor):
            raise WeightsRefused(
                f"The weights do not fit the architecture in model.json: {name} is"
                f" {found}, but {_kind(tensor)} is needed; export the model again."
            )


def _check_finite(state: Mapping[str, Tensor]) -> None:
    for name, tensor in state.items():
        if not torch.isfinite(tensor).all():
            raise WeightsRefused(
                f"The weights hold NaN or infinite values in {name}: the training diverged; train"
                " again and register that model."
            )


def _kind(tensor: Tensor) -> str:
    """Return the numbers' type and the shape, as the message shows them: `float32 16x8x3x3`."""
    if tensor.layout != torch.strided or tensor.is_nested or tensor.is_quantized:
        return "a tensor of another layout"
    return f"{str(tensor.dtype).removeprefix('torch.')} {'x'.join(map(str, tensor.shape)) or '()'}"
