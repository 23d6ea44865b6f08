"""Whether the operator grows or slows down over many passes: `make soak-operator`, or
`python -m tests.bench.soak [--passes N] [--resources N] [--edits N]`.

Resources are touched where it means nothing, so each pass reads, decides and writes nothing. Edits
are measured after the first tenth of the passes and after the last, and memory after those edits:
they are heavier than a pass. Memory is told on the way, too: what levels off is no leak. Exit
status 1 when a pass wrote something.
"""

from __future__ import annotations

import argparse
import asyncio
import itertools
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path

from dev.cluster.controlplane import free_ports
from dev.progress import say
from tests.bench import counters, estate, phases
from tests.bench.counters import Counters
from tests.bench.estate import Estate
from tests.bench.phases import Plan, percentile
from tests.bench.process import Contender
from tests.bench.registry import registry

DRIFT_PERCENT = 5.0
TOUCHERS = 8
LOOK_SECONDS = 2.0
TELL_EVERY = 10_000
"""Passes."""


@dataclass(frozen=True)
class Moment:
    """How it stood."""

    passes: int
    megabytes: float
    p99: float
    """Of edits to their child's write, milliseconds."""


@dataclass(frozen=True)
class Soak:
    """One run."""

    first: Moment
    last: Moment
    writes: int
    """Made by passes that had nothing to do."""

    @property
    def memory_drift(self) -> float:
        """Percent."""
        return 100 * (self.last.megabytes / self.first.megabytes - 1)

    @property
    def p99_drift(self) -> float:
        """Percent."""
        return 100 * (self.last.p99 / self.first.p99 - 1)


async def soak(plan: Plan, passes: int) -> Soak:
    """Plays it."""
    async with registry() as tracking_uri, phases.stage(plan, estate.is_ready) as here:
        (port,) = free_ports(1)
        async with phases.operator(plan, here, port, tracking_uri) as process:
            await phases.converge(here.estate, say)
            start = await phases.settled(port, 0)
            early = await _touched(here.estate, process, port, start, passes // 10)
            first = await _moment(plan, process, here.estate, port, early.passes - start.passes)
            again = await phases.settled(port, 0)
            late = await _touched(here.estate, process, port, again, passes - passes // 10)
            done = early.passes - start.passes + late.passes - again.passes
            last = await _moment(plan, process, here.estate, port, done)
    writes = early.since(start).writes + late.since(again).writes
    return Soak(first, last, writes)


async def _touched(
    there: Estate, process: Contender, port: int, start: Counters, passes: int
) -> Counters:
    """Touches resources until so many passes were made since `start`."""
    enough = asyncio.Event()
    turns = zip(itertools.count(), itertools.cycle(there.keys), strict=False)

    async def toucher() -> None:
        while not enough.is_set():
            number, key = next(turns)
            await there.touch(key, str(number))

    async def watcher() -> None:
        told = 0
        while not enough.is_set():
            await asyncio.sleep(LOOK_SECONDS)
            made = (await counters.read(port)).passes - start.passes
            if made - told >= TELL_EVERY:
                told = made
                say(f"{made} of {passes} passes, {process.usage.resident_megabytes:.1f} MB")
            if made >= passes:
                enough.set()

    await asyncio.gather(watcher(), *(toucher() for _ in range(TOUCHERS)))
    return await phases.settled(port, 0)


async def _moment(plan: Plan, process: Contender, there: Estate, port: int, passes: int) -> Moment:
    edits = [
        await there.edit(key, replicas)
        for replicas in (2, 1)
        for key in there.keys[: max(1, plan.edits // 2)]
    ]
    await phases.settled(port, 0)
    return Moment(passes, process.usage.resident_megabytes, percentile(edits, 99))


def main() -> int:
    """Reads the command line and measures."""
    parser = argparse.ArgumentParser(
        prog="python -m tests.bench.soak",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--passes", type=int, default=100_000, metavar="N")
    parser.add_argument("--resources", type=int, default=250, metavar="N")
    parser.add_argument("--edits", type=int, default=500, metavar="N")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="soak-") as folder:
        plan = Plan(options.resources, options.edits, 0.0, Path(folder))
        found = asyncio.run(soak(plan, options.passes))
    for name, drift, first, last, unit in (
        ("memory", found.memory_drift, found.first.megabytes, found.last.megabytes, "MB"),
        ("edit p99", found.p99_drift, found.first.p99, found.last.p99, "ms"),
    ):
        met = "met" if drift <= DRIFT_PERCENT else "not met"
        say(f"{name}: {first:.1f} to {last:.1f} {unit}, {drift:+.1f}% (at most 5%: {met})")
    say(
        f"passes {found.last.passes}, memory {found.memory_drift:+.1f}%,"
        f" edit p99 {found.p99_drift:+.1f}%, writes {found.writes}"
    )
    return 1 if found.writes else 0


if __name__ == "__main__":
    sys.exit(main())
