"""The fuzzer's requests: each is made of its number alone, so that any can be made again.

Most are requests as HTTP wants them, with pictures, forms, JSON or headers that are mutated; these
can be sent several at once, since each is owed one answer. The rest is mutated as a whole.
"""

from __future__ import annotations

import base64
import json
from dataclasses import dataclass
from random import Random

from PIL import Image

from tests.server.artifacts import encode, make_picture
from tests.server.fuzz.mutation import mutated

_PATHS = ("/predict", "/v2/models/cats-dogs/infer", "/v2/models/cats-dogs/versions/9/infer", "/")
_READ = ("/health", "/ready", "/", "/v2", "/v2/models/cats-dogs", "/v2/health/live", "/nothing")
_METHODS = ("GET", "POST", "PUT", "DELETE", "PATCH", "OPTIONS", "TRACE")
_TYPES = ("image/jpeg", "image/png", "image/webp", "image/gif", "text/plain", "", ";", "a/b; c=")
_LETTERS = "abcXYZ0129-_.~!*'();:@&=+$,/?%#[]<>\\^`{|}\t \"\xe9\xff"
_BOUNDARY = "b0undary"


def _pictures() -> list[bytes]:
    small, wide = make_picture(1, 40, 40), make_picture(2, 96, 64)
    large = [make_picture(4, 200, 150), make_picture(5, 500, 375)]  # decoded at reduced scale
    grey = Image.new("I;16", (20, 20), 40_000)
    lossless = {"lossless": True}
    exif = Image.Exif()
    exif[0x0112] = 6
    return [
        encode(small),
        encode(wide, progressive=True),
        encode(wide, exif=exif),
        *(encode(picture) for picture in large),
        *(encode(picture, progressive=True) for picture in large),
        *(encode(picture, exif=exif) for picture in large),
        encode(small.convert("L")),
        encode(small.convert("CMYK")),
        encode(small, "PNG"),
        encode(small.convert("P"), "PNG"),
        encode(small.convert("RGBA"), "PNG"),
        encode(grey, "PNG"),
        encode(wide, "WEBP"),
        encode(small, "WEBP", **lossless),
        encode(small, "WEBP", save_all=True, append_images=[make_picture(3, 40, 40)], **lossless),
    ]


@dataclass(frozen=True, slots=True)
class Made:
    """One request as it goes onto the wire."""

    number: int
    kind: str
    content: bytes
    framed: bool
    """Whether it is HTTP, so that exactly one answer is owed."""


