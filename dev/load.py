"""An open-loop load client that never retries: what a release costs its clients.

    python dev/load.py --url http://HOST:PORT/predict --image cat.jpg --requests 6000 --rate 80

Standard library only, one file: the demo and the end-to-end tests run it in a pod. Requests
start by the clock, whether or not earlier ones were answered, half of them on kept-alive
connections and half on fresh ones. A request has failed when it was refused or reset, when its
answer is not HTTP, is not 200, names no version, or comes later than `--late` seconds after its
appointed time. SIGTERM ends the load early: what is under way is still waited for. With `--closed`
a new request starts only when one was answered, to find out how many a second there can be. The
last line is a JSON report; the exit status is 0 whatever it says.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import signal
import sys
import time
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import urlsplit

GIVE_UP_SECONDS = 20.0
MOST_REQUESTS = 500_000
PROGRESS_SECONDS = 5.0
LOSSES_TOLD = 50
GAP_SECONDS = 1.0
"""A version that nobody heard for longer begins a new span."""


@dataclass(frozen=True)
class Target:
    """Where the requests go, and what they carry."""

    host: str
    port: int
    path: str
    body: bytes

    def request(self, *, keep_alive: bool) -> bytes:
        """The request's bytes."""
        head = (
            f"POST {self.path} HTTP/1.1\r\nHost: {self.host}:{self.port}\r\n"
            f"Content-Type: image/jpeg\r\nContent-Length: {len(self.body)}\r\n"
            f"Connection: {'keep-alive' if keep_alive else 'close'}\r\n\r\n"
        )
        return head.encode() + self.body


@dataclass
class Connection:
    """One connection; `reusable` says whether the server will take another request."""

    reader: asyncio.StreamReader
    writer: asyncio.StreamWriter

    @classmethod
    async def open(cls, target: Target) -> Connection:
        """Connects."""
        return cls(*await asyncio.open_connection(target.host, target.port))

    @property
    def reusable(self) -> bool:
        """False once the server has closed its end."""
        return not self.reader.at_eof() and not self.writer.is_closing()

    async def ask(self, request: bytes) -> tuple[int, bytes, bool]:
        """Sends one request; status, body, and whether the connection stays open."""
        self.writer.write(request)
        await self.writer.drain()
        head = (await self.reader.readuntil(b"\r\n\r\n")).decode("latin-1").lower()
        status = int(head.split(" ", 2)[1])
        fields = dict(line.split(":", 1) for line in head.split("\r\n")[1:] if ":" in line)
        body = await self.reader.readexactly(int(fields.get("content-length", "0")))
        return status, body, fields.get("connection", "").strip() != "close"

    def close(self) -> None:
        """Closes it without waiting."""
        self.writer.close()


@dataclass
class Report:
    """What became of the requests."""

    ended: bool = False
    """The last answer has come: this is the final report."""
    requests: int = 0
    failures: Counter[str] = field(default_factory=Counter)
    losses: list[tuple[float, str]] = field(default_factory=list)
    """The first failures: when the request was due (seconds since 1970), and its kind."""
    versions: Counter[str] = field(default_factory=Counter)
    spans: dict[str, list[list[float]]] = field(default_factory=dict)
    """By version, from when to when it answered without a gap (seconds since 1970)."""
    seconds: list[float] = field(default_factory=list)
    """From the appointed time to the answer, of every answered request."""
    per_second: float = 0.0
    """Answers a second over the whole run; only in the final report."""

    def fail(self, kind: str, due: float) -> None:
        """Counts a request that was lost."""
        self.failures[kind] += 1
        if len(self.losses) < LOSSES_TOLD:
            self.losses.append((round(due, 2), kind))

    def answer_by(self, version: str, due: float, now: float) -> None:
        """Counts an answer of a version."""
        self.versions[version] += 1
        spans = self.spans.setdefault(version, [])
        if spans and due <= spans[-1][1] + GAP_SECONDS:
            spans[-1] = [min(due, spans[-1][0]), max(now, spans[-1][1])]
        else:
            spans.append([due, now])

    def as_json(self) -> str:
        """One line for programs."""
        ordered = sorted(self.seconds)
        quantiles = {
            f"p{percent}": round(1000 * ordered[int(len(ordered) * percent / 100)], 1)
            for percent in (50, 95, 99)
            if ordered
        }
        return json.dumps(
            {
                "ended": self.ended,
                "requests": self.requests,
                "failed": self.failures.total(),
                "failures": dict(self.failures),
                "losses": self.losses,
                "versions": dict(self.versions),
                "spans": {
                    version: [[round(moment, 2) for moment in span] for span in spans]
                    for version, spans in self.spans.items()
                },
                "per_second": round(self.per_second, 1),
                "latency_ms": quantiles,
            }
        )


