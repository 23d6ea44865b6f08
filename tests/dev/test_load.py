"""The load client against small real servers: what it counts, and that it never retries."""

from __future__ import annotations

import asyncio
import contextlib
import json
import socket
import subprocess
import sys
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path
from typing import Any, cast

import pytest

from dev import load, stage
from model_operator.cli import load_client
from model_operator.cli.load_client import Load, Report, Target

REQUESTS = 20
RATE = 200.0  # a second
DEADLINE_SECONDS = 30

GOOD = json.dumps({"label": "cat", "model": {"version": "1", "revision": "0123456789"}})


def answer(body: str = GOOD, status: str = "200 OK", headers: str = "") -> bytes:
    return f"HTTP/1.1 {status}\r\nContent-Length: {len(body)}\r\n{headers}\r\n{body}".encode()


class Server:
    """Counts connections and requests; `respond` writes the answers."""

    def __init__(self, respond: Callable[[Server, asyncio.StreamWriter], Awaitable[None]]) -> None:
        self._respond = respond
        self.connections = 0
        self.requests: list[str] = []
        """What each request says of its connection."""
        self.all_arrived = asyncio.Event()
        self._tasks: set[asyncio.Task[Any]] = set()

    async def end(self) -> None:
        for task in self._tasks:
            task.cancel()
        if self._tasks:
            await asyncio.wait(self._tasks)

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.connections += 1
        self._tasks.add(cast("asyncio.Task[Any]", asyncio.current_task()))
        with contextlib.suppress(
            asyncio.IncompleteReadError, ConnectionError, asyncio.CancelledError
        ):
            while not writer.is_closing():
                head = (await reader.readuntil(b"\r\n\r\n")).decode().lower()
                fields = dict(line.split(": ", 1) for line in head.split("\r\n")[1:] if line)
                await reader.readexactly(int(fields["content-length"]))
                self.requests.append(fields["connection"])
                if len(self.requests) == REQUESTS:
                    self.all_arrived.set()
                await self._respond(self, writer)
                await writer.drain()
        writer.close()


@contextlib.asynccontextmanager
async def serving(server: Server) -> AsyncIterator[Target]:
    listener = await asyncio.start_server(server.serve, "127.0.0.1", 0)
    async with listener:
        yield Target("127.0.0.1", listener.sockets[0].getsockname()[1], "/predict", b"image")
        await server.end()


async def loaded(server: Server, *, late_seconds: float = 10, rate: float = RATE) -> Report:
    async with serving(server) as target, asyncio.timeout(DEADLINE_SECONDS):
        return await Load(target, late_seconds=late_seconds, connections=1).run_open(REQUESTS, rate)


def always(response: bytes) -> Server:
    async def respond(server: Server, writer: asyncio.StreamWriter) -> None:
        writer.write(response)

    return Server(respond)


async def test_good_answers_are_no_failures_and_their_versions_are_counted():
    report = await loaded(always(answer()))
    assert report.requests == REQUESTS
    assert report.failures == {}
    assert report.versions == {"1": REQUESTS}
    assert report.revisions == {"0123456789": REQUESTS}
    assert len(report.seconds) == REQUESTS


@pytest.mark.parametrize(
    ("response", "name"),
    [
        (answer(status="503 Service Unavailable"), "503"),
        (answer(status="404 Not Found", body="{}"), "404"),
        (answer(body="{}"), "no version in the answer"),
        (answer(body="[]"), "no version in the answer"),
        (answer(body="<html>welcome</html>"), "no version in the answer"),
        (b"hello\r\n\r\n", "not HTTP"),
        (b"HTTP/1.1 what OK\r\n\r\n", "not HTTP"),
        (b"x" * 200_000, "not HTTP"),
    ],
)
async def test_an_answer_that_is_not_a_prediction_is_a_failure_under_its_own_name(response, name):
    server = always(response)
    report = await loaded(server)
    assert report.failures == {name: REQUESTS}
    assert len(server.requests) == REQUESTS, "something was retried"


