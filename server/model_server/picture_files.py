"""What a picture file says of itself, read and judged before any decoder sees it.

`preprocessing` and `prediction` call `judge`. It looks at headers and at the chain of segments, in
Python and without Pillow, and decodes nothing: a file that would cost memory or time out of
proportion to its bytes is refused here, whatever decoder comes after. What it lets through may
still be damaged; that is for the decoder to say.

Sources: ITU-T T.81 annex B (JPEG), W3C PNG third edition, RFC 9649 (WebP).
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass, replace
from struct import Struct

from model_server.errors import NotAnImage, TooComplex, TooManyPixels

MAX_SCANS = 100
"""Of a JPEG. Encoders write 10 for a progressive one; each is a pass over all pixels."""
MAX_SCANNED_MULTIPLE = 12
"""Scans times pixels, as a multiple of the most pixels: the largest picture may have 12 scans."""
MAX_SEGMENTS = 1000
"""Of a JPEG before its pixels, and between its scans."""
MAX_CHUNKS = 10_000
"""Of a PNG or WebP. At 10 MB a PNG of the smallest usual chunks, 8 KiB, has 1,280."""
MAX_PACKED_TEXTS = 64
"""Of a PNG. Each may unpack to 1 MiB, and so may its colour profile, of which it has one."""
MAX_STRAY_BYTES = 64 * 1024
"""Of a JPEG, between its segments: decoders go over these one by one."""
MAX_WALKED_BYTES = 1024 * 1024
"""Of a JPEG's segments that Pillow takes apart in Python: EXIF, Photoshop's entries and tables of
quantisation. Cameras and editors write some ten KiB.
"""

_PNG = b"\x89PNG\r\n\x1a\n"
_SIDES = Struct(">HH")
_IHDR = Struct(">I4sIIBBBBB")
_CHUNK_HEAD = Struct(">I4s")
_RIFF_HEAD = Struct("<4sI")
_MARKER = re.compile(rb"\xff[\x01-\xcf\xd8-\xfe]")
_NO_LENGTH = frozenset({0x01, 0xC8, *range(0xD0, 0xDA), *range(0xF0, 0xFE)})
_FRAMES = frozenset({*range(0xC0, 0xD0)} - {0xC4, 0xC8, 0xCC})
_PROGRESSIVE = frozenset({0xC2, 0xC6, 0xCA, 0xCE})
_START, _END, _SCAN = 0xD8, 0xD9, 0xDA
_EXIF_OR_XMP = 0xE1
_EXIF = b"Exif\0\0"
_WALKED = frozenset({0xDB, 0xED})
_PACKED_TEXTS = frozenset({b"zTXt", b"iTXt"})
_JPEG_MODES = {1: "L", 3: "RGB", 4: "CMYK"}
_PNG_MODES = {
    (depth, kind): mode
    for kind, depths, mode in (
        (0, (1, 2, 4, 8, 16), "L"),
        (2, (8, 16), "RGB"),
        (3, (1, 2, 4, 8), "P"),
        (4, (8, 16), "LA"),
        (6, (8, 16), "RGBA"),
    )
    for depth in depths
}


@dataclass(frozen=True, slots=True)
class PictureHeader:
    """What is known of a picture before it is decoded."""

    format: str
    """JPEG, PNG or WEBP, as Pillow names them."""
    width: int
    height: int
    """In pixels, before EXIF's orientation; of an animation, of its canvas."""
    mode: str
    """The colours as they are stored: L, LA, P, RGB, RGBA or CMYK."""
    bits: int = 8
    """Of one colour or palette index: 1, 2, 4, 8 or 16."""
    scans: int = 1
    """Passes over all pixels that decoding takes."""
    frames: int = 1
    """Of an animation, of which only the first is decoded."""
    may_be_turned: bool = True
    """Whether it may hold an orientation, as EXIF or XMP: a JPEG without either is upright."""

    @property
    def pixels(self) -> int:
        """Width times height."""
        return self.width * self.height


