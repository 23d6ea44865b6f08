"""An open-loop load client that never retries: what a release costs its clients.

    python dev/load.py --url http://HOST:PORT/predict --image cat.jpg --requests 6000 --rate 80

Standard library only, one file: the demo and the end-to-end tests run it in a pod. Requests
start by the clock, whether or not earlier ones were answered, half of them on kept-alive
connections and half on fresh ones. A request has failed when it was refused or reset, when its
answer is not HTTP, is not 200, names no version, or comes later than `--late` seconds after its
appointed time. The last line is a JSON report; the exit status is 0 whatever it says.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import sys
import time
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import urlsplit

GIVE_UP_SECONDS = 20.0
MOST_REQUESTS = 500_000
PROGRESS_SECONDS = 5.0


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
    versions: Counter[str] = field(default_factory=Counter)
    seconds: list[float] = field(default_factory=list)
    """From the appointed time to the answer, of every answered request."""

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
                "versions": dict(self.versions),
                "latency_ms": quantiles,
            }
        )


class OpenLoop:
    """Sends requests by the clock and judges each answer."""

    def __init__(self, target: Target, *, late_seconds: float, connections: int = 16) -> None:
        self._target = target
        self._connections = connections
        self._kept = 0
        self._late_seconds = late_seconds
        self._idle: list[Connection] = []
        self.report = Report()

    async def run(self, requests: int, rate: float) -> Report:
        """Sends `requests` at `rate` a second, and waits for the last answer."""
        started = time.monotonic()
        told = started
        async with asyncio.TaskGroup() as group:
            for number in range(requests):
                appointed = started + number / rate
                await asyncio.sleep(max(0.0, appointed - time.monotonic()))
                group.create_task(self._one(appointed, keep_alive=number % 2 == 0))
                if time.monotonic() - told >= PROGRESS_SECONDS:
                    told = time.monotonic()
                    sys.stdout.write(self.report.as_json() + "\n")
                    sys.stdout.flush()
        for connection in self._idle:
            connection.close()
        self.report.ended = True
        return self.report

    async def _one(self, appointed: float, *, keep_alive: bool) -> None:
        self.report.requests += 1
        try:
            async with asyncio.timeout(GIVE_UP_SECONDS):
                status, body = await self._ask(keep_alive=keep_alive)
        except TimeoutError:
            self.report.failures["unanswered"] += 1
        except ConnectionRefusedError:
            self.report.failures["refused"] += 1
        except (OSError, asyncio.IncompleteReadError):
            self.report.failures["reset"] += 1
        except (ValueError, IndexError, asyncio.LimitOverrunError):
            self.report.failures["not HTTP"] += 1
        else:
            self._judge(status, body, time.monotonic() - appointed)

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

    def _judge(self, status: int, body: bytes, seconds: float) -> None:
        self.report.seconds.append(seconds)
        if status != 200:
            self.report.failures[str(status)] += 1
            return
        try:
            version = json.loads(body)["model"]["version"]
        except (ValueError, KeyError, TypeError):
            self.report.failures["no version in the answer"] += 1
            return
        self.report.versions[str(version)] += 1
        if seconds > self._late_seconds:
            self.report.failures["late"] += 1


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
    loop = OpenLoop(target, late_seconds=arguments.late, connections=arguments.connections)
    print(asyncio.run(loop.run(arguments.requests, arguments.rate)).as_json(), flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())
