"""A share of `make test-fuzz`, and that the fuzzer sees what it looks for."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from io import BytesIO

import pytest
from PIL import Image

from model_server.reduced_jpeg import reduction_of
from tests.server.artifacts import SIDE
from tests.server.fuzz.__main__ import SETTINGS
from tests.server.fuzz.campaign import Plan, play
from tests.server.fuzz.making import Made, Maker
from tests.server.fuzz.sending import Tally, send
from tests.server.processes import ServerProcess

GOOD = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"
OVERLOADED = b'{"type": "urn:cv-factory:problem:overloaded"}'


def test_some_thousand_generated_requests_find_nothing(start_server: Callable[..., ServerProcess]):
    server = start_server(inference_threads=2, **SETTINGS).wait_ready()
    outcome = play(server, Plan(1_500, seed=11))
    assert outcome.wrong == []
    assert outcome.tally.requests == 1_500
    assert outcome.decoded_share >= 0.3
    assert outcome.grown_megabytes < 50
    assert {200, 400, 415, 422} <= set(outcome.tally.statuses)


def test_what_is_mutated_are_also_jpegs_that_are_decoded_at_reduced_scale():
    opened = [Image.open(BytesIO(content)) for content in Maker(3).pictures]
    reduced = [
        picture
        for picture in opened
        if picture.format == "JPEG" and reduction_of(picture.size, (SIDE, SIDE)) > 1
    ]
    assert {reduction_of(picture.size, (SIDE, SIDE)) for picture in reduced} == {2, 8}
    for special in ("progressive", "exif"):
        assert 0 < sum(special in picture.info for picture in reduced) < len(reduced)


def test_a_request_is_made_of_its_number_alone():
    one, other = Maker(3), Maker(3)
    made = [one.fuzzed(number) for number in range(50)]
    assert [other.fuzzed(number) for number in reversed(range(50))] == made[::-1]
    assert Maker(4).fuzzed(1) != made[1]


@pytest.mark.parametrize(
    ("answer", "said"),
    [
        (GOOD, []),
        (b"HTTP/1.1 503 No\r\nContent-Length: %d\r\n\r\n" % len(OVERLOADED) + OVERLOADED, []),
        (b"HTTP/1.1 503 No\r\nContent-Length: 2\r\n\r\n{}", ["request 0 (good): 503 b"]),
        (b"HTTP/1.1 500 No\r\nContent-Length: 0\r\n\r\n", ["request 0 (good): 500 b"]),
        (b"", ["request 0 (good): IncompleteReadError"]),
    ],
)
@pytest.mark.parametrize("framed", [True, False])
def test_what_no_client_should_get_is_told_with_the_request_that_got_it(
    answer: bytes, said: list[str], framed: bool
):
    request = b"GET / HTTP/1.1\r\n\r\n"

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(answer)
        writer.close()
        await writer.wait_closed()

    async def scene() -> Tally:
        tally = Tally()
        async with await asyncio.start_server(serve, "127.0.0.1", 0) as server:
            made = Made(0, "good", request, framed)
            await send(server.sockets[0].getsockname(), [made], 1, tally)
        return tally

    tally = asyncio.run(scene())
    assert tally.requests == 1
    owed = said if answer or framed else []  # a broken request may end without an answer
    assert [found[: len(start)] for found, start in zip(tally.findings, owed, strict=True)] == owed
