"""One image file as the network's input, and what is wrong with it; called by `data` and `check`.

The preprocessing here is a contract with the server, which has code of its own for it:
tests/contract holds both to the same tensors.
"""

from __future__ import annotations

import io
import struct
import warnings
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path, PurePath
from typing import Final

import numpy as np
import torch
from PIL import Image, ImageOps, UnidentifiedImageError
from torch import Tensor

from model_training.manifest import InputSpec
from model_training.torchvision_compat import v2

SUFFIXES: Final = {
    ".bmp": "BMP",
    ".gif": "GIF",
    ".jpeg": "JPEG",
    ".jpg": "JPEG",
    ".png": "PNG",
    ".tif": "TIFF",
    ".tiff": "TIFF",
    ".webp": "WEBP",
}
"""The files that are taken for images, and the format that their name promises."""
_SAME: Final = {"MPO": "JPEG"}
"""A camera's JPEG with more than one picture is a JPEG all the same."""
TINY: Final = 16
"""Pixels: a shorter side than this shows hardly anything."""
HUGE: Final = 50_000_000
"""Pixels: more than any network here looks at; they cost memory and time."""
TOO_LARGE: Final = 178_956_970
"""Pixels: Pillow takes more for an attack and refuses."""


class Kind(StrEnum):
    """What can be the matter with an image file; the first three are left out of training."""

    UNREADABLE = "unreadable"
    """Not an image, or one that nobody can decode."""
    TRUNCATED = "truncated"
    """The beginning of an image."""
    TOO_LARGE = "too large"
    """More pixels than are decoded."""
    MISLABELLED = "mislabelled extension"
    """An image of another format than its name says."""
    DUPLICATE = "duplicate"
    """The same bytes as another file of its class."""
    CONTRADICTION = "contradiction"
    """The same bytes as a file of another class."""
    TINY = "tiny"
    HUGE = "huge"


DECODING_ERRORS: Final = (
    OSError,
    SyntaxError,
    ValueError,
    EOFError,
    LookupError,
    TypeError,
    ArithmeticError,
    AttributeError,
    struct.error,
)
"""What Pillow raises, in one format or another, for bytes that are no whole image."""
LEFT_OUT: Final = frozenset({Kind.UNREADABLE, Kind.TRUNCATED, Kind.TOO_LARGE})


@dataclass(frozen=True)
class Finding:
    """One thing about one file: its path below the data folder, and what it is in words."""

    path: str
    kind: Kind
    detail: str


@dataclass(frozen=True)
class Decoded:
    """A file's pixels, 3 x H x W uint8, or None where it cannot be used; and what was found."""

    pixels: Tensor | None
    findings: tuple[Finding, ...]


def evaluation_transform(image: Image.Image, spec: InputSpec) -> Tensor:
    """A picture as the network's input, 3 x H x W float32: the preprocessing of the artifact.

    EXIF orientation, RGB (16-bit grey by its high byte), Pillow's antialiased bilinear resize on
    the 8-bit picture without keeping the aspect ratio, /255, minus mean, over std.
    """
    return normalize(_fitted(image, spec), spec)


def normalize(pixels: Tensor, spec: InputSpec) -> Tensor:
    """... x 3 x H x W uint8 -> the same shape in float32, minus mean, over std."""
    scaled = v2.functional.to_dtype(pixels, torch.float32, scale=True)
    # In place: what was scaled is a copy already.
    normalized: Tensor = v2.functional.normalize(
        scaled, list(spec.mean), list(spec.std), inplace=True
    )
    return normalized


def longer_side(path: Path) -> int | None:
    """How many pixels the longer side of an image file has, by its header; None for no image."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            with Image.open(path) as image:
                return max(image.size)
        except (*DECODING_ERRORS, Image.DecompressionBombError):
            return None


def decode(path: str, content: bytes, spec: InputSpec) -> Decoded:
    """The pixels of a file's bytes at the network's size, and what is the matter with it."""
    findings: list[Finding] = []

    def found(kind: Kind, detail: str) -> None:
        findings.append(Finding(path, kind, detail))

    pixels = None
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # Pillow warns of what is found here anyway
            with Image.open(io.BytesIO(content)) as image:
                width, height = image.size
                promised = SUFFIXES.get(PurePath(path).suffix.lower())
                actual = _SAME.get(image.format or "", image.format)
                if promised != actual:
                    found(Kind.MISLABELLED, f"it is {actual}")
                if width * height > TOO_LARGE:
                    found(Kind.TOO_LARGE, f"{width} x {height} pixels")
                    return Decoded(None, tuple(findings))
                if width * height > HUGE:
                    found(Kind.HUGE, f"{width} x {height} pixels")
                if min(width, height) < TINY:
                    found(Kind.TINY, f"{width} x {height} pixels")
                pixels = _fitted(image, spec)
    except UnidentifiedImageError:
        found(Kind.UNREADABLE, "not an image" if content else "empty")
    except Image.DecompressionBombError:
        found(Kind.TOO_LARGE, f"more than {TOO_LARGE} pixels")
    except DECODING_ERRORS as error:
        kind = Kind.TRUNCATED if "truncated" in str(error).lower() else Kind.UNREADABLE
        found(kind, str(error) or type(error).__name__)
    return Decoded(pixels, tuple(findings))


def _fitted(image: Image.Image, spec: InputSpec) -> Tensor:
    """The picture upright, in RGB and of the network's size: 3 x H x W uint8."""
    upright = ImageOps.exif_transpose(image)
    if upright.mode.startswith("I;16"):  # Pillow would cut off all above 255: white
        upright = Image.fromarray((np.asarray(upright) >> 8).astype(np.uint8))
    resized = upright.convert("RGB").resize((spec.width, spec.height), Image.Resampling.BILINEAR)
    return torch.from_numpy(np.array(resized)).permute(2, 0, 1).contiguous()
