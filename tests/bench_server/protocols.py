"""How each server wants a picture, by its own documentation, and how it answers. `client` uses it.

Every answer is held against what the picture has to be answered: whoever computes something else is
no faster.
"""

from __future__ import annotations

import base64
import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from tests.bench_server.material import CLASSES

TOLERANCE = 0.05
"""Of a probability: what another decoder, another resizing and bfloat16 may make of a picture."""
BOUNDARY = "a-boundary-that-no-picture-has"


@dataclass(frozen=True)
class Protocol:
    """One server's."""

    path: str
    content_type: str
    wrap: Callable[[bytes], bytes]
    """From a picture file to a body."""
    unwrap: Callable[[Any], Mapping[str, Any]]
    """From a parsed answer to `label` and `probabilities`."""

    def request(self, port: int, picture: bytes) -> bytes:
        """The whole request, head and body."""
        body = self.wrap(picture)
        head = (
            f"POST {self.path} HTTP/1.1\r\nHost: 127.0.0.1:{port}\r\nAccept: application/json\r\n"
            f"Content-Type: {self.content_type}\r\nContent-Length: {len(body)}\r\n\r\n"
        )
        return head.encode() + body

    def fault(self, body: bytes, expected: Sequence[float]) -> str:
        """What is wrong with an answer; empty when nothing is."""
        try:
            answer = self.unwrap(json.loads(body))
            label = answer["label"]
            found = [float(answer["probabilities"][name]) for name in CLASSES]
        except (ValueError, KeyError, TypeError, IndexError) as error:
            return f"no prediction ({error!r}): {body[:200].decode(errors='replace')}"
        return difference(label, found, expected)


def difference(label: str, found: Sequence[float], expected: Sequence[float]) -> str:
    """What sets an answer apart from the one that it has to be; empty when nothing does.

    >>> difference("dog", [0.49, 0.51], [0.51, 0.49])
    ''
    >>> difference("cat", [0.9, 0.1], [0.1, 0.9])
    'answered [0.9, 0.1], not [0.1, 0.9]'
    """
    # Of two classes that are as good as equal, either may be named.
    chosen = found[CLASSES.index(label)] if label in CLASSES else -1.0
    near = all(abs(a - b) <= TOLERANCE for a, b in zip(found, expected, strict=True))
    if not near or chosen < max(found):
        return f"answered {list(found)}, not {list(expected)}"
    return ""


def _base64(picture: bytes) -> str:
    return base64.b64encode(picture).decode()


def _form(picture: bytes) -> bytes:
    disposition = 'Content-Disposition: form-data; name="image"; filename="picture.jpg"'
    head = f"--{BOUNDARY}\r\n{disposition}\r\nContent-Type: image/jpeg\r\n\r\n".encode()
    return head + picture + f"\r\n--{BOUNDARY}--\r\n".encode()


def _json(make: Callable[[str], object]) -> Callable[[bytes], bytes]:
    return lambda picture: json.dumps(make(_base64(picture))).encode()


def _itself(answer: Any) -> Mapping[str, Any]:
    found: Mapping[str, Any] = answer
    return found


def _first_prediction(answer: Any) -> Mapping[str, Any]:
    found: Mapping[str, Any] = answer["predictions"][0]
    return found


PROTOCOLS = {
    "raw": Protocol("/predict", "image/jpeg", bytes, _itself),
    "litserve": Protocol(
        "/predict", "application/json", _json(lambda data: {"image_data": data}), _itself
    ),
    "bentoml": Protocol("/classify", f"multipart/form-data; boundary={BOUNDARY}", _form, _itself),
    "kserve": Protocol(
        "/v1/models/cats-dogs:predict",
        "application/json",
        _json(lambda data: {"instances": [{"image": {"b64": data}}]}),
        _first_prediction,
    ),
    "mlflow": Protocol(
        "/invocations",
        "application/json",
        _json(lambda data: {"dataframe_split": {"columns": ["image"], "data": [[data]]}}),
        _first_prediction,
    ),
}
