"""JPEGs that are larger than the network's input, decoded at a half, a quarter or an eighth.

A JPEG is stored as 8 x 8 blocks of frequencies, and libjpeg-turbo can make 4 x 4, 2 x 2 or 1 pixel
of a block without computing the rest: most of the time of a large picture. What is left to the
resize is at least `LEFT` times too large on either side, so that the resize still decides what the
network sees. `choosing` measures what it changes in a model's answers before it is used; any
picture that it is not meant for goes the way of `preprocessing`. Source: libjpeg-turbo's
libjpeg.txt, "Scaling".
"""

from __future__ import annotations

from typing import cast

import numpy as np
import simplejpeg
from PIL import ExifTags, Image

from model_server.artifact import Input
from model_server.errors import DamagedPicture
from model_server.picture_files import PictureHeader
from model_server.preprocessing import DECODING_ERRORS, FullDecoder, PixelArray, open_judged

LEFT = 1.4
"""How many times larger than the network's input, on either side, a reduced picture still is."""
_REDUCTIONS = (8, 4, 2)
_UPRIGHT = 1
# EXIF's orientations and what makes each upright, as PIL.ImageOps.exif_transpose does it.
_TURNS = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}
_SIDES_SWAPPED = frozenset({5, 6, 7, 8})


class ReducedDecoder:
    """Decodes large JPEGs at reduced scale, and everything else in full."""

    name = "reduced"

    def __init__(self, spec: Input) -> None:
        self._full = FullDecoder(spec)
        self._size = (spec.width, spec.height)

    def __call__(self, data: bytes, header: PictureHeader) -> PixelArray:
        """See `preprocessing.Decoder`."""
        pixels = self._reduced(data, header)
        return self._full(data, header) if pixels is None else pixels

    def _reduced(self, data: bytes, header: PictureHeader) -> PixelArray | None:
        """Return the picture at the network's size, or None where full decoding has to judge."""
        if header.format != "JPEG" or header.mode != "RGB":
            return None
        orientation = _orientation(data, header) if header.may_be_turned else _UPRIGHT
        if orientation is None:
            return None
        width, height = self._size
        size = (height, width) if orientation in _SIDES_SWAPPED else (width, height)
        stored = (header.width, header.height)
        reduction = reduction_of(stored, size)
        if reduction == 1:
            return None
        small = _decode(data, stored, reduction)
        if small is None:
            return None
        # Sides that the reduction does not divide are rounded up: the box leaves that edge out.
        box = (0.0, 0.0, header.width / reduction, header.height / reduction)
        resized = small.resize(size, Image.Resampling.BILINEAR, box)
        if orientation in _TURNS:
            resized = resized.transpose(_TURNS[orientation])
        # Packed by Pillow: numpy takes eight times as long to leave every fourth byte out.
        packed = resized.tobytes("raw", "RGB")
        return np.frombuffer(packed, np.uint8).reshape(height, width, 3)


def _orientation(data: bytes, header: PictureHeader) -> int | None:
    """Return EXIF's orientation, or None where Pillow does not get that far."""
    try:
        exif = open_judged(data, header).getexif()
    except (DamagedPicture, *DECODING_ERRORS):
        return None
    orientation: int = exif.get(ExifTags.Base.Orientation, _UPRIGHT)
    return orientation


def reduction_of(picture: tuple[int, int], wanted: tuple[int, int]) -> int:
    """Return by how much to reduce a picture (width, height) that is resized to `wanted`.

    8, 4 or 2: the largest after which both sides are still `LEFT` times those wanted; else 1.
    """
    for reduction in _REDUCTIONS:
        if all(
            side >= LEFT * reduction * least for side, least in zip(picture, wanted, strict=True)
        ):
            return reduction
    return 1


def _decode(data: bytes, size: tuple[int, int], reduction: int) -> Image.Image | None:
    """Return the reduced picture as RGBX, or None where libjpeg reads or warns of anything else."""
    width, height = -(-size[0] // reduction), -(-size[1] // reduction)
    try:
        found = simplejpeg.decode_jpeg_header(data)
        if (found[1], found[0]) != size:
            return None  # nothing that Pillow's header did not announce is decoded
        pixels = simplejpeg.decode_jpeg(data, "RGBX", min_height=height, min_width=width)
    except ValueError:
        return None
    if pixels.shape != (height, width, 4):
        return None
    # Four bytes a pixel are how Pillow holds colours itself: nothing is copied.
    return Image.frombuffer(
        "RGBX", (width, height), cast("bytes", pixels.data), "raw", "RGBX", 0, 1
    )
