"""JPEGs decoded at reduced scale: as good as in full, and only where that is meant."""

from __future__ import annotations

import numpy as np
import pytest
from PIL import Image

from model_server import made_pictures
from model_server.artifact import Input
from model_server.errors import NotAnImage, TooManyPixels
from model_server.picture_files import judge
from model_server.preprocessing import Decoder, FullDecoder, PixelArray
from model_server.reduced_jpeg import ReducedDecoder, reduction_of
from tests.server.artifacts import encode, make_picture

SPEC = Input(height=24, width=32, mean=(0.5, 0.5, 0.5), std=(0.5, 0.5, 0.5))
MOST = 10**6
FULL, REDUCED = FullDecoder(SPEC), ReducedDecoder(SPEC)


def read(decoder: Decoder, data: bytes, most_pixels: int = MOST) -> PixelArray:
    return decoder(data, judge(data, most_pixels))


def distance(jpeg: bytes) -> float:
    """How far a value is from that of full decoding on average, of 255."""
    found, expected = read(REDUCED, jpeg), read(FULL, jpeg)
    assert found.shape == expected.shape == (24, 32, 3)
    assert found.dtype == np.uint8
    return float(np.abs(found.astype(int) - expected).mean())


def with_orientation(orientation: int, size: tuple[int, int]) -> bytes:
    exif = Image.Exif()
    exif[0x0112] = orientation
    return encode(made_pictures.picture(3, *size), quality=90, exif=exif)


@pytest.mark.parametrize(
    ("picture", "reduction"),
    [
        ((500, 375), 2),
        ((4000, 3000), 8),
        ((8 * 180, 8 * 180), 8),
        ((8 * 180 - 9, 8 * 180), 4),
        ((4000, 200), 1),
        ((359, 359), 2),
        ((358, 359), 1),
        ((128, 128), 1),
    ],
)
def test_a_picture_is_reduced_as_far_as_the_resize_still_has_something_to_do(picture, reduction):
    assert reduction_of(picture, (128, 128)) == reduction


@pytest.mark.parametrize("size", [(125, 94), (251, 187), (403, 301)])
def test_a_reduced_picture_looks_like_one_that_was_decoded_in_full(size: tuple[int, int]):
    assert reduction_of(size, (32, 24)) > 1
    assert distance(encode(made_pictures.picture(1, *size), quality=90)) < 2.5


def test_the_edge_that_a_reduction_rounds_up_does_not_shift_the_picture():
    ramp = np.tile(np.linspace(0, 255, 361, dtype=np.uint8)[:, None, None], (1, 361, 3))
    jpeg = encode(Image.fromarray(ramp), quality=95)
    shift = read(REDUCED, jpeg).astype(float) - read(FULL, jpeg)
    assert reduction_of((361, 361), (32, 24)) == 8
    assert abs(shift.mean()) < 0.4


@pytest.mark.parametrize("orientation", range(1, 9))
def test_exifs_orientation_is_followed(orientation: int):
    assert distance(with_orientation(orientation, (250, 190))) < 2.5


def test_an_orientation_that_stands_in_xmp_is_followed():
    xmp = b"<x:xmpmeta xmlns:tiff='http://ns.adobe.com/tiff/1.0/' tiff:Orientation='6'/>"
    assert distance(encode(made_pictures.picture(3, 250, 190), quality=90, xmp=xmp)) < 2.5


def test_a_turned_picture_is_reduced_by_the_sides_that_it_has_once_upright():
    # Upright it is 95 x 250, too narrow to be halved for a width of 32 and more.
    jpeg = with_orientation(6, (250, 85))
    assert np.array_equal(read(REDUCED, jpeg), read(FULL, jpeg))


@pytest.mark.parametrize(
    "data",
    [
        encode(make_picture(width=200, height=200), "PNG"),
        encode(make_picture(width=200, height=200), "WEBP"),
        encode(make_picture(width=200, height=200).convert("L")),
        encode(make_picture(width=200, height=200).convert("CMYK")),
        encode(make_picture(width=40, height=40)),
    ],
    ids=["PNG", "WebP", "grey", "CMYK", "small"],
)
def test_what_is_no_large_colour_jpeg_is_decoded_in_full(data: bytes):
    assert np.array_equal(read(REDUCED, data), read(FULL, data))


def test_a_large_jpeg_that_is_cut_off_is_refused_as_by_full_decoding():
    jpeg = encode(made_pictures.picture(2, 300, 300), quality=90)
    with pytest.raises(NotAnImage, match="damaged or incomplete"):
        read(REDUCED, jpeg[: len(jpeg) // 2])


def test_a_progressive_jpeg_is_reduced_too():
    assert distance(encode(made_pictures.picture(4, 300, 300), quality=90, progressive=True)) < 2.5


def test_the_headers_dimensions_are_judged_before_anything_is_decoded():
    with pytest.raises(TooManyPixels):
        read(REDUCED, encode(make_picture(width=300, height=300)), 300 * 300 - 1)
