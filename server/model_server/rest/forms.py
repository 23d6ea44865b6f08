"""The pictures in a multipart form: its file parts named `file`.

`pictures` calls this in an inference thread. It knows no web framework.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from python_multipart.exceptions import FormParserError
from python_multipart.multipart import MultipartParser, parse_options_header

from model_server.errors import MalformedRequest, NoImage, TooManyImages

if TYPE_CHECKING:
    from python_multipart.multipart import MultipartCallbacks

MEDIA_TYPE = "multipart/form-data"
FORM_FIELD = "file"

_MAX_OTHER_PARTS = 100  # each costs time, and nobody reads them


def files(body: bytes, boundary: bytes, *, max_images: int) -> list[bytes]:
    """Return the content of the form's files named `file`, in their order.

    Raises:
        MalformedRequest: the body is not a form with this boundary, or is cut off.
        NoImage: the form has no such file.
        TooManyImages: it has more than `max_images`.

    """
    form = _Form(max_images)
    try:
        parser = MultipartParser(boundary, form.callbacks())
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


class _Form:
    """Collects the file parts named `file`; a few other parts are passed over."""

    def __init__(self, max_images: int) -> None:
        self.files: list[bytes] = []
        self.complete = False
        self._others = 0
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
            self._others += 1
            if self._others > _MAX_OTHER_PARTS:
                raise MalformedRequest(
                    f"The form has more than {_MAX_OTHER_PARTS} parts that are no file named"
                    f" {FORM_FIELD!r}: leave them out."
                )
            return
        if len(self.files) == self._max_images:
            raise TooManyImages(
                f"The form has more than {self._max_images} pictures: send them in several"
                " requests."
            )
        self.files.append(bytes(self._data))

    def _ends(self) -> None:
        self.complete = True
