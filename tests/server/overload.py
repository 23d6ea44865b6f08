"""`make test-overload`: three times as many requests as a server can answer, and what comes of it.

One server and its clients, each on processors of their own where there are two. What it answers at
most is found by clients that each wait for their answer (the peak), before and after the rest; in
between requests come at times that do not depend on the answers, at 80% of that and at three times
it. All the while the probes and the metrics are asked, each time on a new connection. For its first
seconds an overload is taken for a burst, which waits (docs/decisions/0024): those are told apart.
Exit status 1 when a probe was not answered within a second, or a prediction was answered otherwise
than 200 or a 503 that says that the server is overloaded and when to come again.
"""

from __future__ import annotations

import argparse
import asyncio
import gc
import os
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import uvloop

from dev.progress import say, step
from model_server.admission import LASTING_WINDOWS, WINDOW_SECONDS
from tests.bench_server import drawing
from tests.bench_server.client import Exchange
from tests.bench_server.figures import percentile
from tests.bench_server.material import MAIN, SETS
from tests.server.load import request
from tests.server.processes import ServerProcess

AT_ONCE = 8
"""Clients that wait for their answer: enough that no inference thread ever waits for one."""
USUAL = 0.8
TIMES = 3.0
BURST_SECONDS = (LASTING_WINDOWS + 1) * WINDOW_SECONDS
"""An overload may begin in the middle of a window."""
REST_SECONDS = 3 * WINDOW_SECONDS
"""After an overload: then the queue is long again."""
WARM_UP_SECONDS = 2.0
PROBES = ("/health", "/ready", "/metrics")
PROBE_SECONDS = 0.05
MOST_CONNECTIONS = 1024
GIVE_UP_SECONDS = 30.0

LEAST_GOODPUT = 0.9
MOST_P99 = 2.0
MOST_REJECTION_MS = 5.0
MOST_PROBE_MS = 1000.0
OVERLOADED, AGAIN = b"urn:cv-factory:problem:overloaded", b"\r\nretry-after: "


@dataclass(frozen=True)
class Asked:
    """One request and its answer."""

    at: float
    """Seconds from the load's beginning to when it was to be sent."""
    milliseconds: float
    """From then to the answer."""
    status: int
    """0 where none came."""
    is_overload: bool = False
    """Whether it says so as documented: by its problem's type and a Retry-After."""


@dataclass(frozen=True)
class Load:
    """What came of one load."""

    seconds: float
    asked: Sequence[Asked]

    def since(self, start: float) -> Load:
        """Only what was sent so many seconds after the beginning."""
        return Load(self.seconds - start, [one for one in self.asked if one.at >= start])

    def until(self, end: float) -> Load:
        """Only what was sent before."""
        return Load(end, [one for one in self.asked if one.at < end])

    def of(self, status: int) -> list[float]:
        """Milliseconds of the answers with this status."""
        return [one.milliseconds for one in self.asked if one.status == status]

    @property
    def goodput(self) -> float:
        """Predictions per second."""
        return len(self.of(200)) / self.seconds

    def p50(self, status: int) -> float:
        """Milliseconds; infinite where there was no such answer."""
        return percentile(self.of(status), 50)

    def p99(self, status: int) -> float:
        """Milliseconds; infinite where there was no such answer."""
        return percentile(self.of(status), 99)


