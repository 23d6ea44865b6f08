"""Bad requests of `/predict`, for test_bad_inputs.py: pictures, types, forms and JSON."""

from __future__ import annotations

import base64
import zlib

from PIL import Image

from tests.server.artifacts import encode, make_picture
from tests.server.bad_inputs import (
    JPEG,
    PNG,
    WEBP,
    Bad,
    form,
    in_json,
    jpeg_of,
    malformed_json,
    part,
    picture,
    png,
    typed,
    webp_canvas,
)

GOOD = base64.b64encode(JPEG).decode()
END = b"--B--\r\n"
DEEP = b'{"image": ' + b"[" * 50_000 + b"]" * 50_000 + b"}"
TEXT_BOMB = b"Comment\x00\x00" + zlib.compress(bytes(80_000_000))
WIDE = encode(Image.new("1", (2000, 501)), "PNG")
BIG = encode(Image.new("1", (900, 900)), "PNG")

PICTURES = [
    picture("nothing", b"", "picture is empty"),
    picture("text", b"hello", "not a JPEG, PNG or WebP"),
    picture("bytes of all kinds", bytes(range(256)) * 9, "not a JPEG, PNG or WebP"),
    picture("a GIF", encode(make_picture(), "GIF"), "not a JPEG, PNG or WebP"),
    picture("a BMP", encode(make_picture(), "BMP"), "not a JPEG, PNG or WebP"),
    picture("a TIFF", encode(make_picture(), "TIFF"), "not a JPEG, PNG or WebP"),
    picture("an SVG", b'<svg xmlns="http://www.w3.org/2000/svg"/>', "not a JPEG, PNG or WebP"),
    picture("a JPEG's first bytes", JPEG[:20], "JPEG picture is damaged or incomplete"),
    picture("half a JPEG", JPEG[: len(JPEG) // 2], "JPEG picture is damaged"),
    picture("half a PNG", PNG[: len(PNG) // 2], "PNG picture is damaged"),
    picture("half a WebP", WEBP[: len(WEBP) // 2], "header is damaged"),
    picture("a PNG with a flipped byte", PNG[:60] + b"\x99" + PNG[61:], "PNG picture is damaged"),
    picture("a PNG without pixels", png(8, 8), "PNG picture is damaged"),
    picture("a PNG of no width", png(0, 8, (b"IDAT", b"")), "no width or no height"),
    picture("a PNG with 80 MB of text", png(8, 8, (b"zTXt", TEXT_BOMB)), "damaged"),
    picture(
        "too many pixels", WIDE, "2000 x 501 pixels, more than the 1000000", 413, "too-many-pixels"
    ),
    picture("a PNG's bomb", png(2**31 - 1, 2**31 - 1), "2147483647 x", 413, "too-many-pixels"),
    picture("a JPEG's bomb", jpeg_of(65500, 65500), "65500 x", 413, "too-many-pixels"),
    picture("a WebP's bomb", webp_canvas(16383, 16383), "16383 x", 413, "too-many-pixels"),
]
TYPES = [
    Bad("no type", 415, "unsupported-media-type", "Content-Type is missing", JPEG),
    Bad("a GIF's type", 415, "unsupported-media-type", "is image/gif", JPEG, typed("image/gif")),
    Bad("no such type", 415, "unsupported-media-type", "Content-Type is", JPEG, typed(";;=,")),
    Bad("plain text", 415, "unsupported-media-type", "is text/plain", b"{}", typed("text/plain")),
    Bad(
        "an encoded form",
        415,
        "unsupported-media-type",
        "is application/x-www-form-urlencoded",
        b"file=a",
        typed("application/x-www-form-urlencoded"),
    ),
    *(
        Bad(
            f"a body in {encoding}",
            415,
            "unsupported-encoding",
            f"Content-Encoding is {encoding}",
            zlib.compress(JPEG),
            {**typed("image/jpeg"), "content-encoding": encoding},
        )
        for encoding in ("gzip", "deflate", "br", "identity, gzip")
    ),
]
FORMS = [
    Bad(
        "no boundary",
        400,
        "malformed-request",
        "multipart body is malformed",
        part() + END,
        typed("multipart/form-data"),
    ),
    form("an empty boundary", part() + END, "multipart body is malformed", boundary=""),
    form("a wrong boundary", part() + END, "multipart body is malformed", boundary="C"),
    form("a long boundary", part() + END, "multipart body is malformed", boundary="B" * 300),
    form("an empty form", b"", "ends before its last boundary"),
    form("a form cut off", part()[:-40], "ends before its last boundary"),
    form("a form without its end", part(), "ends before its last boundary"),
    form("no part", END, "no file named 'file'", 422, "no-image"),
    form("no file name", part(disposition='name="file"') + END, "no file", 422, "no-image"),
    form("no name", part(disposition='filename="a"') + END, "no file", 422, "no-image"),
    form(
        "another name",
        part(disposition='name="image"; filename="a"') + END,
        "no file named 'file'",
        422,
        "no-image",
    ),
    form("an empty file", part(b"") + END, "picture is empty", 400, "not-an-image"),
    form(
        "one bad of two",
        part() + part(b"x") + END,
        "Picture 2 of 2: The bytes are not",
        400,
        "not-an-image",
    ),
    form(
        "a form in a form",
        part(b"--C\r\n\r\nx\r\n--C--") + END,
        "not a JPEG, PNG or WebP",
        400,
        "not-an-image",
    ),
    form("too many pictures", part() * 5 + END, "more than 4 pictures", 413, "too-many-images"),
    form(
        "too many pixels together, judged before any is decoded",
        part(BIG[: len(BIG) // 2]) + part(BIG) * 3 + END,
        "The 4 pictures have 3240000 pixels together, more than the 2000000",
        413,
        "too-many-pixels",
    ),
    form("too many parts", part(b"", 'name="a"') * 101 + END, "more than 100 parts"),
    form("a huge header", part(disposition="x" * 9000) + END, "multipart body is malformed"),
    form(
        "too many headers",
        b"--B\r\n" + b"X: y\r\n" * 50 + b"\r\nx\r\n" + END,
        "multipart body is malformed",
    ),
]
JSON = [
    malformed_json("an empty JSON body", b"", "body is empty"),
    malformed_json("no JSON", b"image=abc", "not JSON: expecting value at line 1, column 1"),
    malformed_json("JSON cut off", b'{"image": "ab', "unterminated string"),
    malformed_json("JSON with something behind", b"{} {}", "extra data"),
    malformed_json("Latin-1", b'{"image": "\xe9"}', "not UTF-8 at byte 11"),
    malformed_json("UTF-16", '{"image": ""}'.encode("utf-16"), "not UTF-8 at byte 0"),
    malformed_json("a byte order mark", b'\xef\xbb\xbf{"image": ""}', "byte order mark"),
    malformed_json("a key twice", b'{"image": "", "image": ""}', "the key 'image' twice"),
    malformed_json("NaN", b'{"image": NaN}', "NaN, which is not JSON"),
    malformed_json("infinity", b'{"image": -Infinity}', "-Infinity, which is not JSON"),
    malformed_json("a huge number", b'{"image": 1e999}', "no 64-bit float can hold"),
    malformed_json("5000 digits", b'{"image": %s}' % (b"9" * 5000), "no 64-bit float can hold"),
    malformed_json("deep nesting", DEEP, "nested too deeply"),
    malformed_json(
        "too many lists", b'{"image": ' + b"[" * 100_001, "lists and objects, more than"
    ),
    malformed_json("too many keys", b"{" + b'"":' * 50_001, "50001 keys and strings, more than"),
    in_json("a list", [GOOD], "The JSON is a list"),
    in_json("a string", "x", "The JSON is a string"),
    in_json("an empty object", {}, "has no picture", slug="no-image"),
    in_json("an unknown key", {"image": GOOD, "file": 1}, "unknown key 'file'"),
    in_json("both keys", {"image": GOOD, "images": [GOOD]}, "both `image` and `images`"),
    in_json("a number as picture", {"image": 7}, "`image` is a number"),
    in_json("null as picture", {"image": None}, "`image` is null"),
    in_json("no base64", {"image": "not base64!"}, "`image` is not base64"),
    in_json("no padding", {"image": "AAA"}, "`image` is not base64"),
    in_json("base64 for URLs", {"image": "_-8="}, "standard alphabet"),
    in_json("base64 in lines", {"image": "AAAA\nAAAA"}, "no line breaks"),
    in_json("other letters", {"image": "ÄÖÜß"}, "`image` is not base64"),
    in_json("half a surrogate", b'{"image": "\\ud800"}', "`image` is not base64"),
    in_json("a data: URL", {"image": f"data:image/jpeg;base64,{GOOD}"}, "is a data: URL"),
    in_json("an empty picture", {"image": ""}, "picture is empty", 400, "not-an-image"),
    in_json("text in base64", {"image": "aGVsbG8="}, "not a JPEG", 400, "not-an-image"),
    in_json("a string of pictures", {"images": GOOD}, "`images` is a string"),
    in_json("no pictures", {"images": []}, "`images` is an empty list", slug="no-image"),
    in_json("a picture in a list", {"images": [GOOD, [GOOD]]}, "`images[1]` is a list"),
    in_json("5 pictures", {"images": [GOOD] * 5}, "more than 4", 413, "too-many-images"),
]
