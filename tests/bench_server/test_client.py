from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from tests.bench_server.client import Load, Order, Outcome, read_answer
from tests.bench_server.material import CLASSES, Material
from tests.bench_server.protocols import PROTOCOLS, difference

RIGHT = {"label": "dog", "probabilities": {"cat": 0.25, "dog": 0.75}}
WRONG = {"label": "cat", "probabilities": {"cat": 0.75, "dog": 0.25}}

Reply = Callable[[int], tuple[str, object, str]]
"""From the number of a request to a status, what is answered, and more headers."""


@pytest.fixture
def material(tmp_path: Path) -> Material:
    """Three pictures whose answer is `RIGHT`; what is in them does not matter here."""
    folder = tmp_path / "small"
    folder.mkdir()
    for number in range(3):
        (folder / f"{number:03d}.jpg").write_bytes(b"picture %d" % number)
    expected = [[RIGHT["probabilities"][name] for name in CLASSES]] * 3  # type: ignore[index]
    (folder / "expected.json").write_text(json.dumps(expected))
    return Material(tmp_path)


@asynccontextmanager
async def serving(reply: Reply) -> AsyncIterator[tuple[int, list[bytes]]]:
    """A server on the loopback, and the bodies that it has been sent."""
    bodies: list[bytes] = []

    async def converse(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while True:
                head = await reader.readuntil(b"\r\n\r\n")
                length = int(head.lower().partition(b"content-length: ")[2].split(b"\r\n")[0])
                bodies.append(await reader.readexactly(length))
                status, answer, more = reply(len(bodies))
                body = json.dumps(answer).encode()
                writer.write(
                    f"HTTP/1.1 {status}\r\nContent-Length: {len(body)}\r\n{more}\r\n".encode()
                    + body
                )
                if "close" in more:
                    break
        except (asyncio.IncompleteReadError, ConnectionError):
            pass
        finally:
            writer.close()

    server = await asyncio.start_server(converse, "127.0.0.1", 0)
    async with server:
        yield server.sockets[0].getsockname()[1], bodies


def order(port: int, **changes: object) -> Order:
    told = {"connections": 2, "warm_up": 4, "seconds": 0.1, **changes}
    return Order(port, "raw", "small", **told)  # type: ignore[arg-type]


async def play(material: Material, reply: Reply, **changes: object) -> Outcome:
    async with serving(reply) as (port, _):
        return await Load(material).play(order(port, **changes), lambda: None, lambda: None)


async def test_right_answers_are_counted_and_timed_and_the_warm_up_is_not(material):
    begun: list[int] = []
    async with serving(lambda _: ("200 OK", RIGHT, "")) as (port, bodies):
        outcome = await Load(material).play(
            order(port), lambda: begun.append(len(bodies)), lambda: None
        )
    assert begun == [4]
    assert outcome.succeeded == len(outcome.milliseconds) == len(bodies) - 4 > 0
    assert (outcome.failed, outcome.wrong) == (0, 0)
    assert 0.1 <= outcome.seconds < 20


async def test_every_picture_is_sent(material):
    async with serving(lambda _: ("200 OK", RIGHT, "")) as (port, bodies):
        await Load(material).play(order(port), lambda: None, lambda: None)
    assert set(bodies) == {b"picture 0", b"picture 1", b"picture 2"}


@pytest.mark.parametrize("answer", [WRONG, {"label": "dog"}, [], "dog"])
async def test_an_answer_200_with_another_prediction_is_wrong(material, answer):
    outcome = await play(material, lambda _: ("200 OK", answer, ""))
    assert outcome.wrong > 0
    assert (outcome.succeeded, outcome.failed, outcome.milliseconds) == (0, 0, [])
    assert outcome.first_trouble


async def test_a_wrong_answer_in_the_warm_up_is_wrong_too(material):
    outcome = await play(material, lambda n: ("200 OK", WRONG if n == 1 else RIGHT, ""))
    assert outcome.wrong == 1


async def test_another_status_has_failed(material):
    outcome = await play(material, lambda n: ("503 Busy" if n == 6 else "200 OK", RIGHT, ""))
    assert outcome.failed == 1
    assert outcome.first_trouble.startswith("status 503")


async def test_a_server_that_does_not_listen_fails_every_request(material):
    async with serving(lambda _: ("200 OK", RIGHT, "")) as (port, _):
        pass
    outcome = await Load(material).play(order(port), lambda: None, lambda: None)
    assert outcome.succeeded == 0
    assert outcome.failed > 4
    assert outcome.first_trouble.startswith("Connection")


async def test_a_connection_that_the_server_closes_after_an_answer_is_opened_again(material):
    outcome = await play(material, lambda _: ("200 OK", RIGHT, "Connection: close\r\n"))
    assert outcome.failed == 0
    assert outcome.reconnected > 2


def whole(answer: bytes, read: Callable[[bytearray], object] = read_answer) -> object:
    """What is read of an answer once its last byte has come, and not before."""
    early = [read(bytearray(answer[:end])) for end in range(len(answer))]
    assert early == [None] * len(answer)
    return read(bytearray(answer))


def test_an_answer_is_read_when_all_of_it_has_come():
    assert whole(b"HTTP/1.1 200 OK\r\ncontent-length: 4\r\n\r\n\r\n\r\n") == (
        200,
        b"\r\n\r\n",
        True,
    )


def test_an_answer_in_pieces_is_put_together():
    head = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nConnection: close\r\n\r\n"
    assert whole(head + b"3\r\nabc\r\n2;x\r\nde\r\n0\r\n\r\n") == (200, b"abcde", False)


@pytest.mark.parametrize("name", PROTOCOLS)
def test_a_request_has_the_length_of_its_body(name):
    head, _, body = PROTOCOLS[name].request(8000, b"\xff\xd8 picture").partition(b"\r\n\r\n")
    assert head.startswith(f"POST {PROTOCOLS[name].path} HTTP/1.1\r\n".encode())
    assert f"Content-Length: {len(body)}".encode() in head


@pytest.mark.parametrize(
    ("label", "found", "is_right"),
    [
        ("dog", [0.25, 0.75], True),
        ("dog", [0.29, 0.71], True),
        ("dog", [0.31, 0.69], False),
        ("cat", [0.25, 0.75], False),
        ("bird", [0.25, 0.75], False),
        ("dog", [float("nan"), float("nan")], False),
    ],
)
def test_an_answer_has_to_be_near_the_references_and_name_its_own_best_class(
    label, found, is_right
):
    assert (difference(label, found, [0.25, 0.75]) == "") is is_right
