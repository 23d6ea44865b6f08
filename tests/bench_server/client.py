"""The load: so many kept-alive connections, each of which asks again once it was answered.

A process of its own, `python -m tests.bench_server.client`, so that its work is not in what a
server is measured by. It reads one order per line (JSON) and writes three lines for each: `begin`,
when the warm-up has been answered and nothing is under way, and then waits for a line; `answered`,
when the last answer has come; and, once the answers are judged, what came of the order.
"""

from __future__ import annotations

import asyncio
import json
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import cast

import uvloop

from tests.bench_server.material import Material
from tests.bench_server.protocols import PROTOCOLS, Protocol

GIVE_UP_SECONDS = 60.0
MOST_REQUESTS = 200_000
"""In one order: nothing here is without bound."""


@dataclass(frozen=True)
class Order:
    """One load."""

    port: int
    protocol: str
    pictures: str
    connections: int
    warm_up: int
    """Requests before the clock starts, on the same connections."""
    seconds: float


@dataclass
class Outcome:
    """What came of it."""

    succeeded: int = 0
    failed: int = 0
    """No answer, or another status than 200."""
    wrong: int = 0
    """Answered 200, and not what this picture has to be answered."""
    reconnected: int = 0
    """A server may close a connection after an answer."""
    seconds: float = 0.0
    """From the first request until the last answer."""
    milliseconds: list[float] = field(default_factory=list)
    """Of each that succeeded, in no order."""
    first_trouble: str = ""


class Exchange(asyncio.Protocol):
    """One connection: a request at a time, and its answer's status, body and whether it stays."""

    def __init__(self) -> None:
        self._got = bytearray()
        self._answered: asyncio.Future[tuple[int, bytes]] | None = None
        self.stays_open = True
        self.head = b""
        """The last answer's, in lower case."""
        self._transport: asyncio.Transport | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.Transport", transport)  # uvloop's has other bases

    def ask(self, request: bytes) -> asyncio.Future[tuple[int, bytes]]:
        """Sends it; the future is of the status and the body."""
        assert self._transport is not None
        self._answered = asyncio.get_running_loop().create_future()
        self._transport.write(request)
        return self._answered

    def data_received(self, data: bytes) -> None:
        self._got += data
        found = read_answer(self._got)
        if found is not None and self._answered is not None and not self._answered.done():
            status, body, self.stays_open = found
            self.head = bytes(self._got.partition(b"\r\n\r\n")[0]).lower()
            self._got.clear()
            self._answered.set_result((status, body))

    def connection_lost(self, exc: Exception | None) -> None:
        self.stays_open = False
        if self._answered is not None and not self._answered.done():
            self._answered.set_exception(ConnectionError("closed before it answered"))

    def close(self) -> None:
        if self._transport is not None:
            self._transport.close()


def read_answer(got: bytearray) -> tuple[int, bytes, bool] | None:
    """Status, body, and whether the connection stays open; None while it is incomplete.

    >>> read_answer(bytearray(b"HTTP/1.1 200 OK\\r\\nContent-Length: 2\\r\\n\\r\\nhi"))
    (200, b'hi', True)
    """
    end = got.find(b"\r\n\r\n")
    if end < 0:
        return None
    head = got[:end].lower()
    status = int(head.split(b" ", 2)[1])
    stays = b"\r\nconnection: close" not in head
    rest = got[end + 4 :]
    if b"\r\ntransfer-encoding: chunked" in head:
        body = _chunks(rest)
        return None if body is None else (status, body, stays)
    _, found, length = head.partition(b"\r\ncontent-length:")
    wanted = int(length.split(b"\r\n", 1)[0]) if found else 0
    return (status, bytes(rest), stays) if len(rest) >= wanted else None


def _chunks(rest: bytearray) -> bytes | None:
    if not rest.endswith(b"0\r\n\r\n"):
        return None
    body, at = b"", 0
    while True:
        end = rest.find(b"\r\n", at)
        if end < 0:
            return None
        length = int(bytes(rest[at:end]).split(b";")[0], 16)
        if not length:
            return body
        body += bytes(rest[end + 2 : end + 2 + length])
        at = end + 2 + length + 2


