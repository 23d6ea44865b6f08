"""Reading a request's body within limits of size and time, and what its headers say of it.

`dataplane` calls `read` and `client_gone` on the event loop; `pictures` and `v2` ask for the media
type.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from typing import TypeAlias

from python_multipart.multipart import parse_options_header
from starlette.requests import ClientDisconnect
from starlette.types import Receive

from model_server.errors import BodyTimeout, BodyTooLarge, UnsupportedEncoding

Headers: TypeAlias = Mapping[str, str]

_SHOWN_LENGTH = 60


async def client_gone(receive: Receive) -> None:
    """Wait until the client hangs up; only after the whole body was read."""
    while (await receive())["type"] != "http.disconnect":
        pass


async def read(
    receive: Receive, headers: Headers, *, max_bytes: int, timeout_seconds: float
) -> bytes:
    """Return the whole body.

    A body that is too long is read to its end and thrown away, within the same time, for the
    answer to reach a client that writes before it reads.

    Raises:
        BodyTooLarge: it has more than `max_bytes`.
        BodyTimeout: it did not arrive within `timeout_seconds`.
        UnsupportedEncoding: it is compressed.
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
    encoding = headers.get("content-encoding", "").strip().lower()
    if encoding not in {"", "identity"}:
        raise UnsupportedEncoding(
            f"The Content-Encoding is {encoding[:_SHOWN_LENGTH]}: send the body as it is; pictures"
            " are compressed already."
        )
    return chunks[0] if len(chunks) == 1 else b"".join(chunks)


def media_type(headers: Headers) -> tuple[str, dict[bytes, bytes]]:
    """Return the Content-Type in lower case, "" where there is none, and its parameters."""
    kind, options = parse_options_header(headers.get("content-type"))
    return kind.decode("latin-1").lower(), options


def _announced(headers: Headers) -> int:
    length = headers.get("content-length", "")
    return int(length) if length.isascii() and length.isdigit() else 0
