"""Every workflow under load on a real cluster: `make e2e-traffic`, or `python -m tests.traffic`.

    --workflow NAME   one of them (several: again)
    --requests N      in all (default 300000)
    --lanes N         workflows at the same time (default 2)
    --as-is           with the cluster, the images and the operator that are there

docs/traffic-campaign.md says how to read the table. The last line is `requests N, failed M`; exit
status 1 when a request was lost or an outcome is not the expected one.
"""

from __future__ import annotations

import argparse
import math
import queue
import sys
import tempfile
import threading
import time
from collections.abc import Sequence
from pathlib import Path

from dev.cluster.errors import ClusterError
from dev.images.errors import ImageError
from dev.kube import CommandFailed, NotInTime
from dev.progress import duration, say, step
from tests.e2e.model import Registry
from tests.traffic.faulty_image import faulty_image
from tests.traffic.operator import Operator
from tests.traffic.proof import Proof, ProvesNothing, prove
from tests.traffic.row import HEADER, Pace, Row, play
from tests.traffic.stage import prepare
from tests.traffic.starts import Starts
from tests.traffic.workflows import WORKFLOWS

REQUESTS = 300_000
LANES = 2
SHARE = 0.33
"""Of the measured capacity, for all rows at the same time together. It must stay below half, and
new pods that start take their part of it.
"""
PROGRESS_SECONDS = 20.0
ROUND_SECONDS = 70.0
"""What a round usually takes."""
CPU_MILLIS = 600
"""Of the node, for all loads together."""


def main() -> int:
    """Reads the command line and plays."""
    parser = argparse.ArgumentParser(
        prog="python -m tests.traffic",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--workflow", action="append", choices=WORKFLOWS, metavar="NAME")
    parser.add_argument("--requests", type=int, default=REQUESTS, metavar="N")
    parser.add_argument("--lanes", type=int, default=LANES, metavar="N")
    parser.add_argument("--as-is", action="store_true")
    options = parser.parse_args()
    names: Sequence[str] = options.workflow or list(WORKFLOWS)
    rows = [Row(WORKFLOWS[name]) for name in names]
    try:
        with tempfile.TemporaryDirectory() as folder:
            registry = prepare(Path(folder), as_is=options.as_is)
            image = faulty_image() if any(row.workflow.faulty for row in rows) else ""
            proof = tell_proof(registry)
            lanes = min(options.lanes, len(rows))
            pace = Pace(
                rate=round(SHARE * proof.capacity / lanes, 1),
                requests=share_of(options.requests, rows),
                cpu=f"{CPU_MILLIS // lanes}m",
            )
            run(rows, registry, pace, lanes, image)
    except (ClusterError, ImageError, CommandFailed, NotInTime, ProvesNothing) as error:
        say(f"traffic: {error}", sys.stderr)
        return 1
    return conclude(rows)


def share_of(requests: int, rows: Sequence[Row]) -> int:
    """How many a row gets so that all rows together have as many, those with less load included."""
    return math.ceil(requests / sum(1 / row.workflow.work for row in rows))


def tell_proof(registry: Registry) -> Proof:
    """Measures what the cluster can do, and shows that the client sees losses."""
    with step("measuring the capacity, and losing requests with the drain switched off", 60):
        proof = prove(registry)
    say(
        f"capacity {proof.capacity:.0f} requests a second; drain switched off: requests"
        f" {proof.requests}, failed {proof.failed}, as it must"
    )
    return proof


def run(rows: Sequence[Row], registry: Registry, pace: Pace, lanes: int, image: str) -> None:
    """Plays the rows, `lanes` of them at the same time, and tells of each that has ended."""
    say(
        f"{len(rows)} workflows, {lanes} at the same time, {pace.rate:g} requests a second each,"
        f" at least {pace.requests} requests each: about"
        f" {duration(estimate(rows, pace, lanes))}\n{HEADER}"
    )
    operator, starts = Operator(registry.stage.kube), Starts()
    waiting: queue.SimpleQueue[Row] = queue.SimpleQueue()
    for row in rows:
        waiting.put(row)
    ended = threading.Event()

    def lane() -> None:
        while True:
            try:
                row = waiting.get_nowait()
            except queue.Empty:
                return
            play(row, registry, operator, pace.of(row.workflow), starts, image)
            tell(row)

    threads = [threading.Thread(target=lane) for _ in range(lanes)]
    ticker = threading.Thread(target=progress, args=(rows, pace, lanes, ended), daemon=True)
    for thread in (*threads, ticker):
        thread.start()
    for thread in threads:
        thread.join()
    ended.set()
    ticker.join()


def tell(row: Row) -> None:
    """One line of the table, and what was wrong."""
    lines = [row.line(), *row.losses()]
    if row.evidence:
        lines.append(f"  evidence: {row.evidence}")
    say("\n".join(lines))


def estimate(rows: Sequence[Row], pace: Pace, lanes: int) -> float:
    """Seconds for these rows."""
    each = [
        max(pace.requests / pace.rate, ROUND_SECONDS * row.workflow.rounds) + 40 for row in rows
    ]
    return max(sum(each) / lanes, max(each, default=0))


def progress(rows: Sequence[Row], pace: Pace, lanes: int, ended: threading.Event) -> None:
    """A line now and then: what runs, what is behind and how long the rest may take."""
    started = time.monotonic()
    whole = estimate(rows, pace, lanes)
    while not ended.wait(PROGRESS_SECONDS):
        done = [row for row in rows if row.phase == "ended"]
        running = [
            f"{row.workflow.name}: {row.phase}"
            for row in rows
            if row.phase not in ("waits", "ended")
        ]
        left = max(0.0, whole - (time.monotonic() - started))
        requests = sum(row.requests for row in done)
        failed = sum(row.failed for row in done)
        say(
            f"  ... {len(done)} of {len(rows)} ended, requests {requests}, failed {failed};"
            f" {', '.join(running)}; about {duration(left)} left"
        )


def conclude(rows: Sequence[Row]) -> int:
    """The last lines; the exit status."""
    bad = [row.workflow.name for row in rows if not row.good]
    if bad:
        say(f"not as expected: {', '.join(bad)}")
    say(f"requests {sum(row.requests for row in rows)}, failed {sum(row.failed for row in rows)}")
    return 1 if bad else 0


if __name__ == "__main__":
    sys.exit(main())