class Load:
    """Plays orders."""

    def __init__(self, material: Material) -> None:
        self._material = material

    async def play(
        self, order: Order, on_begin: Callable[[], None], on_answered: Callable[[], None]
    ) -> Outcome:
        """The warm-up, `on_begin`, the load, `on_answered`, the verdict."""
        protocol = PROTOCOLS[order.protocol]
        pictures = self._material.pictures(order.pictures)
        requests = [protocol.request(order.port, picture) for picture in pictures]
        expected = self._material.expected(order.pictures)
        clients = [_Client(order, requests, number) for number in range(order.connections)]
        warm_up = Outcome()
        await self._all(clients, order.warm_up, None, warm_up)
        _judge(warm_up, clients, protocol, expected)
        on_begin()
        outcome = Outcome(first_trouble=warm_up.first_trouble)
        started = time.perf_counter()
        await self._all(clients, MOST_REQUESTS, started + order.seconds, outcome)
        outcome.seconds = time.perf_counter() - started
        on_answered()
        _judge(outcome, clients, protocol, expected)
        outcome.failed += warm_up.failed
        outcome.wrong += warm_up.wrong
        for client in clients:
            client.close()
        return outcome

    @staticmethod
    async def _all(
        clients: Sequence[_Client], most: int, until: float | None, outcome: Outcome
    ) -> None:
        numbers = iter(range(most))
        async with asyncio.TaskGroup() as group:
            for client in clients:
                group.create_task(client.go_on(numbers, until, outcome))


class _Client:
    """One connection's life, reopened where the server has closed it."""

    def __init__(self, order: Order, requests: Sequence[bytes], number: int) -> None:
        self._order = order
        self._requests = requests
        self._next = number * len(requests) // max(1, order.connections)
        self._exchange: Exchange | None = None
        self.answers: list[tuple[int, float, bytes]] = []
        """Of each 200: the picture's number, milliseconds, and the body, until it is judged."""

    async def go_on(self, numbers: Iterator[int], until: float | None, outcome: Outcome) -> None:
        """Asks until the numbers or the time are used up."""
        for _ in numbers:
            if until is not None and time.perf_counter() >= until:
                return
            await self._once(outcome)

    async def _once(self, outcome: Outcome) -> None:
        picture = self._next % len(self._requests)
        self._next += 1
        started = time.perf_counter()
        try:
            async with asyncio.timeout(GIVE_UP_SECONDS):
                exchange = await self._connected(outcome)
                status, body = await exchange.ask(self._requests[picture])
        except (OSError, TimeoutError, ValueError, IndexError) as error:
            self.close()
            _count_failure(outcome, f"{type(error).__name__}: {error}")
            return
        took = time.perf_counter() - started
        if not exchange.stays_open:
            self.close()
        if status == 200:
            self.answers.append((picture, 1000 * took, body))
        else:
            _count_failure(outcome, f"status {status}: {body[:200].decode(errors='replace')}")

    async def _connected(self, outcome: Outcome) -> Exchange:
        if self._exchange is None or not self._exchange.stays_open:
            outcome.reconnected += 1
            loop = asyncio.get_running_loop()
            _, self._exchange = await loop.create_connection(
                Exchange, "127.0.0.1", self._order.port
            )
        return self._exchange

    def close(self) -> None:
        if self._exchange is not None:
            self._exchange.close()
            self._exchange = None


def _count_failure(outcome: Outcome, what: str) -> None:
    outcome.failed += 1
    outcome.first_trouble = outcome.first_trouble or what


def _judge(
    outcome: Outcome,
    clients: Sequence[_Client],
    protocol: Protocol,
    expected: Sequence[Sequence[float]],
) -> None:
    """Sort the answers into right and wrong ones, and forget them."""
    for client in clients:
        for picture, milliseconds, body in client.answers:
            wrong = protocol.fault(body, expected[picture])
            if wrong:
                outcome.wrong += 1
                outcome.first_trouble = outcome.first_trouble or wrong
            else:
                outcome.succeeded += 1
                outcome.milliseconds.append(milliseconds)
        client.answers.clear()


async def _serve_orders(material: Material) -> None:
    load = Load(material)
    for line in sys.stdin:
        order = Order(**json.loads(line))

        def begin() -> None:
            _say({"event": "begin"})
            sys.stdin.readline()  # the other side has read the clocks

        outcome = await load.play(order, begin, lambda: _say({"event": "answered"}))
        _say({"event": "end", **asdict(outcome)})


def _say(what: dict[str, object]) -> None:
    sys.stdout.write(json.dumps(what) + "\n")
    sys.stdout.flush()


if __name__ == "__main__":
    uvloop.run(_serve_orders(Material(Path(sys.argv[1]))))
