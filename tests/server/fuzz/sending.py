"""Sends the fuzzer's requests over several connections, and judges the answers.

What is HTTP goes onto a connection several requests at a time, and each is owed an answer; what a
server leaves unanswered because it told to close is sent again. What is broken goes onto a
connection of its own, whose other half is closed at once: nobody waits for what will never come.
"""

from __future__ import annotations

import asyncio
import contextlib
import re
from collections import Counter, deque
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from itertools import islice

from tests.server.fuzz.making import Made
from tests.server.load import Address, Connection

AT_ONCE = 8
ANSWER_SECONDS = 120.0
TRIES = 3
_STATUS = re.compile(rb"^HTTP/1\.1 (\d{3}) ", re.MULTILINE)
_OVERLOADED = b"problem:overloaded"


@dataclass
class Tally:
    """What was sent and what came back."""

    requests: int = 0
    kinds: Counter[str] = field(default_factory=Counter)
    statuses: Counter[int] = field(default_factory=Counter)
    findings: list[str] = field(default_factory=list)
    """A sentence for each answer that no client should ever get, and for each that never came."""

    def judge(self, made: Made, status: int, body: bytes) -> None:
        """Count one answer."""
        self.statuses[status] += 1
        if status >= 500 and not (status == 503 and _OVERLOADED in body):
            self.findings.append(f"request {made.number} ({made.kind}): {status} {body[:200]!r}")

    def sent(self, made: Made) -> None:
        """Count one request."""
        self.requests += 1
        self.kinds[made.kind] += 1


async def send(
    address: Address,
    requests: Iterable[Made],
    connections: int,
    tally: Tally,
    progress: Callable[[Tally], None] = lambda _: None,
) -> None:
    """Send all of it, each connection as fast as it is answered."""
    source = iter(requests)

    async def client() -> None:
        wire = _Wire(address, tally)
        async with contextlib.aclosing(wire):
            while batch := list(islice(source, AT_ONCE)):
                await wire.exchange(deque(made for made in batch if made.framed))
                for made in batch:
                    if not made.framed:
                        await _exchange_broken(address, made, tally)
                    tally.sent(made)
                progress(tally)

    async with asyncio.TaskGroup() as group:
        for _ in range(connections):
            group.create_task(client())


class _Wire:
    """One kept connection at a time."""

    def __init__(self, address: Address, tally: Tally) -> None:
        self._address = address
        self._tally = tally
        self._connection: Connection | None = None

    async def exchange(self, owed: deque[Made]) -> None:
        """Send these at once, and take an answer for each."""
        failures = 0
        while owed:
            try:
                async with asyncio.timeout(ANSWER_SECONDS):
                    await self._try(owed)
            except (OSError, EOFError, TimeoutError) as error:
                failures += 1
                if failures == TRIES:  # the one whose turn it was
                    made = owed.popleft()
                    what = f"{type(error).__name__}: {error}"
                    self._tally.findings.append(f"request {made.number} ({made.kind}): {what}")
                    failures = 0
                await self.aclose()

    async def _try(self, owed: deque[Made]) -> None:
        self._connection = self._connection or await Connection.to(self._address)
        self._connection.writer.write(b"".join(made.content for made in owed))
        while owed:
            answer = await self._connection.answer()
            self._tally.judge(owed.popleft(), answer.status, answer.body)
            if answer.closing:
                await self.aclose()
                return

    async def aclose(self) -> None:
        """Close what is open."""
        if self._connection is not None:
            await self._connection.close()
            self._connection = None


async def _exchange_broken(address: Address, made: Made, tally: Tally) -> None:
    reader, writer = await asyncio.open_connection(*address)
    try:
        async with asyncio.timeout(ANSWER_SECONDS):
            with contextlib.suppress(OSError):
                writer.write(made.content)
                writer.write_eof()
                heard = await reader.read()
                for status in _STATUS.findall(heard):
                    tally.judge(made, int(status), heard)
    except TimeoutError:
        tally.findings.append(f"request {made.number} ({made.kind}): its connection never ended")
    finally:
        writer.close()
        with contextlib.suppress(OSError):
            await writer.wait_closed()