class Load:
    """Sends requests and judges each answer."""

    def __init__(self, target: Target, *, late_seconds: float, connections: int = 16) -> None:
        self._target = target
        self._connections = connections
        self._kept = 0
        self._late_seconds = late_seconds
        self._idle: list[Connection] = []
        self._told = time.monotonic()
        self._stopped = asyncio.Event()
        self.report = Report()

    def stop(self) -> None:
        """Sends no more; what is under way is still waited for."""
        self._stopped.set()

    async def run_open(self, requests: int, rate: float) -> Report:
        """Sends `requests` at `rate` a second, and waits for the last answer."""
        started = time.monotonic()
        async with asyncio.TaskGroup() as group:
            for number in range(requests):
                appointed = started + number / rate
                await asyncio.sleep(max(0.0, appointed - time.monotonic()))
                if self._stopped.is_set():
                    break
                group.create_task(self._one(appointed, keep_alive=number % 2 == 0))
                self._tell()
        return self._end(started)

    async def run_closed(self, requests: int, at_once: int) -> Report:
        """Sends `requests`, `at_once` of them at any time."""
        started = time.monotonic()
        numbers = iter(range(requests))

        async def one_after_the_other() -> None:
            for number in numbers:
                if self._stopped.is_set():
                    break
                await self._one(time.monotonic(), keep_alive=number % 2 == 0)
                self._tell()

        async with asyncio.TaskGroup() as group:
            for _ in range(at_once):
                group.create_task(one_after_the_other())
        return self._end(started)

    def _tell(self) -> None:
        if time.monotonic() - self._told >= PROGRESS_SECONDS:
            self._told = time.monotonic()
            sys.stdout.write(self.report.as_json() + "\n")
            sys.stdout.flush()

    def _end(self, started: float) -> Report:
        for connection in self._idle:
            connection.close()
        self.report.per_second = len(self.report.seconds) / (time.monotonic() - started)
        self.report.ended = True
        return self.report

    async def _one(self, appointed: float, *, keep_alive: bool) -> None:
        self.report.requests += 1
        due = time.time() - (time.monotonic() - appointed)
        try:
            async with asyncio.timeout(GIVE_UP_SECONDS):
                status, body = await self._ask(keep_alive=keep_alive)
        except TimeoutError:
            self.report.fail("unanswered", due)
        except ConnectionRefusedError:
            self.report.fail("refused", due)
        except (OSError, asyncio.IncompleteReadError):
            self.report.fail("reset", due)
        except (ValueError, IndexError, asyncio.LimitOverrunError):
            self.report.fail("not HTTP", due)
        else:
            self._judge(status, body, due, time.monotonic() - appointed)

    async def _ask(self, *, keep_alive: bool) -> tuple[int, bytes]:
        connection = self._take() if keep_alive else None
        if connection is None:
            connection = await Connection.open(self._target)
            self._kept += keep_alive
        stays_open = False
        try:
            status, body, stays_open = await connection.ask(
                self._target.request(keep_alive=keep_alive)
            )
        finally:
            if stays_open and keep_alive:
                self._idle.append(connection)
            else:
                self._kept -= keep_alive
                connection.close()
        return status, body

    def _take(self) -> Connection | None:
        """The kept connection that has been idle longest, once as many are open as are kept;
        those that the server closed are dropped.
        """
        while self._idle and self._kept >= self._connections:
            connection = self._idle.pop(0)
            if connection.reusable:
                return connection
            self._kept -= 1
            connection.close()
        return None

    def _judge(self, status: int, body: bytes, due: float, seconds: float) -> None:
        self.report.seconds.append(seconds)
        if status != 200:
            self.report.fail(str(status), due)
            return
        try:
            version = json.loads(body)["model"]["version"]
        except (ValueError, KeyError, TypeError):
            self.report.fail("no version in the answer", due)
            return
        self.report.answer_by(str(version), due, due + seconds)
        if seconds > self._late_seconds:
            self.report.fail("late", due)


async def play(arguments: argparse.Namespace, target: Target) -> Report:
    """The load that was asked for, until it or SIGTERM ends it."""
    load = Load(target, late_seconds=arguments.late, connections=arguments.connections)
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, load.stop)
    if arguments.closed:
        return await load.run_closed(arguments.requests, arguments.connections)
    return await load.run_open(arguments.requests, arguments.rate)


def main() -> int:
    """Runs the load and prints its report."""
    parser = argparse.ArgumentParser(description="Open-loop load, no retries.")
    parser.add_argument("--url", required=True, help="http://HOST:PORT/predict")
    parser.add_argument("--image", required=True, type=Path, help="the JPEG file to send")
    parser.add_argument("--requests", type=int, default=1000, help="how many (default 1000)")
    parser.add_argument("--rate", type=float, default=50, help="how many a second (default 50)")
    parser.add_argument(
        "--connections", type=int, default=16, help="kept-alive ones, used in turn (default 16)"
    )
    parser.add_argument(
        "--closed", action="store_true", help="--connections requests at any time, not --rate"
    )
    parser.add_argument("--late", type=float, default=2.0, help="seconds (default 2)")
    arguments = parser.parse_args()
    if not 0 < arguments.requests <= MOST_REQUESTS:
        parser.error(f"--requests must be between 1 and {MOST_REQUESTS}")
    if not arguments.rate > 0:
        parser.error("--rate must be above 0")
    url = urlsplit(arguments.url)
    target = Target(
        url.hostname or "", url.port or 80, url.path or "/", arguments.image.read_bytes()
    )
    print(asyncio.run(play(arguments, target)).as_json(), flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())
