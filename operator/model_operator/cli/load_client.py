"""The load client: sends predictions and judges each answer. It never retries.

Requests start by the clock, whether or not earlier ones were answered, half of them on kept-alive
connections and half on fresh ones. A request has failed when it was refused or reset, when its
answer is not HTTP, is not 200, names no version, or comes too late after its appointed time.

Standard library only, and nothing else of this package: `kubectl md load` imports it, and so does
dev/load.py, which runs in pods that have no more than these two files.
"""

from __future__ import annotations

import asyncio
import json
import ssl
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field

GIVE_UP_SECONDS = 20.0
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
    """A picture file."""
    more_bodies: tuple[bytes, ...] = ()
    """Others that take turns with it."""
    headers: tuple[tuple[str, str], ...] = ()
    """Such as an authorization."""
    tls: ssl.SSLContext | None = None
    """For https: whom to trust, and who to be."""

    def request(self, *, keep_alive: bool, number: int = 0) -> bytes:
        """The bytes of the request of that number."""
        bodies = (self.body, *self.more_bodies)
        body = bodies[number % len(bodies)]
        head = (
            f"POST {self.path} HTTP/1.1\r\nHost: {self.host}:{self.port}\r\n"
            f"Content-Type: {media_type(body)}\r\nContent-Length: {len(body)}\r\n"
            f"Connection: {'keep-alive' if keep_alive else 'close'}\r\n"
        )
        more = "".join(f"{name}: {value}\r\n" for name, value in self.headers)
        return f"{head}{more}\r\n".encode() + body


def media_type(picture: bytes) -> str:
    """What kind of picture file it is, by its first bytes.

    >>> media_type(bytes([0x89]) + b"PNG...")
    'image/png'
    """
    if picture[1:4] == b"PNG":
        return "image/png"
    return "image/webp" if picture[8:12] == b"WEBP" else "image/jpeg"


@dataclass
class Connection:
    """One connection; `reusable` says whether the server will take another request."""

    reader: asyncio.StreamReader
    writer: asyncio.StreamWriter

    @classmethod
    async def open(cls, target: Target) -> Connection:
        """Connects."""
        return cls(*await asyncio.open_connection(target.host, target.port, ssl=target.tls))

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
        if fields.get("transfer-encoding", "").strip() == "chunked":
            body = await self._chunks()
        else:
            body = await self.reader.readexactly(int(fields.get("content-length", "0")))
        return status, body, fields.get("connection", "").strip() != "close"

    async def _chunks(self) -> bytes:
        """A body that says its length piece by piece, as some proxies write it."""
        body = b""
        while length := int((await self.reader.readuntil(b"\r\n")).split(b";")[0], 16):
            body += await self.reader.readexactly(length)
            await self.reader.readexactly(2)
        while (await self.reader.readuntil(b"\r\n")).strip():
            pass  # trailers
        return body

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
    revisions: Counter[str] = field(default_factory=Counter)
    seconds: list[float] = field(default_factory=list)
    """From the appointed time to the answer, of every answered request."""
    behind: float = 0.0
    """Seconds by which this client sent a request after its appointed time, at most."""
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

    def latencies(self) -> dict[str, float]:
        """Milliseconds by percentile; empty without an answer."""
        ordered = sorted(self.seconds)
        if not ordered:
            return {}
        percentiles = {
            f"p{percent}": ordered[int(len(ordered) * percent / 100)]
            for percent in (50, 90, 95, 99)
        }
        found = percentiles | {"max": ordered[-1]}
        return {name: round(1000 * seconds, 1) for name, seconds in found.items()}

    def as_json(self) -> str:
        """One line for programs."""
        return json.dumps(
            {
                "ended": self.ended,
                "requests": self.requests,
                "failed": self.failures.total(),
                "failures": dict(self.failures),
                "losses": self.losses,
                "versions": dict(self.versions),
                "revisions": dict(self.revisions),
                "spans": {
                    version: [[round(moment, 2) for moment in span] for span in spans]
                    for version, spans in self.spans.items()
                },
                "per_second": round(self.per_second, 1),
                "client_behind_ms": round(1000 * self.behind, 1),
                "latency_ms": self.latencies(),
            }
        )


class Load:
    """Sends requests and judges each answer."""

    def __init__(
        self,
        target: Target,
        *,
        late_seconds: float,
        connections: int = 16,
        tell: Callable[[Report], None] | None = None,
    ) -> None:
        """`tell` hears of the report every few seconds."""
        self._target = target
        self._tell_of = tell
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
                behind = time.monotonic() - appointed
                self.report.behind = max(self.report.behind, behind)
                group.create_task(self._one(appointed, number))
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
                await self._one(time.monotonic(), number)
                self._tell()

        async with asyncio.TaskGroup() as group:
            for _ in range(at_once):
                group.create_task(one_after_the_other())
        return self._end(started)

    def _tell(self) -> None:
        if self._tell_of and time.monotonic() - self._told >= PROGRESS_SECONDS:
            self._told = time.monotonic()
            self._tell_of(self.report)

    def _end(self, started: float) -> Report:
        for connection in self._idle:
            connection.close()
        self.report.per_second = len(self.report.seconds) / (time.monotonic() - started)
        self.report.ended = True
        return self.report

    async def _one(self, appointed: float, number: int) -> None:
        self.report.requests += 1
        due = time.time() - (time.monotonic() - appointed)
        try:
            async with asyncio.timeout(GIVE_UP_SECONDS):
                status, body = await self._ask(number)
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

    async def _ask(self, number: int) -> tuple[int, bytes]:
        keep_alive = number % 2 == 0
        connection = self._take() if keep_alive else None
        if connection is None:
            connection = await Connection.open(self._target)
            self._kept += keep_alive
        stays_open = False
        try:
            status, body, stays_open = await connection.ask(
                self._target.request(keep_alive=keep_alive, number=number // 2)
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
            model = json.loads(body)["model"]
            version = model["version"]
        except (ValueError, KeyError, TypeError):
            self.report.fail("no version in the answer", due)
            return
        self.report.revisions[str(model.get("revision") or "")] += 1
        self.report.answer_by(str(version), due, due + seconds)
        if seconds > self._late_seconds:
            self.report.fail("late", due)
