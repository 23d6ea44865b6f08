"""The whole campaign: `make test-faults`, or `python -m tests.fault deaths --workflow update`.

Each part ends with one line of its figures; what diverged stands above it. Exit status 1 when
anything did.
"""

from __future__ import annotations

import argparse
import asyncio
import sys
from collections.abc import Awaitable, Callable

from tests.fault import figures
from tests.fault.figures import Part
from tests.fault.house import SIDE_BY_SIDE, House, house
from tests.fault.stage import Stage
from tests.fault.workflows import WORKFLOWS

Run = Callable[[Stage, argparse.Namespace], Awaitable[Part]]


async def deaths(stage: Stage, options: argparse.Namespace) -> Part:
    """Death at every write."""
    chosen = [w for w in WORKFLOWS if not options.workflow or w.name in options.workflow]
    return await figures.deaths(stage, options.sample, chosen, options.mutation)


async def views(stage: Stage, options: argparse.Namespace) -> Part:
    """Stale and lost views."""
    return await figures.lost_views(stage)


async def api(stage: Stage, options: argparse.Namespace) -> Part:
    """Faults of the API server."""
    return await figures.outages(stage, options.outage_seconds)


async def idle(stage: Stage, options: argparse.Namespace) -> Part:
    """Nothing to do."""
    return await figures.idling(stage, options.idle_seconds)


async def mutants(stage: Stage, options: argparse.Namespace) -> Part:
    """Operators without a safety rule: each must be found out."""
    return await figures.mutants(stage)


PARTS: dict[str, Run] = {
    "deaths": deaths,
    "views": views,
    "api": api,
    "idle": idle,
    "mutations": mutants,
}


async def play(stage: Stage, options: argparse.Namespace) -> int:
    """Runs the chosen parts; the number of divergences."""
    chosen = options.parts or list(PARTS)
    # Idling takes longest and costs nothing: it goes on beside the rest.
    running = {name: asyncio.ensure_future(PARTS[name](stage, options)) for name in chosen}
    diverged = 0
    for part in asyncio.as_completed(running.values()):
        told = await part
        diverged += len(told.divergences)
        print("\n".join([*told.divergences, told.figures]), flush=True)
    return diverged


async def perform(opened: House, options: argparse.Namespace) -> int:
    """Plays in a house."""
    async with opened.stage(options.side_by_side) as stage:
        return await play(stage, options)


def main() -> int:
    """Reads the command line."""
    parser = argparse.ArgumentParser(prog="python -m tests.fault", description=__doc__)
    parser.add_argument("parts", nargs="*", metavar="PART", help=f"of {', '.join(PARTS)}")
    parser.add_argument("--workflow", action="append", help="only this one (deaths)")
    parser.add_argument("--sample", type=int, help="so many deaths, by the commit's hash")
    parser.add_argument("--mutation", help="without this safety rule (deaths)")
    parser.add_argument("--side-by-side", type=int, default=SIDE_BY_SIDE, help="scenes at a time")
    parser.add_argument("--outage-seconds", type=float, default=120, help="how long a fault lasts")
    parser.add_argument("--idle-seconds", type=float, default=600, help="how long nothing happens")
    options = parser.parse_args()
    if unknown := set(options.parts) - PARTS.keys():
        parser.error(f"no such part: {', '.join(sorted(unknown))}")
    with house() as opened:
        diverged = asyncio.run(perform(opened, options))
    print(f"{'FAILED' if diverged else 'passed'}: {diverged} divergences")
    return 1 if diverged else 0


if __name__ == "__main__":
    sys.exit(main())
