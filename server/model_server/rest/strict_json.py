"""JSON bodies, read strictly: what is ambiguous or is not JSON is refused with its place.

`pictures` and `v2_protocol` call this in an inference thread. It knows no web framework. It must
not hold up the event loop either, which needs the interpreter for probes: numbers are converted
in Python, where other threads get their turn, and what is not is counted beforehand: lists and
objects, and keys and strings.
"""

from __future__ import annotations

import base64
import binascii
import json
import math
from collections import Counter
from typing import Any, NoReturn

from model_server.errors import InvalidRequest, MalformedRequest

MEDIA_TYPE = "application/json"

# A tensor of 32 pictures of 224 x 224 has 22,000 lists. Ten MiB of nothing but brackets would be
# millions of objects, and seconds in which no other thread runs.
_MAX_LISTS_AND_OBJECTS = 100_000
# Pictures and names are some dozens. Ten MiB of short keys would be 0.6 s, read in one go.
_MAX_KEYS_AND_STRINGS = 50_000
_MAX_INTEGER_DIGITS = 20
_SHOWN_LENGTH = 60
_BYTE_ORDER_MARK = b"\xef\xbb\xbf"


def parse_object(body: bytes) -> dict[str, Any]:
    """Return the JSON object that is all of `body`.

    Raises:
        MalformedRequest: it is not JSON in UTF-8, names a key twice, or is too deep or too large.
        InvalidRequest: it is JSON, but not an object.

    """
    if not body:
        raise MalformedRequest("The body is empty: send a JSON object.")
    if body.startswith(_BYTE_ORDER_MARK):
        raise MalformedRequest("The JSON begins with a byte order mark: send UTF-8 without one.")
    _bound(body)
    try:
        value = json.loads(
            body.decode(),
            object_pairs_hook=_unique_keys,
            parse_constant=_refuse_constant,
            parse_float=_float,
            parse_int=_integer,
        )
    except UnicodeDecodeError as error:
        raise MalformedRequest(
            f"The JSON is not UTF-8 at byte {error.start}: encode it as UTF-8."
        ) from error
    except json.JSONDecodeError as error:
        fault = error.msg.lower().removesuffix(" at")
        hint = (
            " and base64 without line breaks (`base64 -w0`)" if "control character" in fault else ""
        )
        raise MalformedRequest(
            f"The body is not JSON: {fault} at line {error.lineno}, column {error.colno}; let a"
            f" JSON library write it{hint}."
        ) from error
    except RecursionError as error:
        raise MalformedRequest("The JSON is nested too deeply: nothing here needs that.") from error
    if not isinstance(value, dict):
        raise InvalidRequest(f"The JSON is {kind_of(value)}: send an object, {{...}}.")
    return value


def base64_bytes(text: str, what: str) -> bytes:
    """Return the bytes that `text` encodes in base64's standard alphabet, with its padding.

    `what` names the place in the sentence of the refusal.

    Raises:
        InvalidRequest: it is something else, also a data: URL or text with line breaks.

    """
    if text[:5].lower() == "data:":
        raise InvalidRequest(
            f"{what} is a data: URL: send only the base64 text that follows its comma."
        )
    try:
        return base64.b64decode(text, validate=True)
    except (binascii.Error, ValueError) as error:
        raise InvalidRequest(
            f"{what} is not base64: send the bytes in the standard alphabet (A-Z, a-z, 0-9, +, /)"
            " with = as padding and no line breaks, as `base64 -w0` writes them."
        ) from error


def kind_of(value: Any) -> str:
    """Return what JSON calls `value`, with its article."""
    if value is None:
        return "null"
    if isinstance(value, bool):
        return "a boolean"
    kinds = {dict: "an object", list: "a list", str: "a string", int: "a number", float: "a number"}
    return kinds[type(value)]


def shown(text: str) -> str:
    """Return `text` quoted for a sentence, cut where it is long."""
    return repr(text if len(text) <= _SHOWN_LENGTH else text[:_SHOWN_LENGTH] + "...")


def _bound(body: bytes) -> None:
    """Refuse what would hold the interpreter; what is inside of strings counts too."""
    opened = body.count(b"[") + body.count(b"{")
    if opened > _MAX_LISTS_AND_OBJECTS:
        raise MalformedRequest(
            f"The JSON opens {opened} lists and objects, more than the {_MAX_LISTS_AND_OBJECTS}"
            " that are read: send only what the schema names, and a tensor's data flat or as binary"
            " data."
        )
    texts = body.count(b'"') // 2
    if texts > _MAX_KEYS_AND_STRINGS:
        raise MalformedRequest(
            f"The JSON has {texts} keys and strings, more than the {_MAX_KEYS_AND_STRINGS} that are"
            " read: send only what the schema names."
        )


def _unique_keys(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) != len(pairs):
        twice = next(key for key, count in Counter(key for key, _ in pairs).items() if count > 1)
        raise MalformedRequest(f"The JSON names the key {shown(twice)} twice: name it once.")
    return found


def _refuse_constant(name: str) -> NoReturn:
    raise MalformedRequest(f"The JSON holds {name}, which is not JSON: send finite numbers.")


def _float(text: str) -> float:
    value = float(text)
    if math.isinf(value):
        raise MalformedRequest(
            f"The JSON holds the number {shown(text)}, which no 64-bit float can hold: send finite"
            " numbers."
        )
    return value


def _integer(text: str) -> int | float:
    """Longer ones are numbers in some tensor at most; Python reads digits in quadratic time."""
    return int(text) if len(text) <= _MAX_INTEGER_DIGITS else _float(text)