async def test_a_connection_that_is_refused_is_counted():
    with socket.create_server(("127.0.0.1", 0)) as probe:
        port = probe.getsockname()[1]
    client = Load(Target("127.0.0.1", port, "/", b""), late_seconds=10)
    report = await client.run_open(REQUESTS, RATE)
    assert (report.requests, report.failures) == (REQUESTS, {"refused": REQUESTS})


@pytest.mark.parametrize("sent", [b"", b"HTTP/1.1 200 OK\r\n", answer()[:-3]])
async def test_a_connection_that_breaks_before_the_whole_answer_is_counted_and_not_retried(sent):
    async def respond(server: Server, writer: asyncio.StreamWriter) -> None:
        if sent:
            writer.write(sent)
            writer.close()
        else:
            writer.transport.abort()

    server = Server(respond)
    report = await loaded(server)
    assert report.failures == {"reset": REQUESTS}
    assert len(server.requests) == REQUESTS


async def test_an_answer_that_never_comes_is_counted(monkeypatch):
    monkeypatch.setattr(load_client, "GIVE_UP_SECONDS", 0.1)

    async def respond(server: Server, writer: asyncio.StreamWriter) -> None:
        await asyncio.Event().wait()

    server = Server(respond)
    async with serving(server) as target:
        report = await Load(target, late_seconds=10, connections=1).run_open(2, RATE)
    assert report.failures == {"unanswered": 2}


