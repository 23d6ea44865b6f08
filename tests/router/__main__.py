"""`make test-router`: what the router gives of 200,000 requests, and what changing it costs.

Two HAProxies stand for the two revisions, so that neither they nor this client are what is
measured. Exit status 1 when a weight is beyond 4 sigma, a request is lost, a sticky client
changes its version, a weight takes longer than it may, or HAProxy was started anew.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import AsyncIterator
from pathlib import Path

from dev.cluster import debian
from model_operator.cli.load_client import Load, Target
from tests.router.backends import Backend
from tests.router.router_process import Router, document, free_ports, running

WEIGHTS = (1, 10, 33, 50)
REQUESTS_EACH = 50_000
CONNECTIONS = 16
CHANGES = 300
CHANGE_RATE = 400
LIVE_SECONDS = 5.0
USERS = 2_000
_CONFIGURATION = """
defaults
  mode http
  timeout connect 5s
  timeout client 60s
  timeout server 60s
frontend revision
  bind 127.0.0.1:{port}
  http-request return status 200 content-type application/json string '{body}'
"""


@contextlib.asynccontextmanager
async def fast_revisions(folder: Path) -> AsyncIterator[dict[str, Backend]]:
    """The revisions a and b, each a HAProxy that answers who it is."""
    made, processes = {}, []
    try:
        for revision, port in zip("ab", free_ports(2), strict=True):
            body = json.dumps({"model": {"version": revision, "revision": revision}})
            file = folder / f"{revision}.cfg"
            file.write_text(_CONFIGURATION.format(port=port, body=body))
            processes.append(_start(file))
            made[revision] = Backend(revision)
            made[revision].port = port
        for backend in made.values():
            await _until_listening(backend.port)
        yield made
    finally:
        for process in processes:
            process.kill()
            process.wait()


def _start(file: Path) -> subprocess.Popen[bytes]:
    return subprocess.Popen(["haproxy", "-db", "-q", "-f", str(file)])


async def _until_listening(port: int) -> None:
    async with asyncio.timeout(10):
        while True:
            with contextlib.suppress(ConnectionRefusedError):
                _, writer = await asyncio.open_connection("127.0.0.1", port)
                writer.close()
                return
            await asyncio.sleep(0.05)


async def who_answers(router: Router, count: int, names: list[str] | None = None) -> list[str]:
    """The versions of `count` answers, by number; of each name's request where names are given."""
    seen = [""] * count
    numbers = iter(range(count))

    async def one_connection() -> None:
        reader, writer = await asyncio.open_connection("127.0.0.1", router.port)
        for number in numbers:
            field = f"X-User: {names[number]}\r\n" if names else ""
            request = f"POST /predict HTTP/1.1\r\nHost: x\r\n{field}Content-Length: 1\r\n\r\nx"
            writer.write(request.encode())
            head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1").lower()
            length = int(head.split("content-length: ")[1].split("\r\n")[0])
            body = await reader.readexactly(length)
            seen[number] = json.loads(body)["model"]["version"] if " 200 " in head[:20] else "lost"
            if "connection: close" in head:
                writer.close()
                reader, writer = await asyncio.open_connection("127.0.0.1", router.port)
        writer.close()

    async with asyncio.TaskGroup() as group:
        for _ in range(CONNECTIONS):
            group.create_task(one_connection())
    return seen


async def division(router: Router, pods: dict[str, Backend]) -> tuple[list[str], bool]:
    """Asked and got, weight by weight."""
    told, good = [], True
    for weight in WEIGHTS:
        await router.give(document(pods, "a", "b", weight))
        seen = Counter(await who_answers(router, REQUESTS_EACH))
        share = weight / 100
        sigma = (share * (1 - share) / REQUESTS_EACH) ** 0.5
        got = seen["b"] / REQUESTS_EACH
        good &= abs(got - share) <= 4 * sigma and not seen["lost"]
        told.append(f"{weight}% got {100 * got:.3f}%")
    return told, good


async def stickiness(router: Router, pods: dict[str, Backend]) -> tuple[str, bool]:
    """Each user at each rising weight, twice."""
    users = [f"user-{number}" for number in range(USERS)]
    sticky = {"sticky": {"header": "X-User"}}
    changes = backwards = 0
    before: list[str] = ["a"] * USERS
    for weight in WEIGHTS:
        await router.give(document(pods, "a", "b", weight, **sticky))
        first = await who_answers(router, USERS, users)
        again = await who_answers(router, USERS, users)
        changes += sum(x != y for x, y in zip(first, again, strict=True))
        backwards += sum(x == "b" and y == "a" for x, y in zip(before, first, strict=True))
        before = first
    words = f"{USERS} sticky clients: {changes} changed at a weight, {backwards} went back"
    return words, not changes and not backwards


async def live_changes(router: Router, pods: dict[str, Backend]) -> tuple[str, bool]:
    """Weights and commits under open-loop load; how long each takes from the file's change."""
    target = Target("127.0.0.1", router.port, "/predict", b"x" * 20_000)
    load = Load(target, late_seconds=2.0)
    sending = asyncio.create_task(load.run_open(1_000_000, CHANGE_RATE))
    slowest = 0.0
    for number in range(CHANGES):
        stable, canary = ("a", "b") if number % 20 < 10 else ("b", "a")
        started = time.monotonic()
        await router.give(document(pods, stable, canary, 10 * (number % 10)))
        slowest = max(slowest, time.monotonic() - started)
    load.stop()
    report = await sending
    failed = report.failures.total()
    words = (
        f"{CHANGES} live changes, slowest {1000 * slowest:.0f} ms, "
        f"requests {report.requests}, failed {failed}"
    )
    return words, not failed and slowest < LIVE_SECONDS


async def campaign() -> tuple[list[str], bool]:
    """All parts; what to say of them, and whether all is as it must be."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        async with (
            fast_revisions(folder) as pods,
            running(folder, document(pods, "a")) as router,
        ):
            shares, good = await division(router, pods)
            parts = [f"of {len(WEIGHTS) * REQUESTS_EACH} requests: {', '.join(shares)}"]
            for part in (stickiness, live_changes):
                words, fine = await part(router, pods)
                parts.append(words)
                good &= fine
            starts = router.words().count('"event": "started"')
        return [*parts, f"reloads {starts - 1}"], good and starts == 1


def main() -> int:
    """Runs it and ends with one line of figures."""
    debian.install({"haproxy": "haproxy"})
    parts, good = asyncio.run(campaign())
    sys.stdout.write(f"router: {'; '.join(parts)}\n")
    return 0 if good else 1


if __name__ == "__main__":
    sys.exit(main())
