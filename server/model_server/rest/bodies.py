"""Reading a request's body within limits, and finding the pictures in it.

The `/predict` route calls `read` on the event loop, and `images` in an inference thread.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from typing import TYPE_CHECKING, TypeAlias

from python_multipart.exceptions import FormParserError
from python_multipart.multipart import MultipartParser, parse_options_header
from starlette.requests import ClientDisconnect
from starlette.types import Receive

from model_server.errors import (
    BodyTimeout,
    BodyTooLarge,
    MalformedRequest,
    NoImage,
    TooManyImages,
    UnsupportedMediaType,
)

if TYPE_CHECKING:
    from python_multipart.multipart import MultipartCallbacks

IMAGE_TYPES = ("image/jpeg", "image/png", "image/webp")
FORM_TYPE = "multipart/form-data"
FORM_FIELD = "file"

Headers: TypeAlias = Mapping[str, str]


async def read(
    receive: Receive, headers: Headers, *, max_bytes: int, timeout_seconds: float
) -> bytes:
    """Return the whole body.

    A body that is too long is read to its end and thrown away, within the same time, for the
    answer to reach a client that writes before it reads.

    Raises:
        BodyTooLarge: it has more than `max_bytes`.
        BodyTimeout: it did not arrive within `timeout_seconds`.
        ClientDisconnect: the client went away.

    """
    too_large = BodyTooLarge(f"The body is longer than {max_bytes} bytes: send a smaller picture.")
    if headers.get("expect", "").lower() == "100-continue" and _announced(headers) > max_bytes:
        raise too_large
    chunks: list[bytes] = []
    size = 0
    try:
        async with asyncio.timeout(timeout_seconds):
            more = True
            while more:
                message = await receive()
                if message["type"] == "http.disconnect":
                    raise ClientDisconnect
                size += len(message.get("body", b""))
                if size <= max_bytes:
                    chunks.append(message.get("body", b""))
                more = message.get("more_body", False)
    except TimeoutError as error:
        raise BodyTimeout(
            f"The body did not arrive within {timeout_seconds:g} s: send it faster, or a smaller"
            " picture."
        ) from error
    if size > max_bytes:
        raise too_large
    return chunks[0] if len(chunks) == 1 else b"".join(chunks)


def images(body: bytes, headers: Headers, *, max_images: int) -> list[bytes]:
    """Return the encoded pictures in `body`: itself, or the form's parts named `file`.

    Raises:
        UnsupportedMediaType: the Content-Type is none of those that are read.
        MalformedRequest: the body is not the form that it says it is.
        NoImage: the form has no file.
        TooManyImages: the form has more than `max_images`.

    """
    media_type, options = parse_options_header(headers.get("content-type"))
    kind = media_type.decode("latin-1").lower()
    if kind in IMAGE_TYPES:
        return [body]
    if kind != FORM_TYPE:
        raise UnsupportedMediaType(
            f"The Content-Type is {kind or 'missing'}: send a picture as"
            f" {', '.join(IMAGE_TYPES)}, or a {FORM_TYPE} with the picture as {FORM_FIELD!r}."
        )
    form = _Form(max_images)
    try:
        parser = MultipartParser(options.get(b"boundary", b""), form.callbacks())
        parser.write(body)
        parser.finalize()
    except FormParserError as error:
        raise MalformedRequest(
            "The multipart body is malformed: let an HTTP library write it and its boundary."
        ) from error
    if not form.complete:
        raise MalformedRequest("The multipart body ends before its last boundary: send all of it.")
    if not form.files:
        raise NoImage(
            f"The form has no file named {FORM_FIELD!r}: send it as `curl -F"
            f" {FORM_FIELD}=@cat.jpg`."
        )
    return form.files


def _announced(headers: Headers) -> int:
    length = headers.get("content-length", "")
    return int(length) if length.isascii() and length.isdigit() else 0


class _Form:
    """Collects the file parts named `file`; other parts are passed over."""

    def __init__(self, max_images: int) -> None:
        self.files: list[bytes] = []
        self.complete = False
        self._max_images = max_images
        self._name = b""
        self._value = b""
        self._wanted = False
        self._data = bytearray()

    def callbacks(self) -> MultipartCallbacks:
        return {
            "on_part_begin": self._part_begins,
            "on_header_field": self._header_name,
            "on_header_value": self._header_value,
            "on_header_end": self._header_ends,
            "on_part_data": self._part_data,
            "on_part_end": self._part_ends,
            "on_end": self._ends,
        }

    def _part_begins(self) -> None:
        self._wanted = False
        self._data = bytearray()

    def _header_name(self, data: bytes, start: int, end: int) -> None:
        self._name += data[start:end]

    def _header_value(self, data: bytes, start: int, end: int) -> None:
        self._value += data[start:end]

    def _header_ends(self) -> None:
        if self._name.lower() == b"content-disposition":
            _, options = parse_options_header(self._value)
            self._wanted = options.get(b"name") == FORM_FIELD.encode() and b"filename" in options
        self._name = self._value = b""

    def _part_data(self, data: bytes, start: int, end: int) -> None:
        if self._wanted:
            self._data += data[start:end]

    def _part_ends(self) -> None:
        if not self._wanted:
            return
        if len(self.files) == self._max_images:
            raise TooManyImages(
                f"The form has more than {self._max_images} pictures: send them in several"
                " requests."
            )
        self.files.append(bytes(self._data))

    def _ends(self) -> None:
        self.complete = True