async def test_an_answer_is_late_by_the_clock_of_its_appointed_time():
    async def respond(server: Server, writer: asyncio.StreamWriter) -> None:
        if len(server.requests) % 2:
            await asyncio.sleep(0.3)  # a slow server
        writer.write(answer())

    report = await loaded(Server(respond), late_seconds=0.25)
    assert report.failures == {"late": REQUESTS // 2}
    assert report.versions == {"1": REQUESTS}


async def test_a_server_that_answers_nothing_yet_does_not_hold_up_the_sending():
    async def respond(server: Server, writer: asyncio.StreamWriter) -> None:
        await server.all_arrived.wait()  # for ever, if the client waits for an answer
        writer.write(answer())

    report = await loaded(Server(respond))
    assert report.failures == {}
    assert report.requests == REQUESTS


async def test_half_of_the_requests_use_a_kept_alive_connection_and_half_a_fresh_one():
    server = always(answer())
    report = await loaded(server, rate=RATE / 10)  # slow enough for a busy machine to keep up
    assert report.failures == {}
    assert Counter(server.requests) == {"keep-alive": REQUESTS // 2, "close": REQUESTS // 2}
    assert server.connections >= REQUESTS // 2 + 1
    assert server.connections < REQUESTS, "no connection was used again"


async def test_a_connection_that_the_server_announces_to_close_is_not_used_again():
    async def respond(server: Server, writer: asyncio.StreamWriter) -> None:
        writer.write(answer(headers="Connection: close\r\n"))

    server = Server(respond)
    report = await loaded(server)
    assert report.failures == {}
    assert server.connections == REQUESTS


async def test_an_idle_connection_that_the_server_has_closed_is_dropped_without_a_loss():
    async def respond(server: Server, writer: asyncio.StreamWriter) -> None:
        writer.write(answer())
        await writer.drain()
        writer.close()

    server = Server(respond)
    async with serving(server) as target:
        report = await Load(target, late_seconds=10, connections=1).run_open(6, 20)
    assert report.failures == {}
    assert server.connections == 6


def client(*arguments: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, load.__file__, *arguments]
    return subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)


@pytest.fixture
def image(tmp_path: Path) -> str:
    path = tmp_path / "cat.jpg"
    path.write_bytes(b"image")
    return str(path)


async def test_the_command_reports_in_one_line_of_json_and_lowers_its_patience_when_told(image):
    server = always(answer())
    async with serving(server) as target:
        url = f"http://127.0.0.1:{target.port}/predict"
        arguments = ("--url", url, "--image", image, "--requests", "4", "--rate", "100")
        done = await asyncio.to_thread(client, *arguments, "--late", "0")
    assert done.returncode == 0, done.stderr
    report = json.loads(done.stdout.splitlines()[-1])
    assert report["requests"] == report["failed"] == 4
    assert report["failures"] == {"late": 4}
    assert report["versions"] == {"1": 4}
    assert set(report["latency_ms"]) == {"p50", "p90", "p95", "p99", "max"}


async def test_the_command_needs_no_more_than_the_files_that_a_pod_gets(image, tmp_path):
    for path, source in stage.LOAD_FILES.items():
        (tmp_path / path).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / path).write_bytes((stage.ROOT / source).read_bytes())
    async with serving(always(answer())) as target:
        url = f"http://127.0.0.1:{target.port}/predict"
        command = [sys.executable, "-S", str(tmp_path / "load.py"), "--url", url]
        done = await asyncio.to_thread(
            subprocess.run,
            [*command, "--image", image, "--requests", "2"],
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["versions"] == {"1": 2}


async def test_an_answer_in_chunks_is_read_whole_and_the_connection_is_used_again():
    whole = GOOD.encode()
    chunks = b"".join(b"%x\r\n%s\r\n" % (len(part), part) for part in (whole[:9], whole[9:]))
    head = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"
    server = always(head + chunks + b"0\r\nX-Trailer: 1\r\n\r\n")
    report = await loaded(server, rate=RATE / 10)
    assert report.failures == {}
    assert report.versions == {"1": REQUESTS}
    assert server.connections < REQUESTS


def test_several_pictures_take_turns_on_kept_alive_and_on_fresh_connections():
    png = b"\x89PNG picture"
    target = Target("h", 80, "/predict", b"jpeg", (png,), headers=(("X-Team", "cats"),))
    sent = [target.request(keep_alive=True, number=n).split(b"\r\n\r\n") for n in range(3)]
    assert [body for _, body in sent] == [b"jpeg", png, b"jpeg"]
    assert b"Content-Type: image/png" in sent[1][0]
    assert all(b"\r\nX-Team: cats" in head for head, _ in sent)


@pytest.mark.parametrize(
    ("option", "value"), [("--requests", "0"), ("--requests", "500001"), ("--rate", "0")]
)
def test_the_command_refuses_what_it_cannot_do_and_names_the_option(image, option, value):
    done = client("--url", "http://127.0.0.1:1/", "--image", image, option, value)
    assert done.returncode == 2
    assert option in done.stderr.splitlines()[-1]


async def test_what_is_stopped_sends_no_more_and_waits_for_what_is_under_way():
    client: Load

    async def respond(server: Server, writer: asyncio.StreamWriter) -> None:
        if len(server.requests) == 3:
            client.stop()
        writer.write(answer())

    server = Server(respond)
    async with serving(server) as target, asyncio.timeout(DEADLINE_SECONDS):
        client = Load(target, late_seconds=10)
        report = await client.run_open(1000, RATE)
    assert report.ended
    assert 3 <= report.requests < 1000
    assert report.versions == {"1": report.requests}
    assert report.failures == {}


async def test_a_closed_load_has_never_more_requests_under_way_than_it_was_told():
    under_way, most = 0, 0

    async def respond(server: Server, writer: asyncio.StreamWriter) -> None:
        nonlocal under_way, most
        under_way += 1
        most = max(most, under_way)
        await asyncio.sleep(0.005)
        under_way -= 1
        writer.write(answer())

    async with serving(Server(respond)) as target, asyncio.timeout(DEADLINE_SECONDS):
        report = await Load(target, late_seconds=10).run_closed(REQUESTS, 4)
    assert report.versions == {"1": REQUESTS}
    assert most == 4
    assert report.per_second > 0


def test_a_span_of_a_version_ends_where_nobody_heard_it_for_longer_than_a_second():
    report = Report()
    for due in (10.0, 10.4, 10.2, 11.3, 20.0, 20.1):
        report.answer_by("1", due, due + 0.1)
    report.answer_by("2", 15.0, 15.1)
    spans = json.loads(report.as_json())["spans"]
    assert spans == {"1": [[10.0, 11.4], [20.0, 20.2]], "2": [[15.0, 15.1]]}
