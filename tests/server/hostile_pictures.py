"""Picture files that mean harm, and odd ones that do not; always the same ones.

`HOSTILE` are to be refused, each with a sentence, at little cost. `ODD` are good pictures in
unusual clothes: each comes with the plain picture that it has to be answered as.
"""

from __future__ import annotations

import struct
import zlib
from collections.abc import Iterator
from io import BytesIO
from random import Random

import numpy as np
from PIL import Image

from tests.server.artifacts import encode, make_picture
from tests.server.bad_inputs import jpeg_of, png, webp_canvas
from tests.server.fuzz.mutation import mutated

JPEG = encode(make_picture(), quality=90)
PROGRESSIVE = encode(make_picture(), progressive=True)
PNG = encode(make_picture(), "PNG")
WEBP = encode(make_picture(), "WEBP")
MEGABYTES = 1_000_000

Refused = tuple[str, bytes, int, str]
"""A name, the file, the status and a part of the sentence."""


def segment(marker: int, content: bytes = b"") -> bytes:
    return struct.pack(">BBH", 0xFF, marker, len(content) + 2) + content


def in_jpeg(more: bytes, jpeg: bytes = JPEG) -> bytes:
    """The JPEG with something between its first bytes and its first segment."""
    return jpeg[:2] + more + jpeg[2:]


def scans_of(side: int, more: int) -> bytes:
    """A progressive JPEG whose last scan comes `more` times more than it should."""
    jpeg = encode(Image.new("RGB", (side, side), (90, 100, 110)), progressive=True)
    return jpeg[:-2] + jpeg[jpeg.rindex(b"\xff\xda") : -2] * more + b"\xff\xd9"


def baseline_scans(count: int) -> bytes:
    """A baseline JPEG with one colour in each scan, the first colour again and again."""
    head = JPEG[: JPEG.index(b"\xff\xda")]
    scan = segment(0xDA, bytes([1, 1, 0, 0, 63, 0])) + b"\x00"
    return head + scan * count + b"\xff\xd9"


def hidden_scans(count: int) -> bytes:
    """Thousands of scans behind a comment that holds what ends a JPEG."""
    at = PROGRESSIVE.rindex(b"\xff\xda")
    comment = segment(0xFE, b"\xff\xd9")
    return PROGRESSIVE[:at] + comment + PROGRESSIVE[at:-2] * count + b"\xff\xd9"


def two_frames() -> bytes:
    """A JPEG that says first that it is small, then that it is huge."""
    at = JPEG.index(b"\xff\xc0")
    huge = jpeg_of(65_500, 65_500)
    start = huge.index(b"\xff\xc0")
    return JPEG[:at] + JPEG[at : at + 19] + huge[start : start + 19] + JPEG[at + 19 :]


def edited(jpeg: bytes, offset: int, value: int) -> bytes:
    """The JPEG with one byte of its frame header replaced."""
    at = jpeg.index(b"\xff\xc0") + offset
    return jpeg[:at] + bytes([value]) + jpeg[at + 1 :]


def tiny_chunks(name: bytes, count: int) -> bytes:
    """A PNG that holds so many empty chunks."""
    good = png(8, 8)
    return good[:33] + png(8, 8, (name, b""))[33:45] * count + good[33:]


def unpacked(kind: bytes, megabytes: int) -> bytes:
    """A PNG with a chunk of few bytes that are so many when they are unpacked."""
    packed = zlib.compress(bytes(megabytes * MEGABYTES), 1)
    return png(8, 8, (kind, packed if kind == b"IDAT" else b"a\x00\x00" + packed))


def many_packed(kind: bytes, count: int) -> bytes:
    """A PNG with so many chunks, each 1 kB that is 1 MB when it is unpacked."""
    heads = {b"iCCP": b"a\x00\x00", b"zTXt": b"\x00\x00", b"iTXt": b"a\x00\x01\x00\x00\x00"}
    packed = heads[kind] + zlib.compress(b"\xff" * MEGABYTES)  # no text, which would be counted
    return png(8, 8, *[(kind, packed)] * count)


