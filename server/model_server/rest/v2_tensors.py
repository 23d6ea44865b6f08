"""The two inputs that a model takes by the protocol, read from JSON or from binary data.

`v2_protocol` calls `read_input` with one entry of a request's `inputs`. Shapes are judged before
any data is touched. It knows no web framework.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from itertools import chain
from typing import Any, TypeAlias

import numpy as np

from model_server.errors import InvalidRequest, TooManyImages
from model_server.preprocessing import FloatArray
from model_server.rest import v2_binary
from model_server.rest.strict_json import base64_bytes, kind_of, shown

IMAGE, INPUT = "image", "input"
DATATYPES = {IMAGE: "BYTES", INPUT: "FP32"}

Images: TypeAlias = list[bytes]


@dataclass(frozen=True, slots=True)
class Limits:
    """What a tensor has to fit."""

    picture: tuple[int, int, int]
    """Channels, height and width of the network's input."""
    max_images: int
    """The most pictures in one request."""


def read_input(tensor: dict[str, Any], binary: bytes, limits: Limits) -> Images | FloatArray:
    """Return the encoded pictures of `image`, or the N x 3 x H x W tensor of `input`.

    `binary` is all that follows the JSON header, which one tensor has for itself.

    Raises:
        InvalidRequest: name, datatype, shape and data do not fit the model, or each other.
        TooManyImages: the shape has more pictures than one request may.

    """
    name = tensor.get("name")
    if not isinstance(name, str) or name not in DATATYPES:
        raise InvalidRequest(
            f"The input's name is {shown(name) if isinstance(name, str) else kind_of(name)}: send"
            f" `{IMAGE}` (BYTES, encoded pictures) or `{INPUT}` (FP32, a normalised tensor)."
        )
    if tensor.get("datatype") != DATATYPES[name]:
        raise InvalidRequest(f"The datatype of `{name}` has to be {DATATYPES[name]!r}.")
    shape = _shape(tensor, name, limits)
    raw = _binary_data(tensor, name, binary)
    if name == IMAGE:
        return _images(tensor, shape[0]) if raw is None else v2_binary.read_elements(raw, shape[0])
    return _floats(tensor["data"], shape) if raw is None else _floats_of_bytes(raw, shape)


def _shape(tensor: dict[str, Any], name: str, limits: Limits) -> tuple[int, ...]:
    rest = limits.picture if name == INPUT else ()
    expected = f"[{', '.join(['N', *map(str, rest)])}]"
    shape = tensor.get("shape")
    if not isinstance(shape, list) or set(map(type, shape)) != {int}:
        raise InvalidRequest(f"The shape of `{name}` has to be a list of integers, {expected}.")
    if len(shape) != 1 + len(rest) or tuple(shape[1:]) != rest or shape[0] < 1:
        raise InvalidRequest(
            f"The shape of `{name}` is {shown(str(shape))[1:-1]}: this model takes {expected} with"
            " N from 1."
        )
    if shape[0] > limits.max_images:
        raise TooManyImages(
            f"The shape of `{name}` has {shape[0]} pictures, more than {limits.max_images}: send"
            " them in several requests."
        )
    return tuple(shape)


def _binary_data(tensor: dict[str, Any], name: str, binary: bytes) -> bytes | None:
    """Return the tensor's binary data, None where its data is in the JSON."""
    parameters = tensor.get("parameters")
    size = None if parameters is None else parameters.get("binary_data_size")
    if size is None:
        if "data" not in tensor:
            raise InvalidRequest(f"`{name}` has no data: send `data`, or binary data and its size.")
        if binary:
            raise InvalidRequest(
                f"{len(binary)} bytes follow the JSON, but `{name}` has no `binary_data_size`:"
                " send it as a parameter of the input."
            )
        return None
    if "data" in tensor:
        raise InvalidRequest(f"`{name}` has both `data` and binary data: send one of them.")
    if type(size) is not int or size != len(binary):
        raise InvalidRequest(
            f"The `binary_data_size` of `{name}` has to be the number of bytes that follow the"
            f" JSON, {len(binary)}."
        )
    return binary


def _images(tensor: dict[str, Any], count: int) -> Images:
    data = tensor["data"]
    if not isinstance(data, list) or set(map(type, data)) - {str}:
        raise InvalidRequest(f"The data of `{IMAGE}` has to be a list of base64 strings.")
    if len(data) != count:
        raise InvalidRequest(
            f"The shape of `{IMAGE}` has {count} elements, but its data {len(data)}."
        )
    return [base64_bytes(text, f"`data[{index}]`") for index, text in enumerate(data)]


def _floats(data: Any, shape: tuple[int, ...]) -> FloatArray:
    """Return the tensor of `data`, which is nested as `shape` says, or flat."""
    problem = InvalidRequest(
        f"The data of `{INPUT}` has to be {math.prod(shape)} numbers, flat or nested as"
        f" {list(shape)}."
    )
    if not isinstance(data, list):
        raise problem
    leaves: list[Any] = data
    if data and isinstance(data[0], list):
        if len(data) != shape[0]:
            raise problem
        for size in shape[1:]:
            if any(type(item) is not list or len(item) != size for item in leaves):
                raise problem
            leaves = list(chain.from_iterable(leaves))
    if len(leaves) != math.prod(shape) or set(map(type, leaves)) - {int, float}:
        raise problem
    with np.errstate(over="ignore"):  # what float32 cannot hold becomes infinite, and is refused
        return np.array(leaves, dtype=np.float32).reshape(shape)


def _floats_of_bytes(data: bytes, shape: tuple[int, ...]) -> FloatArray:
    expected = 4 * math.prod(shape)
    if len(data) != expected:
        raise InvalidRequest(
            f"The binary data of `{INPUT}` has {len(data)} bytes, but float32 of the shape"
            f" {list(shape)} has {expected}."
        )
    return np.frombuffer(data, dtype="<f4").astype(np.float32).reshape(shape)
