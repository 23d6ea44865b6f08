"""`kubectl md load`: open-loop load on a live endpoint, and what became of it."""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import json
import signal
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from urllib.parse import urlsplit

from model_operator.cli import picture
from model_operator.cli.endpoint import Endpoint
from model_operator.cli.errors import Exit, Failed, UsageError
from model_operator.cli.load_client import Load, Report, Target
from model_operator.cli.reach import reached
from model_operator.cli.session import as_json
from model_operator.cli.terminal import Progress

LATE_SECONDS = 2.0
MOST_REQUESTS = 500_000
BEHIND_SECONDS = 0.1
"""A client that is later than this itself is told of: its figures say little of the server."""


async def run(arguments: argparse.Namespace) -> Exit:
    """Sends the load; an interrupt ends it early, with a report."""
    requests = round(arguments.rate * arguments.duration)
    if not 0 < requests <= MOST_REQUESTS:
        raise UsageError(
            f"--rate {arguments.rate:g} for {arguments.duration:g}s is {requests} requests: "
            f"between 1 and {MOST_REQUESTS} are possible"
        )
    pictures = _read(arguments.picture) or [picture.png()]
    progress = Progress(quiet=arguments.json)
    async with reached(arguments) as (endpoint, _):
        load = Load(
            target(endpoint, pictures),
            late_seconds=LATE_SECONDS,
            connections=arguments.connections,
            tell=lambda report: progress.tell(_so_far(report)),
        )
        with _stopped_by_interrupt(load):
            report = await load.run_open(requests, arguments.rate)
    if arguments.json:
        figures = {**json.loads(report.as_json()), "endpoint": endpoint.url, "via": endpoint.words}
        sys.stdout.write(as_json(figures) + "\n")
    else:
        progress.end(_so_far(report))
        sys.stdout.write("\n".join(lines(report, progress.seconds, endpoint.words)) + "\n")
    return Exit.FAILED if report.failures.total() else Exit.DONE


@contextlib.contextmanager
def _stopped_by_interrupt(load: Load) -> Iterator[None]:
    loop = asyncio.get_running_loop()
    with contextlib.suppress(NotImplementedError):  # where there are no such signals
        loop.add_signal_handler(signal.SIGINT, load.stop)
    try:
        yield
    finally:
        with contextlib.suppress(NotImplementedError):
            loop.remove_signal_handler(signal.SIGINT)


def target(endpoint: Endpoint, pictures: Sequence[bytes]) -> Target:
    """The endpoint as the load client has it.

    Raises:
        Failed: the way there leads through an HTTP proxy.

    """
    if endpoint.http_proxy:
        raise Failed("the API server is behind an HTTP proxy, through which no load goes: --url")
    parts = urlsplit(endpoint.url)
    return Target(
        host=parts.hostname or "",
        port=parts.port or (443 if endpoint.tls else 80),
        path=f"{parts.path}/predict",
        body=pictures[0],
        more_bodies=tuple(pictures[1:]),
        headers=tuple(endpoint.headers.items()),
        tls=endpoint.tls,
    )


def lines(report: Report, seconds: float, words: str) -> list[str]:
    """The report for people. Pure."""
    failed = report.failures.total()
    shown = [f"{report.requests} requests in {seconds:.1f} s {words}: {failed} failed"]
    if failed:
        kinds = ", ".join(f"{kind} {n}" for kind, n in report.failures.most_common())
        shown.append(f"failed       {kinds}")
    if latencies := report.latencies():
        figures = "   ".join(f"{name} {value:g}" for name, value in latencies.items())
        shown.append(f"latency ms   {figures}")
    shown += _shares("version", report.versions)
    shown += _shares("revision", report.revisions)
    if report.behind > BEHIND_SECONDS:
        behind = round(1000 * report.behind)
        shown.append(f"this client itself was up to {behind} ms late: it is too slow for this rate")
    return shown


def _shares(name: str, answers: dict[str, int]) -> Iterator[str]:
    total = sum(answers.values())
    for key, count in sorted(answers.items()):
        yield f"{name:<9} {key or '(none)':<12} {count} answers   {count / total:.1%}"


def _so_far(report: Report) -> str:
    return f"{report.requests} requests, {report.failures.total()} failed"


def _read(files: Sequence[Path]) -> list[bytes]:
    try:
        return [file.read_bytes() for file in files]
    except OSError as error:
        raise UsageError(f"--picture cannot be read: {error}") from error
