"""Leaders killed and stopped under load: `make test-leader`, `python -m tests.leader --trials 5`.

First a control: the same operator without its fence, whose writes after it was deposed must be
seen, or the count would prove nothing. What is wrong stands above the last line. Exit status 1 when
a takeover took too long, or a process wrote that did not hold the Lease.
"""

from __future__ import annotations

import argparse
import asyncio
import sys
import time

from tests.leader.campaign import Campaign, Outcome
from tests.leader.stage import OPERATOR, UNFENCED, stage

CONTROLS = 5
SHOWN = 20


async def play(options: argparse.Namespace) -> Outcome:
    """All trials."""
    started, done = time.monotonic(), 0

    def on_trial(line: str) -> None:
        nonlocal done
        done += 1
        say(f"{time.monotonic() - started:5.0f} s, {done} of {3 * options.trials}: {line}")

    async with stage(options.lease_seconds, OPERATOR) as built:
        campaign = Campaign(built, options.seed, on_trial)
        return await campaign.play(options.trials, options.trials, options.trials)


async def control(options: argparse.Namespace) -> int:
    """How many writes of deposed leaders are seen where nothing holds them back."""
    async with stage(options.lease_seconds, UNFENCED) as built:
        campaign = Campaign(built, options.seed)
        for _ in range(CONTROLS):
            await campaign.stop()
            if campaign.outcome.late:
                break
        return len(campaign.outcome.late)


def main() -> int:
    """Reads the command line and plays."""
    parser = argparse.ArgumentParser(prog="python -m tests.leader", description=__doc__)
    parser.add_argument("--trials", type=int, default=50, metavar="N", help="of each kind")
    parser.add_argument("--lease-seconds", type=int, default=3, metavar="N")
    parser.add_argument("--seed", type=int, default=6, help="of the moments and their order")
    parser.add_argument("--without-control", action="store_true")
    options = parser.parse_args()
    seen = 1
    if not options.without_control:
        seen = asyncio.run(control(options))
        verdict = "as it must be seen" if seen else "which proves nothing: there must be some"
        say(f"without the fence: writes of a deposed leader {seen}, {verdict}")
    outcome = asyncio.run(play(options))
    troubles = outcome.troubles()
    for line in troubles[:SHOWN]:
        say(line)
    say(f"{outcome.writes} writes looked at in the audit log")
    say(outcome.figures())
    return 1 if troubles or not seen else 0


def say(line: str) -> None:
    """One line, at once."""
    print(line, flush=True)


if __name__ == "__main__":
    sys.exit(main())
