"""From a picture's bytes to the network's input, the same way as in training.

`prediction` calls this in an inference thread, by `reduced_jpeg` where that is as good. The order
is the contract with the training package, held by tests/contract: decode, turn as EXIF says,
convert to RGB (16-bit grey by its high byte), resize without keeping the aspect ratio (Pillow's
antialiased bilinear on 8 bits), divide by 255 (as torchvision does it: multiply by the float32
nearest to 1/255), subtract the mean, divide by the standard deviation, channels first.
"""

from __future__ import annotations

import struct
import warnings
import zlib
from io import BytesIO
from typing import Protocol, TypeAlias

import numpy as np
from numpy.typing import NDArray
from PIL import (  # Pillow would import these, and some forty more, with the first picture
    Image,
    ImageOps,
    JpegImagePlugin,  # noqa: F401
    MpoImagePlugin,  # noqa: F401
    PngImagePlugin,  # noqa: F401
    TiffImagePlugin,  # noqa: F401 - reads EXIF
    UnidentifiedImageError,
    WebPImagePlugin,  # noqa: F401
)
from PIL.ImageFile import ImageFile

from model_server import picture_files
from model_server.artifact import Input
from model_server.errors import DamagedPicture
from model_server.picture_files import PictureHeader

_SCALE = np.float32(1 / 255)
FloatArray: TypeAlias = NDArray[np.float32]
PixelArray: TypeAlias = NDArray[np.uint8]

Image.MAX_IMAGE_PIXELS = None  # picture_files has a limit, which answers instead of warning

# A damaged EXIF block is passed over. Pillow would also print a line for each kind of damage, which
# is no JSON, and which says nothing of whose picture it was.
warnings.filterwarnings("ignore", category=UserWarning, module="PIL")

# What Pillow's decoders raise on corrupt bytes; they document no common base.
DECODING_ERRORS = (
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


def decode(data: bytes, max_pixels: int) -> Image.Image:
    """Return the picture in `data` as upright RGB.

    The header is judged before a pixel is decoded. Of an animation, the first frame.

    Raises:
        NotAnImage, TooManyPixels, TooComplex: as `picture_files.judge` says.
        DamagedPicture: the header is good, and what follows is damaged.

    """
    return decode_judged(data, picture_files.judge(data, max_pixels))


def decode_judged(data: bytes, header: PictureHeader) -> Image.Image:
    """Return the picture in `data`, which was judged by its `header`, as upright RGB.

    Raises:
        DamagedPicture: what follows the header is damaged, or Pillow reads it otherwise.

    """
    return decode_opened(open_judged(data, header))


def decode_opened(picture: ImageFile) -> Image.Image:
    """Return what `open_judged` has opened as upright RGB.

    Raises:
        DamagedPicture: what follows its header is damaged.

    """
    try:
        return _upright_rgb(picture)
    except DECODING_ERRORS as error:
        raise DamagedPicture(
            f"The {picture.format} picture is damaged or incomplete: it cannot be decoded."
        ) from error


def open_judged(data: bytes, header: PictureHeader) -> ImageFile:
    """Open the picture in `data`, which was judged by its `header`; no pixel is decoded.

    Raises:
        DamagedPicture: Pillow does not make of the header what `judge` made of it.

    """
    try:
        picture = Image.open(BytesIO(data), formats=[header.format])
    except (UnidentifiedImageError, *DECODING_ERRORS) as error:
        raise DamagedPicture(f"The {header.format} picture's header is damaged.") from error
    if picture.size != (header.width, header.height):
        raise DamagedPicture(f"The {header.format} picture's header contradicts itself.")
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


class Decoder(Protocol):
    """Reads a picture at the size that one model's network takes."""

    @property
    def name(self) -> str:
        """How it reads, as logs show it."""
        ...

    def __call__(self, data: bytes, header: PictureHeader) -> PixelArray:
        """Return the picture in `data`, judged by its `header`, as H x W x 3 uint8, upright RGB.

        Raises:
            DamagedPicture: as `decode_judged` says.

        """
        ...


class FullDecoder:
    """Every pixel decoded by Pillow, then resized: what the network was trained with."""

    name = "full"

    def __init__(self, spec: Input) -> None:
        self._preprocess = Preprocessor(spec)

    def __call__(self, data: bytes, header: PictureHeader) -> PixelArray:
        """See `Decoder`."""
        return self._preprocess.resize(decode_judged(data, header))


class Preprocessor:
    """Turns decoded pictures into what one model's network takes."""

    def __init__(self, spec: Input) -> None:
        self._size = (spec.width, spec.height)
        self._mean = np.array(spec.mean, dtype=np.float32)
        self._std = np.array(spec.std, dtype=np.float32)

    def __call__(self, picture: Image.Image) -> FloatArray:
        """Map an RGB picture of any size to 3 x H x W float32, normalised."""
        return np.ascontiguousarray(self.normalise(self.resize(picture)[np.newaxis])[0])

    def resize(self, picture: Image.Image) -> PixelArray:
        """Map an RGB picture of any size to H x W x 3 uint8."""
        return np.asarray(picture.resize(self._size, Image.Resampling.BILINEAR))

    def normalise(self, pixels: PixelArray) -> FloatArray:
        """Map N x H x W x 3 uint8 to N x 3 x H x W float32, a view of channels last."""
        values = pixels.astype(np.float32)
        values *= _SCALE
        values -= self._mean
        values /= self._std
        return values.transpose(0, 3, 1, 2)
