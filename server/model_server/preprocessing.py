"""From a picture's bytes to the network's input, the same way as in training.

`prediction` calls this in an inference thread. The order is the contract with the training
package, held by tests/contract: decode, turn as EXIF says, convert to RGB (16-bit grey by its high
byte), resize without keeping the aspect ratio (Pillow's antialiased bilinear on 8 bits), divide by
255 (as torchvision does it: multiply by the float32 nearest to 1/255), subtract the mean, divide by
the standard deviation, channels first.
"""

from __future__ import annotations

import struct
import warnings
import zlib
from io import BytesIO
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageOps, UnidentifiedImageError
from PIL.ImageFile import ImageFile

from model_server.artifact import Input
from model_server.errors import NotAnImage, TooManyPixels

FORMATS = ("JPEG", "PNG", "WEBP")
_SCALE = np.float32(1 / 255)
FloatArray: TypeAlias = NDArray[np.float32]

Image.MAX_IMAGE_PIXELS = None  # decode() has a limit of its own, which answers instead of warning

# A damaged EXIF block is passed over. Pillow would also print a line for each kind of damage, which
# is no JSON, and which says nothing of whose picture it was.
warnings.filterwarnings("ignore", category=UserWarning, module="PIL")

# What Pillow's decoders raise on corrupt bytes; they document no common base.
_DECODING_ERRORS = (
    OSError,
    SyntaxError,
    ValueError,
    EOFError,
    IndexError,
    KeyError,
    TypeError,
    OverflowError,
    AttributeError,
    struct.error,
    zlib.error,
)


def count_pixels(data: bytes, max_pixels: int) -> int:
    """Return width times height by the header of the picture in `data`; no pixel is decoded.

    Raises:
        NotAnImage: `data` is no JPEG, PNG or WebP, or its header is damaged.
        TooManyPixels: width times height is above `max_pixels`.

    """
    width, height = _open(data, max_pixels).size
    return width * height


def decode(data: bytes, max_pixels: int) -> Image.Image:
    """Return the picture in `data` as upright RGB.

    The header's dimensions are judged before a pixel is decoded. Of an animation, the first frame.

    Raises:
        NotAnImage: `data` is no JPEG, PNG or WebP, or is damaged.
        TooManyPixels: width times height is above `max_pixels`.

    """
    picture = _open(data, max_pixels)
    try:
        return _upright_rgb(picture)
    except _DECODING_ERRORS as error:
        raise NotAnImage(
            f"The {picture.format} picture is damaged or incomplete: it cannot be decoded."
        ) from error


def _open(data: bytes, max_pixels: int) -> ImageFile:
    if not data:
        raise NotAnImage("The picture is empty: send the bytes of a JPEG, PNG or WebP file.")
    try:
        picture = Image.open(BytesIO(data), formats=FORMATS)
    except UnidentifiedImageError as error:
        raise NotAnImage("The bytes are not a JPEG, PNG or WebP picture.") from error
    except _DECODING_ERRORS as error:
        raise NotAnImage("The picture's header is damaged.") from error
    width, height = picture.size
    if width * height > max_pixels:
        raise TooManyPixels(
            f"The picture has {width} x {height} pixels, more than the {max_pixels} that are"
            " decoded: send a smaller one."
        )
    return picture


def _upright_rgb(picture: Image.Image) -> Image.Image:
    """Decode, with no copy that is not needed: each takes 4 bytes for a pixel."""
    ImageOps.exif_transpose(picture, in_place=True)
    if picture.mode == "RGB":
        return picture
    if picture.mode == "P" and "transparency" in picture.info:
        picture = picture.convert("RGBA")  # the same colours, without Pillow's warning
    elif picture.mode.startswith("I;16"):  # Pillow would cut off all above 255: white
        picture = Image.fromarray((np.asarray(picture) >> 8).astype(np.uint8))
    return picture.convert("RGB")


class Preprocessor:
    """Turns decoded pictures into what one model's network takes."""

    def __init__(self, spec: Input) -> None:
        self._size = (spec.width, spec.height)
        self._mean = np.array(spec.mean, dtype=np.float32)
        self._std = np.array(spec.std, dtype=np.float32)

    def __call__(self, picture: Image.Image) -> FloatArray:
        """Map an RGB picture of any size to 3 x H x W float32, normalised."""
        resized = picture.resize(self._size, Image.Resampling.BILINEAR)
        pixels = np.asarray(resized, dtype=np.float32)
        pixels *= _SCALE
        pixels -= self._mean
        pixels /= self._std
        return np.ascontiguousarray(pixels.transpose(2, 0, 1))
