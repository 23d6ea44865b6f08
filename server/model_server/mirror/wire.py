"""How a mirrored request says so: two headers, which `sender` writes and `shadow` reads.

`X-CV-Factory-Mirror` names the revision that answered the client. `X-CV-Factory-Predictions` is
what that revision predicted: a JSON list of class names, one for each picture, in base64, because
a class may have any name and a header may not.
"""

from __future__ import annotations

import base64
import binascii
import json
import re

REVISION_HEADER = "X-CV-Factory-Mirror"
PREDICTIONS_HEADER = "X-CV-Factory-Predictions"
TENSOR_HEADER = "Inference-Header-Content-Length"
"""The V2 protocol's own header, which its binary bodies cannot be read without."""
_REVISION = re.compile(r"[A-Za-z0-9._-]{1,128}")
_MAX_LENGTH = 7168
"""Of the predictions' header: servers and proxies commonly stop reading a header at 8 KiB."""


class MirrorMalformed(Exception):
    """The headers of a mirrored request do not say what they must."""


class PredictionsTooLong(Exception):
    """So many pictures, or such long names, do not fit into a header."""


def encode(labels: tuple[str, ...]) -> str:
    """Return the predictions as a header's value.

    Raises:
        PredictionsTooLong: they do not fit.

    """
    value = base64.b64encode(json.dumps(labels).encode()).decode()
    if len(value) > _MAX_LENGTH:
        raise PredictionsTooLong
    return value


def decode(revision: str, predictions: str | None, *, pictures: int) -> tuple[str, ...]:
    """Return the predictions that came with a mirrored request of so many pictures.

    Raises:
        MirrorMalformed: one of the headers is not as `sender` writes it.

    """
    if not _REVISION.fullmatch(revision) or predictions is None or len(predictions) > _MAX_LENGTH:
        raise MirrorMalformed
    try:
        labels = json.loads(base64.b64decode(predictions, validate=True))
    except (binascii.Error, ValueError, RecursionError) as error:
        raise MirrorMalformed from error
    if not isinstance(labels, list) or not all(isinstance(label, str) for label in labels):
        raise MirrorMalformed
    if len(labels) != pictures:
        raise MirrorMalformed
    return tuple(labels)