def judge(data: bytes, max_pixels: int) -> PictureHeader:
    """Return what the picture in `data` says of itself, if it may be decoded.

    Raises:
        NotAnImage: `data` is no JPEG, PNG or WebP, or ends or is damaged before its pixels.
        TooManyPixels: width times height is above `max_pixels`.
        TooComplex: it has more scans, segments or chunks than any good encoder writes.

    """
    if not data:
        raise NotAnImage("The picture is empty: send the bytes of a JPEG, PNG or WebP file.")
    header = _reader(data)(data)
    if not header.pixels:
        raise _damaged(header.format, "it has no width or no height")
    if header.pixels > max_pixels:
        raise TooManyPixels(
            f"The picture has {header.width} x {header.height} pixels, more than the {max_pixels}"
            " that are decoded: send a smaller one."
        )
    if header.scans * header.pixels > MAX_SCANNED_MULTIPLE * max_pixels:
        raise TooComplex(
            f"The JPEG picture has {header.scans} scans of {header.width} x {header.height} pixels,"
            " each as much work as a picture: save it again, as a baseline JPEG."
        )
    return header


def _reader(data: bytes) -> Callable[[bytes], PictureHeader]:
    if data.startswith(b"\xff\xd8\xff"):
        return _jpeg
    if data.startswith(_PNG):
        return _png
    if data.startswith(b"RIFF") and data[8:12] == b"WEBP":
        return _webp
    raise NotAnImage("The bytes are not a JPEG, PNG or WebP picture.")


def _damaged(name: str, why: str) -> NotAnImage:
    return NotAnImage(f"The {name} picture is damaged or incomplete: {why}.")


def _jpeg(data: bytes) -> PictureHeader:
    frame, at, stray, walked, described = None, 2, 0, 0, False
    for _ in range(MAX_SEGMENTS):
        before = at
        marker, at = _next_segment(data, at, MAX_STRAY_BYTES - stray)
        stray += at - before - 2
        length = int.from_bytes(data[at : at + 2], "big")
        if marker in _FRAMES:
            if frame is not None:  # decoders differ in which of them they believe
                raise _damaged("JPEG", "it has two frame headers")
            frame = (marker, at)
        elif marker == _SCAN:
            if frame is None:
                raise _damaged("JPEG", "its pixels come before its frame header")
            header = _jpeg_frame(data, *frame, at, at + length)
            return header if described else replace(header, may_be_turned=False)
        described = described or marker == _EXIF_OR_XMP
        if marker in _WALKED or (marker == _EXIF_OR_XMP and data.startswith(_EXIF, at + 2)):
            walked += length
            if walked > MAX_WALKED_BYTES:
                raise TooComplex(
                    f"The JPEG picture has more than {MAX_WALKED_BYTES} bytes of EXIF, Photoshop's"
                    " entries and tables before its pixels: save it again, without them."
                )
        if marker not in _NO_LENGTH:
            at += length
    raise TooComplex(
        f"The JPEG picture has more than {MAX_SEGMENTS} segments before its pixels: save it again."
    )


def _next_segment(data: bytes, at: int, most_stray: int) -> tuple[int, int]:
    """Return the next marker at or after `at`, and where its segment's length stands."""
    if data[at : at + 1] == b"\xff" and data[at + 1 : at + 2] not in {b"", b"\x00", b"\xff"}:
        return data[at + 1], at + 2  # as good files have it
    found = _MARKER.search(data, at, at + most_stray + 2)
    if found is None:
        raise _damaged("JPEG", "it has no pixels" if at >= len(data) else "a segment is broken")
    return data[found.end() - 1], found.end()


def _jpeg_frame(data: bytes, kind: int, at: int, scan_at: int, entropy_at: int) -> PictureHeader:
    """Read the frame header at `at`; the first scan's stands at `scan_at`."""
    if len(data) <= max(entropy_at, scan_at + 2, at + 7):
        raise _damaged("JPEG", "it ends before its pixels")
    bits, components = data[at + 2], data[at + 7]
    height, width = _SIDES.unpack_from(data, at + 3)
    if bits != 8:
        raise NotAnImage(f"The JPEG picture has {bits} bits for a colour: only 8 are decoded.")
    if components not in _JPEG_MODES:
        raise NotAnImage(f"The JPEG picture has {components} colours: 1, 3 or 4 are decoded.")
    # A baseline picture whose first scan has all colours has no other.
    several = kind in _PROGRESSIVE or data[scan_at + 2] < components
    scans = 1 + _scans(data, entropy_at) if several else 1
    return PictureHeader("JPEG", width, height, _JPEG_MODES[components], scans=scans)


