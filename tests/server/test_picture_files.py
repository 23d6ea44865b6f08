"""What `judge` says of good pictures is what Pillow says of them; limits hold at their edges."""

from __future__ import annotations

import base64
import subprocess
import sys
from io import BytesIO

import pytest
from PIL import Image

from model_server.errors import NotAnImage, RequestError, TooComplex, TooManyPixels
from model_server.picture_files import MAX_CHUNKS, MAX_SCANS, MAX_SEGMENTS, judge
from tests.server.artifacts import encode, make_picture
from tests.server.hostile_pictures import (
    JPEG,
    ODD,
    PROGRESSIVE,
    damaged,
    exif_of,
    in_jpeg,
    many_packed,
    scans_of,
    segment,
    tiny_chunks,
)

PLENTY = 32_000_000
COLOURS = {"1": "L", "I;16": "L", "I": "L", "RGBX": "RGB"}
"""What Pillow calls a way to store colours that `judge` calls by another name."""


def good() -> dict[str, bytes]:
    """Pictures of all formats, colours and some sizes."""
    found = {name: content for name, content, _ in ODD}
    for size in ((1, 1), (1, 300), (299, 2), (513, 77)):
        picture = make_picture(5, *size)
        for mode in ("L", "RGB", "CMYK"):
            for progressive in (False, True):
                content = encode(picture.convert(mode), progressive=progressive)
                found[f"JPEG {size} {mode} {progressive}"] = content
        for mode in ("1", "L", "LA", "P", "RGB", "RGBA"):
            found[f"PNG {size} {mode}"] = encode(picture.convert(mode), "PNG")
        for mode in ("RGB", "RGBA"):
            for lossless in (False, True):
                content = encode(picture.convert(mode), "WEBP", lossless=lossless)
                found[f"WebP {size} {mode} {lossless}"] = content
    return found


GOOD = good()


@pytest.mark.parametrize("name", GOOD)
def test_a_good_picture_is_judged_as_pillow_opens_it(name: str):
    header = judge(GOOD[name], PLENTY)
    picture = Image.open(BytesIO(GOOD[name]))
    format_name = "JPEG" if picture.format == "MPO" else picture.format
    frames = 1 if picture.format == "MPO" else getattr(picture, "n_frames", 1)
    assert (header.format, header.width, header.height) == (format_name, *picture.size)
    assert header.frames == frames
    if header.format != "WEBP" and header.bits == 8:
        assert header.mode == COLOURS.get(picture.mode, picture.mode)


def test_scans_are_counted_as_a_decoder_meets_them():
    assert judge(JPEG, PLENTY).scans == 1
    assert judge(PROGRESSIVE, PLENTY).scans == 10
    assert judge(scans_of(64, 5), PLENTY).scans == 15
    assert judge(scans_of(64, 70), PLENTY).scans == 80
    assert judge(PROGRESSIVE + b"\xff\xda" * 300, PLENTY).scans == 10


def test_as_many_scans_segments_and_chunks_as_may_be_and_no_more():
    assert judge(scans_of(64, MAX_SCANS - 10), PLENTY).scans == MAX_SCANS
    with pytest.raises(TooComplex):
        judge(scans_of(64, MAX_SCANS - 9), PLENTY)
    own = JPEG[: JPEG.index(b"\xff\xda")].count(b"\xff") - 1  # segments, and the first scan's
    judge(in_jpeg(segment(0xFE) * (MAX_SEGMENTS - own - 1)), PLENTY)
    with pytest.raises(TooComplex):
        judge(in_jpeg(segment(0xFE) * MAX_SEGMENTS), PLENTY)
    judge(tiny_chunks(b"tEXt", MAX_CHUNKS - 2), PLENTY)
    with pytest.raises(TooComplex):
        judge(tiny_chunks(b"tEXt", MAX_CHUNKS - 1), PLENTY)


@pytest.mark.parametrize(("kind", "most"), [(b"iCCP", 1), (b"zTXt", 64), (b"iTXt", 64)])
def test_a_png_has_one_profile_and_few_packed_texts(kind: bytes, most: int):
    judge(many_packed(kind, most), PLENTY)
    with pytest.raises(TooComplex):
        judge(many_packed(kind, most + 1), PLENTY)


def test_large_notes_of_a_jpeg_are_bounded_where_pillow_takes_them_apart():
    exif, xmp = b"Exif\x00\x00" + bytes(60_000), b"http://ns.adobe.com/xap/1.0/" + bytes(60_000)
    judge(in_jpeg(segment(0xE1, exif) * 17 + segment(0xE1, xmp) * 100), PLENTY)
    with pytest.raises(TooComplex):
        judge(in_jpeg(segment(0xE1, exif) * 18), PLENTY)


def test_scans_times_pixels_are_bounded_by_the_pixels_that_may_be():
    twelve = scans_of(64, 2)
    assert judge(twelve, 64 * 64).scans == 12
    with pytest.raises(TooComplex, match="13 scans of 64 x 64 pixels"):
        judge(scans_of(64, 3), 64 * 64)
    with pytest.raises(TooManyPixels):
        judge(twelve, 64 * 64 - 1)


def test_whatever_the_bytes_are_they_are_judged_or_refused():
    whole = [JPEG, PROGRESSIVE, GOOD["PNG (1, 1) RGB"], GOOD["WebP (1, 1) RGB True"]]
    cut = (content[:end] for content in whole for end in range(len(content)))
    refused = 0
    for content in (*cut, *damaged(seed=17, count=5_000)):
        try:
            judge(content, PLENTY)
        except RequestError:
            refused += 1
    assert refused > 1_000


def test_a_scan_that_ends_in_its_length_is_refused():
    at = JPEG.index(b"\xff\xda")
    for more in (b"", b"\x00", b"\x00\x00", b"\x00\x0c"):
        with pytest.raises(NotAnImage, match="ends before its pixels"):
            judge(JPEG[: at + 2] + more, PLENTY)


def test_once_warmed_up_by_a_jpeg_no_format_s_first_picture_waits_for_an_import():
    script = (
        "import base64, sys; from model_server.preprocessing import decode;"
        "first, *others = map(base64.b64decode, sys.argv[1:]);"
        "decode(first, 64 * 64); before = set(sys.modules);"
        "[decode(content, 64 * 64) for content in others];"
        "print(sorted(set(sys.modules) - before))"
    )
    turned = [encode(make_picture(), kind, exif=exif_of(6)) for kind in ("JPEG", "PNG", "WEBP")]
    sent = [base64.b64encode(content).decode() for content in (JPEG, *turned)]
    ended = subprocess.run(
        [sys.executable, "-c", script, *sent],
        capture_output=True,
        text=True,
        timeout=300,
        check=True,
    )
    assert ended.stdout == "[]\n"
