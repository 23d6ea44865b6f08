"""What a request says of its body's length while it waits to be asked for it; the room for all."""

from __future__ import annotations

import pytest
from starlette.types import Message

from model_server.errors import BodyTooLarge
from model_server.rest import bodies


async def read(length: str) -> bytes:
    async def receive() -> Message:
        return {"type": "http.request", "body": b"12345", "more_body": False}

    headers = {"expect": "100-continue", "content-length": length}
    room = bodies.Room(100, largest_body=10)
    return await bodies.read(receive, headers, room, max_bytes=10, timeout_seconds=5)


@pytest.mark.parametrize("length", ["5", "0" * 5000 + "5"])
async def test_a_body_of_a_length_that_may_be_is_asked_for(length: str):
    assert await read(length) == b"12345"


@pytest.mark.parametrize("length", ["11", "9" * 19, "9" * 5000])
async def test_a_body_that_is_announced_too_long_is_not_asked_for(length: str):
    with pytest.raises(BodyTooLarge):
        await read(length)


def test_large_bodies_leave_a_quarter_of_the_room_to_small_ones():
    small, large = bodies.SMALL_BYTES, 2 * bodies.SMALL_BYTES
    room = bodies.Room(8 * small, largest_body=large)
    assert [room.take(large, large) for _ in range(4)] == [True, True, True, False]
    assert not room.take(1, small + 1), "no small one any more"
    assert [room.take(small, small) for _ in range(3)] == [True, True, False]
    room.give_back(large)
    assert not room.take(large, large)
    room.give_back(large)
    assert room.take(large, large)


def test_a_body_of_the_largest_size_has_room_in_any_case():
    room = bodies.Room(1, largest_body=10_000_000)
    assert room.take(10_000_000, 10_000_000)
    assert not room.take(1, 1)
