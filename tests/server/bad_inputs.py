"""What bad requests are made of, for the table in test_bad_inputs.py."""

from __future__ import annotations

import json
import struct
import zlib
from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from tests.server.artifacts import SIDE, encode, make_picture

JPEG = encode(make_picture())
PNG = encode(make_picture(), "PNG")
WEBP = encode(make_picture(), "WEBP")
INFER = "/v2/models/cats-dogs/infer"
VALUES = 3 * SIDE * SIDE

Body = bytes | AsyncIterator[bytes]


@dataclass(frozen=True)
class Bad:
    """One request, and the problem that it has to be answered with."""

    name: str
    status: int
    slug: str
    sentence: str
    """A part of the answer's `detail`."""
    body: Body = b""
    headers: Mapping[str, str] = field(default_factory=dict)
    path: str = "/predict"
    method: str = "POST"


def typed(content_type: str) -> dict[str, str]:
    return {"content-type": content_type}


def picture(
    name: str, body: bytes, sentence: str, status: int = 400, slug: str = "not-an-image"
) -> Bad:
    """Bytes sent as a JPEG: what they are is read from themselves."""
    return Bad(name, status, slug, sentence, body, typed("image/jpeg"))


def form(
    name: str,
    body: bytes,
    sentence: str,
    status: int = 400,
    slug: str = "malformed-request",
    boundary: str = "B",
) -> Bad:
    return Bad(
        name, status, slug, sentence, body, typed(f"multipart/form-data; boundary={boundary}")
    )


def part(content: bytes = JPEG, disposition: str = 'name="file"; filename="a"') -> bytes:
    head = f"--B\r\nContent-Disposition: form-data; {disposition}\r\n\r\n"
    return head.encode() + content + b"\r\n"


def in_json(
    name: str, content: Any, sentence: str, status: int = 422, slug: str = "invalid-request"
) -> Bad:
    body = content if isinstance(content, bytes) else json.dumps(content).encode()
    return Bad(name, status, slug, sentence, body, typed("application/json"))


def malformed_json(name: str, body: bytes, sentence: str) -> Bad:
    return in_json(name, body, sentence, 400, "malformed-request")


def v2(
    name: str,
    content: Any,
    sentence: str,
    status: int = 422,
    slug: str = "invalid-request",
    *,
    binary: bytes | None = None,
    length: str | None = None,
    path: str = INFER,
) -> Bad:
    """A request of the protocol; with `binary` behind the JSON and `length` as its header says."""
    body = content if isinstance(content, bytes) else json.dumps(content).encode()
    headers = typed("application/json")
    if binary is not None:
        headers = typed("application/octet-stream") | {
            "inference-header-content-length": str(len(body)) if length is None else length
        }
        body += binary
    return Bad(name, status, slug, sentence, body, headers, path)


def tensor(**fields: Any) -> dict[str, Any]:
    """A request with one good tensor but for `fields`; None takes a field away."""
    good = {"name": "input", "datatype": "FP32", "shape": [1, 3, SIDE, SIDE], "data": [0] * VALUES}
    return {"inputs": [{key: x for key, x in {**good, **fields}.items() if x is not None}]}


def image(size: int | None = None, **fields: Any) -> dict[str, Any]:
    """A request for one encoded picture; with `size` it is binary data."""
    given = {"parameters": {"binary_data_size": size}} if size is not None else {}
    good = {"name": "image", "datatype": "BYTES", "shape": [1], "data": None}
    return tensor(**{**good, **given, **fields})


def png(width: int, height: int, *chunks: tuple[bytes, bytes]) -> bytes:
    """A PNG with this header and these chunks, whatever they hold."""
    header = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    parts = [b"\x89PNG\r\n\x1a\n"]
    for kind, data in ((b"IHDR", header), *chunks, (b"IEND", b"")):
        parts += [struct.pack(">I", len(data)), kind, data]
        parts.append(struct.pack(">I", zlib.crc32(kind + data)))
    return b"".join(parts)


def png16(width: int = 8, height: int = 8) -> bytes:
    """A good PNG of 16 bits per channel, RGB, which Pillow cannot write."""
    rows = zlib.compress((b"\x00" + b"\x12\x34" * 3 * width) * height)
    made = bytearray(png(width, height, (b"IDAT", rows)))
    made[24] = 16
    made[29:33] = struct.pack(">I", zlib.crc32(made[12:29]))
    return bytes(made)


def webp_canvas(width: int, height: int) -> bytes:
    """An animated WebP of this canvas, with one frame of 64 x 64."""

    def chunk(kind: bytes, data: bytes) -> bytes:
        return kind + struct.pack("<I", len(data)) + data + b"\x00" * (len(data) % 2)

    def size(*sides: int) -> bytes:
        return b"".join((side - 1).to_bytes(3, "little") for side in sides)

    frame = size(1, 1, 64, 64, 101) + b"\x00" + WEBP[12:]
    header = chunk(b"VP8X", b"\x02\x00\x00\x00" + size(width, height))
    body = b"WEBP" + header + chunk(b"ANIM", bytes(6)) + chunk(b"ANMF", frame)
    return b"RIFF" + struct.pack("<I", len(body)) + body


def jpeg_of(width: int, height: int) -> bytes:
    """A JPEG whose frame header announces these sides."""
    at = JPEG.index(b"\xff\xc0") + 5
    return JPEG[:at] + struct.pack(">HH", height, width) + JPEG[at + 4 :]
