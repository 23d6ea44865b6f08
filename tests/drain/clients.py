"""Clients as they are in the field: kept alive, fresh, pausing, slow, pipelining, with large forms.

`campaign` runs a crowd of them against one Service. None of them retries: what fails is written
down. As every HTTP library does, a client looks before it reuses an idle connection whether the
server has closed it meanwhile.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import Iterator
from dataclasses import dataclass
from random import Random

from tests.drain.ledger import Ledger
from tests.drain.service import Service
from tests.server.artifacts import encode, make_picture
from tests.server.load import FORM_TYPE, Answer, Connection, form, request

PICTURE = request(encode(make_picture()))
LARGE_PICTURE = request(encode(make_picture(1, 1200, 1200), quality=97))
LARGE_FORM = request(
    form([encode(make_picture(seed, 800, 600), quality=98) for seed in range(4)]), FORM_TYPE
)


@dataclass(frozen=True)
class Habit:
    """How a kind of client behaves; seconds are drawn anew each time from (least, most)."""

    name: str
    count: int
    """So many of them on each Service."""
    every: tuple[float, float]
    """From one request's beginning to the next one's."""
    keeps: bool = True
    """Keeps its connection until it is told to close it, or finds it closed."""
    at_once: int = 1
    """Requests that it sends before it reads the first answer."""
    hesitates: tuple[float, float] = (0.0, 0.0)
    """From connecting to sending."""
    body_takes: tuple[float, float] = (0.0, 0.0)
    """From the request's first byte to its last."""
    content: bytes = PICTURE


PIECES = 5
HABITS = (
    Habit("kept-alive", 4, (0.04, 0.06)),
    Habit("fresh", 3, (0.03, 0.06), keeps=False),
    Habit("hesitating", 1, (0.1, 0.3), keeps=False, hesitates=(0.0, 0.2)),
    Habit("pausing", 4, (0.2, 4.0)),
    Habit("slow", 2, (0.1, 0.4), body_takes=(0.1, 0.8)),
    Habit("slower than the drain", 2, (0.2, 1.0), keeps=False, body_takes=(1.0, 3.0)),
    Habit("pipelining", 2, (0.1, 0.2), at_once=3),
    Habit("pipelining large", 1, (0.4, 0.8), at_once=4, content=LARGE_PICTURE),
    Habit("form", 1, (0.3, 0.6), content=LARGE_FORM),
    Habit("fresh form", 1, (0.3, 0.6), keeps=False, content=LARGE_FORM),
)


class Unanswered(ConnectionError):
    """The server closed in good order and left requests unanswered."""


class Client:
    """One client on one node."""

    def __init__(
        self, habit: Habit, service: Service, node: int, ledger: Ledger, random: Random
    ) -> None:
        self._habit = habit
        self._service = service
        self._node = node
        self._ledger = ledger
        self._random = random
        self._connection: Connection | None = None
        self._pod = service.pod(node)
        self._doing = ""

    async def run(self, stop: asyncio.Event) -> None:
        """Send requests by the clock until told to stop; the last one is finished."""
        loop = asyncio.get_running_loop()
        due = loop.time() + self._draw((0.0, self._habit.every[0]))
        while not stop.is_set():
            await _wait(stop, due - loop.time())
            await self._burst()
            due += self._draw(self._habit.every)
        await self._hang_up()

    async def _burst(self) -> None:
        unanswered = self._habit.at_once
        self._ledger.begin(unanswered)
        closing = True
        try:
            connection = await self._connected()
            await self._send(connection)
            while unanswered:
                self._doing = f"waiting for {unanswered} answers"
                answer = await connection.answer()
                unanswered -= 1
                closing = answer.closing
                self._judge(answer)
                if closing and unanswered:
                    raise Unanswered(f"told to close with {unanswered} requests unanswered")
        except (OSError, EOFError) as error:  # a timeout is an OSError
            what = f"{self._doing}: {error!r}"
            self._ledger.lost(unanswered, self._habit.name, self._pod.version, what)
            closing = True
        if closing or not self._habit.keeps:
            await self._hang_up()

    async def _connected(self) -> Connection:
        if self._connection is not None and self._connection.ended_by_server():
            await self._hang_up()
        if self._connection is None:
            self._doing = "connecting"
            self._pod = self._service.pod(self._node)
            self._connection = await Connection.to(self._pod.address)
            await asyncio.sleep(self._draw(self._habit.hesitates))
        return self._connection

    async def _send(self, connection: Connection) -> None:
        self._doing = "sending"
        content = self._habit.content * self._habit.at_once
        seconds = self._draw(self._habit.body_takes)
        pieces = PIECES if seconds else 1
        for piece in _split(content, pieces):
            connection.writer.write(piece)
            await connection.writer.drain()
            await asyncio.sleep(seconds / pieces)

    def _judge(self, answer: Answer) -> None:
        name, version = self._habit.name, self._pod.version
        if answer.status != 200:
            self._ledger.lost(1, name, version, f"answered {answer.status}: {answer.body!r}")
            return
        content = json.loads(answer.body)
        said = (content[0] if isinstance(content, list) else content)["model"]["version"]
        if said == version:
            self._ledger.good(name, version)
        else:
            self._ledger.lost(1, name, version, f"answered by version {said}")

    async def _hang_up(self) -> None:
        if self._connection is not None:
            await self._connection.close()
            self._connection = None

    def _draw(self, seconds: tuple[float, float]) -> float:
        return self._random.uniform(*seconds)


def crowd(service: Service, ledger: Ledger, random: Random) -> Iterator[Client]:
    """All kinds of clients, spread over the nodes."""
    node = 0
    for habit in HABITS:
        for _ in range(habit.count):
            yield Client(habit, service, node % service.nodes, ledger, Random(random.random()))
            node += 1


def _split(content: bytes, pieces: int) -> Iterator[bytes]:
    size = -(-len(content) // pieces)
    for start in range(0, len(content), size):
        yield content[start : start + size]


async def _wait(stop: asyncio.Event, seconds: float) -> None:
    """Wait so long, or less when told to stop."""
    try:
        async with asyncio.timeout(max(0.0, seconds)):
            await stop.wait()
    except TimeoutError:
        return