class Clients:
    """Asks one server for predictions, over as many connections as answers are waited for."""

    def __init__(self, port: int, pictures: Sequence[bytes]) -> None:
        self._port = port
        self._requests = [request(picture) for picture in pictures]
        self._idle: list[Exchange] = []
        self._connections = 0

    async def waiting(self, count: int, seconds: float) -> Load:
        """So many clients that ask again once they were answered."""
        asked: list[Asked] = []
        began = time.perf_counter()

        async def go_on(number: int) -> None:
            while (at := time.perf_counter() - began) < seconds:
                asked.append(await self._predict(number, began, at))
                number += count

        await asyncio.gather(*(go_on(number) for number in range(count)))
        return Load(time.perf_counter() - began, asked)

    async def steadily(self, rate: float, seconds: float) -> Load:
        """So many requests a second, whenever the answers come."""
        began = time.perf_counter()
        tasks: list[asyncio.Task[Asked]] = []
        while len(tasks) < int(rate * seconds):
            due = 1 + int(rate * min(seconds, time.perf_counter() - began))
            tasks += [
                asyncio.create_task(self._predict(number, began, number / rate))
                for number in range(len(tasks), due)
            ]
            await asyncio.sleep(0.001)
        return Load(seconds, await asyncio.gather(*tasks))

    async def _predict(self, number: int, began: float, at: float) -> Asked:
        exchange = await self._connected()
        if exchange is None:
            return Asked(at, 0.0, 0)
        status, is_overload = await _answer(exchange, self._requests[number % len(self._requests)])
        took = time.perf_counter() - began - at
        if status and exchange.stays_open:
            self._idle.append(exchange)
        else:
            self._connections -= 1
            exchange.close()
        return Asked(at, 1000 * took, status, is_overload)

    async def _connected(self) -> Exchange | None:
        """One that is idle, or a new one; None where there is no more to be had."""
        while self._idle:
            exchange = self._idle.pop()
            if exchange.stays_open:
                return exchange
            self._connections -= 1
        if self._connections >= MOST_CONNECTIONS:
            return None
        self._connections += 1
        return await _connect(self._port)


async def probe(port: int, over: asyncio.Event) -> Load:
    """Ask for the probes and the metrics in turn, each time on a new connection."""
    asked: list[Asked] = []
    began = time.perf_counter()
    while not over.is_set():
        at = time.perf_counter() - began
        exchange = await _connect(port)
        path = PROBES[len(asked) % len(PROBES)]
        sent = f"GET {path} HTTP/1.1\r\nHost: server\r\n\r\n".encode()
        status, _ = await _answer(exchange, sent)
        asked.append(Asked(at, 1000 * (time.perf_counter() - began - at), status))
        exchange.close()
        await asyncio.sleep(PROBE_SECONDS)
    return Load(time.perf_counter() - began, asked)


async def _connect(port: int) -> Exchange:
    _, exchange = await asyncio.get_running_loop().create_connection(Exchange, "127.0.0.1", port)
    return exchange


async def _answer(exchange: Exchange, content: bytes) -> tuple[int, bool]:
    """The status, 0 where none came, and whether it is a documented overload."""
    try:
        async with asyncio.timeout(GIVE_UP_SECONDS):
            status, body = await exchange.ask(content)
    except (OSError, TimeoutError):
        return 0, False
    return status, status == 503 and OVERLOADED in body and AGAIN in exchange.head


@dataclass(frozen=True)
class Record:
    """What was measured."""

    peak: Load
    """Before and after the others: a machine is not always as fast as it was."""
    usual: Load
    over: Load
    probes: Load


async def measure(port: int, pictures: Sequence[bytes], seconds: float) -> Record:
    """The peak, the usual load, the overload."""
    clients = Clients(port, pictures)
    await clients.waiting(AT_ONCE, WARM_UP_SECONDS)
    is_over = asyncio.Event()
    probing = asyncio.create_task(probe(port, is_over))
    with step("finding the peak", seconds / 2):
        peak = await clients.waiting(AT_ONCE, seconds / 2)
    with step(f"asking {USUAL:.0%} of it", seconds):
        usual = await clients.steadily(USUAL * peak.goodput, seconds)
    with step(f"asking {TIMES:g} times as much", BURST_SECONDS + seconds):
        over = await clients.steadily(TIMES * peak.goodput, BURST_SECONDS + seconds)
    await asyncio.sleep(REST_SECONDS)
    with step("finding the peak again", seconds / 2):
        again = await clients.waiting(AT_ONCE, seconds / 2)
    is_over.set()
    probes = await probing
    both = Load(peak.seconds + again.seconds, [*peak.asked, *again.asked])
    return Record(both, usual, over, probes)