def _scans(data: bytes, at: int) -> int:
    """Count the scans from `at` on.

    No pixel's code looks like a marker, so to count the bytes of a scan's is enough where that is
    few; what follows the picture's end in the file, and what segments hold, can look like one.
    """
    count = data.count(b"\xff\xda", at)
    if count < MAX_SCANNED_MULTIPLE:
        return count
    scans = others = 0
    while found := _MARKER.search(data, at):
        marker, at = data[found.end() - 1], found.end()
        if marker == _END:
            return scans
        scans += marker == _SCAN
        others += marker != _SCAN
        if scans >= MAX_SCANS or others > MAX_SEGMENTS:
            raise TooComplex(
                f"The JPEG picture has more than {MAX_SCANS} scans, or {MAX_SEGMENTS} segments"
                " between them, each more work: save it again, as a baseline JPEG."
            )
        if marker not in _NO_LENGTH:
            at += int.from_bytes(data[at : at + 2], "big")
    return scans


def _png(data: bytes) -> PictureHeader:
    if len(data) < len(_PNG) + _IHDR.size + 4:
        raise _damaged("PNG", "it ends in its header")
    length, name, width, height, bits, kind, *_ = _IHDR.unpack_from(data, len(_PNG))
    if (length, name) != (13, b"IHDR") or (bits, kind) not in _PNG_MODES:
        raise _damaged("PNG", "its header says what no PNG's says")
    frames, profiles, texts = 1, 0, 0
    at, end = len(_PNG), len(data) - _CHUNK_HEAD.size
    for _ in range(MAX_CHUNKS):
        if at > end:
            break
        length, name = _CHUNK_HEAD.unpack_from(data, at)
        if name == b"acTL":
            frames = int.from_bytes(data[at + 8 : at + 12], "big")
        elif name == b"iCCP":
            profiles += 1
        elif name in _PACKED_TEXTS:
            texts += 1
        elif name == b"IEND":
            break
        at += 12 + length
    else:
        raise _too_many_chunks("PNG")
    if profiles > 1 or texts > MAX_PACKED_TEXTS:
        raise TooComplex(
            f"The PNG picture has more than one colour profile, or more than {MAX_PACKED_TEXTS}"
            " compressed texts, each more work: save it again, without them."
        )
    return PictureHeader("PNG", width, height, _PNG_MODES[bits, kind], bits, frames=frames)


def _webp(data: bytes) -> PictureHeader:
    kind = data[12:16]
    if len(data) < (25 if kind == b"VP8L" else 30):
        raise _damaged("WebP", "it ends in its header")
    if kind == b"VP8 " and data[23:26] == b"\x9d\x01\x2a":
        sides = int.from_bytes(data[26:30], "little")
        return PictureHeader("WEBP", sides & 0x3FFF, sides >> 16 & 0x3FFF, "RGB")
    if kind == b"VP8L" and data[20] == 0x2F:
        sides = int.from_bytes(data[21:25], "little")
        mode = "RGBA" if sides >> 28 & 1 else "RGB"
        return PictureHeader("WEBP", (sides & 0x3FFF) + 1, (sides >> 14 & 0x3FFF) + 1, mode)
    if kind == b"VP8X":
        width, height = (int.from_bytes(data[i : i + 3], "little") + 1 for i in (24, 27))
        mode = "RGBA" if data[20] & 0x10 else "RGB"
        return PictureHeader("WEBP", width, height, mode, frames=_webp_frames(data))
    raise _damaged("WebP", "its first chunk is no picture's")


def _webp_frames(data: bytes) -> int:
    frames, at, end = 0, 12, len(data) - _RIFF_HEAD.size
    for _ in range(MAX_CHUNKS):
        if at > end:
            return frames or 1
        name, length = _RIFF_HEAD.unpack_from(data, at)
        frames += name == b"ANMF"
        at += 8 + length + length % 2
    raise _too_many_chunks("WebP")


def _too_many_chunks(name: str) -> TooComplex:
    return TooComplex(
        f"The {name} picture has more than {MAX_CHUNKS} chunks: save it again, with larger ones."
    )
