"""How much of an image goes over the network: its size as registries keep it, compressed.

Called by the image builder. Layers are compressed by gzip, as Docker and buildah push them.
"""

from __future__ import annotations

import tempfile
import zlib
from pathlib import Path

from dev.images.engines import Engine
from dev.images.folder import folder

_CHUNK = 1 << 20
_MEGABYTE = 1_000_000


def compressed_megabytes(engine: Engine, reference: str) -> float:
    """All layers of an image of this machine, the base's included."""
    with tempfile.TemporaryDirectory(prefix="size-", dir=folder()) as scratch:
        archive = Path(scratch) / "image.tar"
        engine.save(reference, archive)
        return compressed_bytes(archive) / _MEGABYTE


def compressed_bytes(archive: Path) -> int:
    """The archive's size once it is compressed; what is compressed in it already stays so."""
    packing = zlib.compressobj(wbits=31)  # gzip
    total = 0
    with archive.open("rb") as file:
        while chunk := file.read(_CHUNK):
            total += len(packing.compress(chunk))
    return total + len(packing.flush())


def line(name: str, megabytes: float, most: float | None) -> str:
    """One image's line: measured, and against its target where it has one."""
    told = f"{name}: {megabytes:.0f} MB compressed"
    if most is None:
        return told
    return f"{told}, at most {most:.0f}: {'met' if megabytes <= most else 'not met'}"