@contextmanager
def _sharing_the_cpus() -> Iterator[str]:
    """What is started within has the first half of the CPUs, this process then the second."""
    cpus = sorted(os.sched_getaffinity(0))
    if len(cpus) < 2:
        yield "server and clients share the one CPU"
        return
    half = len(cpus) // 2
    os.sched_setaffinity(0, cpus[:half])
    try:
        yield f"the server has {half} CPU, its clients {len(cpus) - half}"
    finally:
        os.sched_setaffinity(0, cpus[half:])


def report(record: Record) -> list[str]:
    """Lines for people; the last has what was promised."""
    peak, usual, probes = record.peak, record.usual, record.probes
    lasting = record.over.since(BURST_SECONDS)
    lines = [
        f"peak: {peak.goodput:.0f} predictions a second, p99 {peak.p99(200):.1f} ms",
        f"{USUAL:.0%} of it: {usual.goodput:.0f} a second, p99 {usual.p99(200):.1f} ms",
    ]
    for name, load in (
        (f"{TIMES:g} times it, the first {BURST_SECONDS:g} s", record.over.until(BURST_SECONDS)),
        (f"{TIMES:g} times it, after that", lasting),
    ):
        lines.append(
            f"{name}: {load.goodput:.0f} a second, p99 {load.p99(200):.1f} ms; refused"
            f" {len(load.of(503))}, p50 {load.p50(503):.1f} ms, p99 {load.p99(503):.1f} ms"
        )
    goodput = lasting.goodput / peak.goodput
    late = lasting.p99(200) / usual.p99(200)
    rejected = lasting.p99(503)
    answered, slowest = len(probes.of(200)), max(one.milliseconds for one in probes.asked)
    statuses = Counter(one.status for load in (usual, record.over) for one in load.asked)
    said = ", ".join(f"{count} of {status or 'none'}" for status, count in statuses.most_common())
    lines.append(
        f"goodput: target at least {LEAST_GOODPUT:.0%} of the peak, measured {goodput:.0%},"
        f" {_met(goodput >= LEAST_GOODPUT)}; p99 of predictions: target at most {MOST_P99:g} times"
        f" that at {USUAL:.0%}, measured {late:.1f}, {_met(late <= MOST_P99)}; p99 of refusals:"
        f" target {MOST_REJECTION_MS:g} ms, measured {rejected:.1f},"
        f" {_met(rejected <= MOST_REJECTION_MS)}; probes answered {answered} of"
        f" {len(probes.asked)}, p99 {probes.p99(200):.1f} ms, the slowest in {slowest:.0f} ms;"
        f" answers: {said}"
    )
    return lines


def is_wrong(record: Record) -> bool:
    """Whether something was answered as it never should be."""
    predictions = [*record.peak.asked, *record.usual.asked, *record.over.asked]
    return (
        any(one.status != 200 and not one.is_overload for one in predictions)
        or any(one.status != 200 for one in record.probes.asked)
        or any(one.milliseconds > MOST_PROBE_MS for one in record.probes.asked)
        or not record.over.of(503)
    )


def main() -> int:
    """Read the command line, measure, and say the figures."""
    parser = argparse.ArgumentParser(prog="python -m tests.server.overload")
    parser.add_argument("--seconds", type=float, default=20.0, metavar="S", help="of each load")
    seconds = parser.parse_args().seconds
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        with step("drawing the model and the pictures", 10):
            material = drawing.make(folder, SETS[:1], say)
        with _sharing_the_cpus() as shares:
            server = ServerProcess(material.artifact, folder / "server", {"ENGINE": "auto"})
        try:
            server.wait_ready()
            say(f"{shares}; {server.event('ready')['engine']}")
            gc.disable()  # a full collection would hold all clients up for 0.1 s
            record = uvloop.run(measure(server.port, material.pictures(MAIN), seconds))
        finally:
            server.close()
    for line in report(record):
        say(line)
    return 1 if is_wrong(record) else 0


def _met(is_met: bool) -> str:
    return "met" if is_met else "not met"


if __name__ == "__main__":
    sys.exit(main())
