"""What a request says of its body's length, while it waits to be asked for the body."""

from __future__ import annotations

import pytest
from starlette.types import Message

from model_server.errors import BodyTooLarge
from model_server.rest import bodies


async def read(length: str) -> bytes:
    async def receive() -> Message:
        return {"type": "http.request", "body": b"12345", "more_body": False}

    headers = {"expect": "100-continue", "content-length": length}
    return await bodies.read(receive, headers, bodies.Room(100), max_bytes=10, timeout_seconds=5)


@pytest.mark.parametrize("length", ["5", "0" * 5000 + "5"])
async def test_a_body_of_a_length_that_may_be_is_asked_for(length: str):
    assert await read(length) == b"12345"


@pytest.mark.parametrize("length", ["11", "9" * 19, "9" * 5000])
async def test_a_body_that_is_announced_too_long_is_not_asked_for(length: str):
    with pytest.raises(BodyTooLarge):
        await read(length)
