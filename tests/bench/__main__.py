"""The operator beside a floor and a textbook: `make bench-operator`, or `python -m tests.bench`.

    --resources N     how many (default 1000)
    --edits N         changes of one spec each (default 200)
    --idle SECONDS    how long nothing happens (default 60)
    --unrelated N     Deployments and Secrets that are nothing to the operator (default 10000)
    --alone           only the operator: no floor, no textbook
    --write           writes the table and the picture into docs/benchmarks

A figure that is not met is printed as such; exit status 1 when the operator wrote something where
nothing was to be written.
"""

from __future__ import annotations

import argparse
import asyncio
import sys
import tempfile
from pathlib import Path

from dev.progress import say
from tests.bench import phases, report
from tests.bench.phases import Plan

OUT = Path(__file__).resolve().parents[2] / "docs" / "benchmarks"


def main() -> int:
    """Reads the command line and measures."""
    parser = argparse.ArgumentParser(
        prog="python -m tests.bench",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--resources", type=int, default=1000, metavar="N")
    parser.add_argument("--edits", type=int, default=200, metavar="N")
    parser.add_argument("--idle", type=float, default=60.0, metavar="SECONDS")
    parser.add_argument("--unrelated", type=int, default=10_000, metavar="N")
    parser.add_argument("--alone", action="store_true")
    parser.add_argument("--write", action="store_true")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="bench-") as folder:
        plan = Plan(options.resources, options.edits, options.idle, Path(folder))
        found = asyncio.run(_measure(plan, options.unrelated, alone=options.alone))
    for line in report.table(found):
        say(line)
    if options.write:
        report.write(found, OUT)
        say(f"written: {OUT}")
    say(report.last_line(found))
    return 1 if found.ours.restart.writes or found.ours.idle.writes else 0


async def _measure(plan: Plan, unrelated: int, *, alone: bool) -> report.Found:
    ours = await phases.measure_ours(plan, say)
    floor = textbook = None
    if not alone:
        floor = await phases.measure_floor(plan, ours.calls, ours.sample, say)
        textbook = await phases.measure_textbook(plan, say)
    added = await phases.measure_unrelated(plan, unrelated, say) if unrelated else 0.0
    return report.Found(plan.size, ours, floor, textbook, unrelated, added)


if __name__ == "__main__":
    sys.exit(main())
