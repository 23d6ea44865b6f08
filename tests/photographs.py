"""The photographs of cats and dogs (10,000, 32 x 32) that tests learn from, where there are any."""

from __future__ import annotations

import os
import tarfile
from pathlib import Path

ARCHIVE = "cifar10-cats-dogs-train.tar.xz"


def archive() -> Path | None:
    """Its file, in the folder that CV_FACTORY_SHARED_DATA names, or beside the checkout."""
    checkout = Path(__file__).resolve().parents[1]
    folder = os.environ.get("CV_FACTORY_SHARED_DATA") or checkout.parent / "shared" / "data"
    path = Path(folder, ARCHIVE)
    return path if path.is_file() else None


def unpacked(into: Path) -> Path | None:
    """The folder of class folders, unpacked; None where there is no archive."""
    packed = archive()
    if packed is None:
        return None
    with tarfile.open(packed) as members:
        members.extractall(into, filter="data")
    return into / "train"
