"""A small picture, made on the spot: `smoke` and `load` need no file."""

from __future__ import annotations

import struct
import zlib

SIDE = 64


def png(side: int = SIDE) -> bytes:
    """A square PNG with a colour gradient, 8 bits RGB (PNG specification, sections 5 and 11)."""
    rows = b"".join(
        b"\0" + bytes(v for x in range(side) for v in (255 * x // side, 255 * y // side, 128))
        for y in range(side)
    )
    header = struct.pack(">IIBBBBB", side, side, 8, 2, 0, 0, 0)
    chunks = ((b"IHDR", header), (b"IDAT", zlib.compress(rows)), (b"IEND", b""))
    return b"\x89PNG\r\n\x1a\n" + b"".join(_chunk(kind, data) for kind, data in chunks)


def _chunk(kind: bytes, data: bytes) -> bytes:
    checksum = zlib.crc32(kind + data)
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", checksum)