class Maker:
    """Makes requests from a seed."""

    def __init__(self, seed: int) -> None:
        self._seed = seed
        self.pictures = _pictures()
        """What is mutated."""

    def good(self, number: int) -> Made:
        """Return a request with one whole picture."""
        picture = self.pictures[number % len(self.pictures)]
        return Made(number, "good", _request(picture, "image/jpeg"), framed=True)

    def fuzzed(self, number: int) -> Made:
        """Return the request of this number."""
        random = Random((self._seed << 32) + number)
        kind, make = random.choices(
            (
                ("picture", self._picture),
                ("form", self._form),
                ("json", self._json),
                ("headers", self._headers),
            ),
            (60, 15, 15, 10),
        )[0]
        content = make(random)
        if random.random() < 0.07:
            return Made(number, f"broken {kind}", mutated(random, content), framed=False)
        return Made(number, kind, content, framed=True)

    def _any_picture(self, random: Random, whole: float = 0.25) -> bytes:
        picture = random.choice(self.pictures)
        return picture if random.random() < whole else mutated(random, picture)

    def _picture(self, random: Random) -> bytes:
        kind = random.choice(_TYPES) if random.random() < 0.05 else "image/jpeg"
        picture = self._any_picture(random)
        chunks = _chunks(random, picture) if random.random() < 0.1 else None
        return _request(picture, kind, chunks=chunks)

    def _form(self, random: Random) -> bytes:
        parts = []
        for _ in range(random.choice((0, 1, 1, 1, 1, 2, 3, 40))):
            name = random.choice(("file", "file", "file", "other", "", 'a"b'))
            head = f'Content-Disposition: form-data; name="{name}"; filename="x"'.encode()
            if random.random() < 0.1:
                head = mutated(random, head)
            parts.append(b"--b0undary\r\n" + head + b"\r\n\r\n" + self._any_picture(random, 0.7))
        body = b"\r\n".join([*parts, b"--b0undary--\r\n"])
        if random.random() < 0.3:
            body = mutated(random, body)
        return _request(body, f"multipart/form-data; boundary={_BOUNDARY}")

    def _json(self, random: Random) -> bytes:
        text = base64.b64encode(self._any_picture(random, 0.5)).decode()
        content, path = random.choice(
            (
                ({"image": text}, "/predict"),
                ({"images": [text] * random.randint(0, 3)}, "/predict"),
                ({"inputs": [_tensor(random, text)]}, _PATHS[1]),
                ({"id": _text(random), "inputs": [_tensor(random, text)] * 2}, _PATHS[1]),
            )
        )
        body = json.dumps(content).encode()
        if random.random() < 0.4:
            body = mutated(random, body)
        return _request(body, "application/json", path)

    def _headers(self, random: Random) -> bytes:
        lines = [f"X-{_word(random)}: {_text(random)}" for _ in range(random.randint(0, 12))]
        known = ("X-Request-ID", "traceparent", "Accept", "Inference-Header-Content-Length")
        lines += [f"{name}: {_text(random)}" for name in known if random.random() < 0.3]
        if random.random() < 0.3:
            lines.append(f"Content-Encoding: {random.choice(('gzip', 'identity', 'br', '??'))}")
        if random.random() < 0.2:
            lines.append("X-Long: " + "x" * random.randint(1, 40_000))
        if random.random() < 0.5:
            picture = self._any_picture(random, 0.8)
            return _request(picture, "image/jpeg", random.choice(_PATHS), lines)
        path = random.choice(_READ) + random.choice(("", "?", "?a=%ff", "/%00", "/..%2f", "//"))
        method = random.choice(_METHODS)
        return _request(b"", "", path, lines, method=method)


def _tensor(random: Random, text: str) -> dict[str, object]:
    shape = random.choice(([1], [1, 3, 32, 32], [2**40, 2**40], [-1], [], [0], "x", [1.5]))
    kind = random.choice(("BYTES", "FP32", "INT8", 7))
    data = random.choice(([text], [0.5] * 3072, [], [[text]], None, ["?"]))
    name = random.choice(("image", "input", "none"))
    return {"name": name, "datatype": kind, "shape": shape, "data": data}


def _word(random: Random) -> str:
    return "".join(random.choices("abcdefghijklmnop-", k=random.randint(1, 12)))


def _text(random: Random) -> str:
    return "".join(random.choices(_LETTERS, k=random.randint(0, 40))).strip()


def _chunks(random: Random, body: bytes) -> list[bytes]:
    """Return `body` in pieces, of which none is empty: some bytes each, or many."""
    usual = random.choice((1, 16, 256, 4096, 65_536))
    chunks = []
    while body:
        size = random.randint(1, 2 * usual)
        chunks.append(body[:size])
        body = body[size:]
    return chunks


def _request(
    body: bytes,
    content_type: str,
    path: str = "/predict",
    lines: list[str] | None = None,
    *,
    method: str = "POST",
    chunks: list[bytes] | None = None,
) -> bytes:
    """Return a request with this body, or with this body in chunks."""
    length = f"Content-Length: {len(body)}"
    framing = length if chunks is None else "Transfer-Encoding: chunked"
    head = [f"{method} {path} HTTP/1.1", "Host: server", framing, *(lines or ())]
    if content_type:
        head.append(f"Content-Type: {content_type}")
    if chunks is not None:
        body = b"".join(b"%x\r\n%s\r\n" % (len(chunk), chunk) for chunk in (*chunks, b""))
    return "\r\n".join(head).encode("latin-1") + b"\r\n\r\n" + body
