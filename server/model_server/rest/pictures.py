"""The encoded pictures in a body of `/predict`: raw, in a form, or in JSON.

`predict` calls `find` in an inference thread.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from model_server.errors import InvalidRequest, NoImage, TooManyImages, UnsupportedMediaType
from model_server.rest import bodies, forms, strict_json

IMAGE_TYPES = ("image/jpeg", "image/png", "image/webp")

_EXAMPLES = '{"image": "<base64>"} or {"images": ["<base64>", ...]}'


@dataclass(frozen=True, slots=True)
class Pictures:
    """What a client sent to be classified."""

    encoded: list[bytes]
    """The bytes of picture files, in the request's order; at least one."""
    as_list: bool
    """Whether the answer is a list: for one picture too, where it was sent in a list."""


def find(body: bytes, headers: bodies.Headers, *, max_images: int) -> Pictures:
    """Return the pictures in `body`, read as its Content-Type says.

    Raises:
        UnsupportedMediaType: the Content-Type is none of those that are read.
        MalformedRequest: the body is not the form, or not the JSON, that it says it is.
        InvalidRequest: the JSON says something else than pictures.
        NoImage: the form or the JSON has no picture.
        TooManyImages: there are more than `max_images`.

    """
    kind, options = bodies.media_type(headers)
    if kind in IMAGE_TYPES:
        return Pictures([body], as_list=False)
    if kind == forms.MEDIA_TYPE:
        files = forms.files(body, options.get(b"boundary", b""), max_images=max_images)
        return Pictures(files, as_list=len(files) > 1)
    if kind == strict_json.MEDIA_TYPE:
        return _in_json(strict_json.parse_object(body), max_images)
    raise UnsupportedMediaType(
        f"The Content-Type is {kind[:60] or 'missing'}: send a picture as {', '.join(IMAGE_TYPES)},"
        f" a {forms.MEDIA_TYPE} with the picture as {forms.FORM_FIELD!r}, or"
        f" {strict_json.MEDIA_TYPE} with {_EXAMPLES}."
    )


def _in_json(content: dict[str, Any], max_images: int) -> Pictures:
    for key in content:
        if key not in {"image", "images"}:
            raise InvalidRequest(
                f"The JSON has the unknown key {strict_json.shown(key)}: send {_EXAMPLES}."
            )
    if not content:
        raise NoImage(f"The JSON has no picture: send {_EXAMPLES}.")
    if len(content) == 2:
        raise InvalidRequest("The JSON has both `image` and `images`: send one of them.")
    if "image" in content:
        return Pictures([_picture(content["image"], "`image`")], as_list=False)
    images = content["images"]
    if not isinstance(images, list):
        raise InvalidRequest(
            f"`images` is {strict_json.kind_of(images)}: send a list of base64 strings."
        )
    if not images:
        raise NoImage("`images` is an empty list: send at least one picture.")
    if len(images) > max_images:
        raise TooManyImages(
            f"`images` has {len(images)} pictures, more than {max_images}: send them in several"
            " requests."
        )
    encoded = [_picture(item, f"`images[{index}]`") for index, item in enumerate(images)]
    return Pictures(encoded, as_list=True)


def _picture(value: Any, what: str) -> bytes:
    if not isinstance(value, str):
        raise InvalidRequest(
            f"{what} is {strict_json.kind_of(value)}: send the picture's bytes as a base64 string."
        )
    return strict_json.base64_bytes(value, what)