def photoshop(megabytes: int) -> bytes:
    """A JPEG with so much of Photoshop's entries, all of them empty."""
    entries = b"Photoshop 3.0\x00" + b"8BIM\x04\x00\x00\x00\x00\x00\x00\x00" * 5_000
    return in_jpeg(segment(0xED, entries) * (megabytes * MEGABYTES // len(entries)))


def tables(megabytes: int) -> bytes:
    """A JPEG with so much of quantisation tables, each in the place of the one before."""
    some = (b"\x00" + b"\x01" * 64) * 1_000
    return in_jpeg(segment(0xDB, some) * (megabytes * MEGABYTES // len(some)))


def webp_chunks(count: int) -> bytes:
    good = webp_canvas(64, 64)
    body = good[8:] + b"junk\x00\x00\x00\x00" * count
    return b"RIFF" + struct.pack("<I", len(body)) + body


def _files_of_other_kinds() -> Iterator[Refused]:
    sentence = "not a JPEG, PNG or WebP"
    kinds = {
        **{name: encode(make_picture(), name) for name in ("GIF", "BMP", "TIFF", "ICO", "PPM")},
        "SVG": b'<svg xmlns="http://www.w3.org/2000/svg"/>',
        "PDF": b"%PDF-1.7\n%\xe2\xe3\xcf\xd3\n",
        "HTML": b"<!doctype html><title>cat</title>",
        "ZIP": b"PK\x03\x04" + bytes(60),
        "ELF": b"\x7fELF\x02\x01\x01" + bytes(60),
        "HEIC": b"\x00\x00\x00\x18ftypheic" + bytes(60),
        "AVIF": b"\x00\x00\x00\x1cftypavif" + bytes(60),
        "PostScript": b"%!PS-Adobe-3.0 EPSF-3.0\n(x) run\n",
        "RIFF of another kind": b"RIFF\x24\x00\x00\x00WAVEfmt " + bytes(60),
    }
    for name, content in kinds.items():
        yield f"a {name} file", content, 400, sentence


def _cut_off() -> Iterator[Refused]:
    for name, content in (("JPEG", JPEG), ("PROGRESSIVE", PROGRESSIVE), ("PNG", PNG)):
        for percent in (5, 50, 95):
            cut = content[: len(content) * percent // 100]
            yield f"{percent}% of a {name}", cut, 400, "damaged or incomplete"
    yield "half a WebP", WEBP[: len(WEBP) // 2], 400, "WEBP picture's header is damaged"
    yield "a WebP's header", WEBP[:20], 400, "ends in its header"


HOSTILE: list[Refused] = [
    ("a PNG's bomb", png(2**31 - 1, 2**31 - 1), 413, "2147483647 x 2147483647 pixels"),
    ("a PNG's bomb with pixels", png(60_000, 60_000, (b"IDAT", zlib.compress(bytes(MEGABYTES)))),
     413, "60000 x 60000 pixels"),
    ("a JPEG's bomb", jpeg_of(65_500, 65_500), 413, "65500 x 65500 pixels"),
    ("a WebP's bomb", webp_canvas(16_383, 16_383), 413, "16383 x 16383 pixels"),
    ("two frame headers", two_frames(), 400, "two frame headers"),
    ("3000 scans", scans_of(64, 3000), 413, "more than 100 scans"),
    ("60 scans of 16 megapixels", scans_of(4000, 50), 413, "scans of 4000 x 4000 pixels"),
    ("3000 scans of a baseline JPEG", baseline_scans(3000), 413, "more than 100 scans"),
    ("scans behind a false end", hidden_scans(3000), 413, "more than 100 scans"),
    ("comments between scans", scans_of(64, 0)[:-2] + segment(0xFE) * 5000 + b"\xff\xda" * 20,
     413, "1000 segments"),
    ("a million comments", in_jpeg(segment(0xFE) * MEGABYTES), 413, "more than 1000 segments"),
    ("9 MB of fill bytes", in_jpeg(b"\xff" * 9 * MEGABYTES), 400, "a segment is broken"),
    ("9 MB between segments", in_jpeg(segment(0xFE) + bytes(9 * MEGABYTES)), 400, "segment is"),
    ("little junk, many times", in_jpeg((segment(0xFE) + bytes(10_000)) * 900), 400, "segment is"),
    ("a JPEG of 12 bits", edited(JPEG, 4, 12), 400, "12 bits for a colour"),
    ("a JPEG of 9 colours", edited(JPEG, 9, 9), 400, "9 colours"),
    ("a JPEG of no height", jpeg_of(64, 0), 400, "no width or no height"),
    ("a JPEG without a frame", b"\xff\xd8" + JPEG[JPEG.index(b"\xff\xda") :], 400, "frame header"),
    ("a JPEG without pixels", JPEG[: JPEG.index(b"\xff\xda")], 400, "no pixels"),
    ("a PNG of no width", png(0, 8, (b"IDAT", b"")), 400, "no width or no height"),
    ("a PNG of 3 bits", PNG[:24] + b"\x03" + PNG[25:], 400, "what no PNG's says"),
    ("a PNG in 700,000 pieces", tiny_chunks(b"IDAT", 700_000), 413, "more than 10000 chunks"),
    ("a PNG of 700,000 notes", tiny_chunks(b"tEXt", 700_000), 413, "more than 10000 chunks"),
    ("80 MB of text in a PNG", unpacked(b"zTXt", 80), 400, "damaged"),
    ("80 MB of profile in a PNG", unpacked(b"iCCP", 80), 400, "damaged"),
    ("9,000 profiles in a PNG", many_packed(b"iCCP", 9_000), 413, "more than one colour profile"),
    ("9,000 packed texts in a PNG", many_packed(b"zTXt", 9_000), 413, "64 compressed texts"),
    ("9,000 texts for the world", many_packed(b"iTXt", 9_000), 413, "64 compressed texts"),
    ("9 MB of Photoshop's entries", photoshop(9), 413, "bytes of EXIF, Photoshop's"),
    ("9 MB of tables", tables(9), 413, "bytes of EXIF, Photoshop's"),
    ("EXIF in 900 pieces", in_jpeg(segment(0xE1, b"Exif\0\0" + bytes(10_000)) * 900), 413,
     "bytes of EXIF, Photoshop's"),
    ("more pixels in a PNG than it says", png(8, 8, (b"IDAT", zlib.compress(b"\x07" * 99))),
     400, "damaged"),
    ("a flipped byte in a PNG", PNG[:60] + b"\x99" + PNG[61:], 400, "damaged"),
    ("a WebP in a million pieces", webp_chunks(MEGABYTES), 413, "more than 10000 chunks"),
    ("a WebP that is no picture", WEBP[:12] + b"ALPH" + WEBP[16:], 400, "first chunk"),
    *_cut_off(),
    *_files_of_other_kinds(),
]  # fmt: skip


def exif_of(orientation: int) -> Image.Exif:
    exif = Image.Exif()
    exif[0x0112] = orientation
    return exif


TURNED = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}


def _odd() -> Iterator[tuple[str, bytes, Image.Image]]:
    wide = make_picture(3, 96, 48)
    for orientation, how in TURNED.items():
        for kind in ("PNG", "JPEG", "WEBP"):
            options = {"lossless": True} if kind == "WEBP" else {}
            content = encode(wide, kind, exif=exif_of(orientation), **options)
            stored = Image.open(BytesIO(content)).convert("RGB")
            yield f"a {kind} turned by EXIF {orientation}", content, stored.transpose(how)
    cmyk = encode(wide.convert("CMYK"))
    yield "a CMYK JPEG", cmyk, Image.open(BytesIO(cmyk)).convert("RGB")
    grey = np.asarray(wide.convert("L")).astype(np.uint16) << 8 | 0x37
    yield "a grey PNG of 16 bits", encode(Image.fromarray(grey), "PNG"), wide.convert("L")
    yield "a PNG of 16 bits", _png16(wide), wide
    for mode in ("L", "1"):
        yield f"a PNG of mode {mode}", encode(wide.convert(mode), "PNG"), wide.convert(mode)
    others = [make_picture(seed, 96, 48) for seed in (4, 5)]
    for kind in ("PNG", "WEBP"):
        options = {"lossless": True} if kind == "WEBP" else {}
        moving = encode(wide, kind, save_all=True, append_images=others, **options)
        yield f"an animated {kind}", moving, wide
    several = encode(wide, "MPO", save_all=True, append_images=others)
    yield "a JPEG with more pictures behind", several, Image.open(BytesIO(several)).convert("RGB")
    noisy = encode(wide, progressive=True) + b"\xff\xda" * 500
    yield "a JPEG with a film behind", noisy, Image.open(BytesIO(noisy)).convert("RGB")


def _png16(picture: Image.Image) -> bytes:
    """An RGB PNG of 16 bits per colour, which Pillow cannot write."""
    deep = (np.asarray(picture).astype(">u2") << 8) | 0x5A
    rows = b"".join(b"\x00" + row.astype(">u2").tobytes() for row in deep)
    made = bytearray(png(*picture.size, (b"IDAT", zlib.compress(rows))))
    made[24] = 16
    made[29:33] = struct.pack(">I", zlib.crc32(made[12:29]))
    return bytes(made)


ODD = list(_odd())


def damaged(seed: int, count: int) -> Iterator[bytes]:
    """Pictures with bytes changed, cut out, doubled or swapped at places of chance."""
    random = Random(seed)
    good = [JPEG, PROGRESSIVE, PNG, WEBP, *(content for _, content, _ in ODD)]
    for _ in range(count):
        yield mutated(random, random.choice(good))
