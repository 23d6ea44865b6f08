"""The protocol's binary tensor data extension: tensors as bytes behind the JSON.

A body is a JSON header of `Inference-Header-Content-Length` bytes, followed by the data of each
tensor that says `binary_data_size`, in order. FP32 is little-endian, row by row; BYTES is each
element behind its length, a 4-byte little-endian integer. Source: Triton's
docs/protocol/extension_binary_data.md. `v2_protocol` calls this; it knows no web framework.
"""

from __future__ import annotations

import struct
from collections.abc import Iterable

from model_server.errors import InvalidRequest, MalformedRequest

MEDIA_TYPE = "application/octet-stream"
HEADER = "Inference-Header-Content-Length"

_LENGTH = struct.Struct("<I")


def split(body: bytes, header_length: str) -> tuple[bytes, bytes]:
    """Return the JSON header and the tensors' data behind it.

    Raises:
        MalformedRequest: `header_length`, as the header field says it, does not fit the body.

    """
    if not (header_length.isascii() and header_length.isdigit()):
        raise MalformedRequest(
            f"{HEADER} is not a number of bytes: send the length of the JSON header."
        )
    # Python refuses to read more than 4300 digits; no body is that long.
    length = int(header_length) if len(header_length) < 20 else len(body) + 1
    if length > len(body):
        raise MalformedRequest(
            f"{HEADER} is more than the body's {len(body)} bytes: send the length of the JSON"
            " header alone."
        )
    return body[:length], body[length:]


def read_elements(data: bytes, count: int) -> list[bytes]:
    """Return the `count` elements of a BYTES tensor.

    Raises:
        InvalidRequest: the lengths in `data` do not lead to its end in `count` steps.

    """
    elements: list[bytes] = []
    place = 0
    for index in range(count):
        if place + _LENGTH.size > len(data):
            raise InvalidRequest(
                f"The binary data ends before element {index + 1} of {count}: send each element"
                " behind its length, 4 bytes little-endian."
            )
        (length,) = _LENGTH.unpack_from(data, place)
        place += _LENGTH.size
        if place + length > len(data):
            raise InvalidRequest(
                f"Element {index + 1} of {count} says that it has {length} bytes, but"
                f" {len(data) - place} are left: lengths are 4 bytes little-endian."
            )
        elements.append(data[place : place + length])
        place += length
    if place != len(data):
        raise InvalidRequest(
            f"{len(data) - place} bytes follow the last of {count} elements: the shape has to"
            " count all of them."
        )
    return elements


def write_elements(elements: Iterable[bytes]) -> bytes:
    """Return the data of a BYTES tensor."""
    return b"".join(_LENGTH.pack(len(element)) + element for element in elements)
